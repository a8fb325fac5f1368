"""Checks that a log's dedup index names every entry once, at its index, and nothing else."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, Protocol

from hallmark.errors import HallmarkError
from hallmark.tiledlog.findings import Findings

_LOOKUPS: Final = 8192
_MAX_MISSING: Final = 100_000


class DedupRows(Protocol):
    """The rows of the dedup index, and the times of commits."""

    def indexes(self, entries: Mapping[bytes, int]) -> Mapping[bytes, int]:
        """Look the keys of entries up; what their indexes should be says where to look first."""
        ...

    def rows(self) -> Iterable[tuple[bytes, int]]:
        """Give every row, in no order; there are as many as the log has entries."""
        ...


class DedupCheck:
    """Looks up the key of every entry that it is given; then accounts for all rows.

    Memory: one bit for each entry, and the missing keys up to a bound, but only where something is wrong.
    """

    def __init__(self, rows: DedupRows, key_of: Callable[[bytes], bytes], findings: Findings) -> None:
        self._rows = rows
        self._key_of = key_of
        self._findings = findings
        self._waiting: dict[bytes, int] = {}
        self._right = 0
        self._hidden = 0
        self._wrong: set[int] = set()

    def take(self, start: int, records: Sequence[bytes]) -> None:
        """Check the entries from index `start` on; an empty record is one that damage hides."""
        for index, record in enumerate(records, start):
            try:
                key = self._key_of(record) if record else b""
            except HallmarkError:
                key = b""  # what is wrong with the record is a finding already
            if not key:
                self._hidden += 1
            elif key in self._waiting:
                self._findings.add(
                    "entry_twice", f"entry {index}", f"entry {self._waiting[key]} is the same one"
                )
            else:
                self._waiting[key] = index
        if len(self._waiting) >= _LOOKUPS:
            self._look_up()

    def _look_up(self) -> None:
        found = self._rows.indexes(self._waiting)
        for key, index in self._waiting.items():
            place = found.get(key)
            if place == index:
                self._right += 1
            else:
                self._note_wrong(key, index, place)
        self._waiting.clear()

    def _note_wrong(self, key: bytes, index: int, place: int | None) -> None:
        if len(self._wrong) < _MAX_MISSING:
            self._wrong.add(index)
        where = f"dedup row of entry {index}, key {key.hex()}"
        if place is None:
            self._findings.add("dedup_missing", where, "the row is missing", expected=index, found="no row")
        else:
            what = "the row names another entry"
            self._findings.add("dedup_differs", where, what, expected=index, found=place)

    def finish(self, size: int) -> None:
        """Account for every row below `size`, the head when the check began."""
        self._look_up()
        if self._right + self._hidden < size:
            self._scan(size)

    def _scan(self, size: int) -> None:
        """Find rows that belong to no entry: only where an entry lacks its own are there any."""
        seen = bytearray(size // 8 + 1)
        for key, index in self._rows.rows():
            self._check_row(key, index, size, seen)

    def _check_row(self, key: bytes, index: int, size: int, seen: bytearray) -> None:
        where = f"dedup row {key.hex()}"
        if not 0 <= index < size:
            beyond = f"an index below {size}"
            what = "the row names an entry that the log does not have"
            self._findings.add("dedup_stray", where, what, expected=beyond, found=index)
            return
        if index in self._wrong:
            what = "the row names an entry that has another key"
            self._findings.add("dedup_stray", where, what, found=index)
        elif seen[index // 8] & 1 << index % 8:
            what = f"entry {index} has more than one row"
            self._findings.add("dedup_stray", where, what, found=index)
        seen[index // 8] |= 1 << index % 8
