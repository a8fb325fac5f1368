"""The dedup index of a log: recent keys in its database, older ones in sorted runs beside it.

Keys are random, so an index that is changed in place changes a page for every entry: at ten million
entries that was most of what the log wrote. Here a commit appends its keys to the table `recent`, in the
order of their entries, and every process keeps those in memory. Once there are enough, the publisher sorts
them into a run; runs of like size are merged, so that there are a few for each power of four.

The table `key_run` says which runs there are. Together they hold the keys of the entries [0, R), one each;
`recent` holds those of [R, size). Both change in one transaction, after a new run is durable and before the
files it replaces are deleted. `head.runs` counts these changes.
"""

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from itertools import groupby, islice
from pathlib import Path
from typing import Final

from hallmark.adapters.storage.key_run import (
    KeyRun,
    RunMerge,
    RunName,
    record,
    write_run,
)
from hallmark.durable_files import sync_folder
from hallmark.errors import NotFound
from hallmark.ports import DEDUP_KEY_SIZE, StorageFailed

SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS recent (start INTEGER PRIMARY KEY, keys BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS key_run (start INTEGER PRIMARY KEY, end INTEGER NOT NULL);
"""
_STATE: Final = "SELECT size, runs FROM head"
_RUNS: Final = "SELECT start, end FROM key_run ORDER BY start"
_RECENT: Final = "SELECT start, keys FROM recent WHERE start >= ? ORDER BY start"

RUN_KEYS: Final = 65_536
_FAN_IN_BITS: Final = 2  # four runs of one size become one of the next
_MERGE_RECORDS: Final = 8192  # a step: some milliseconds
_MERGES_PER_KEY: Final = 8  # more than the times that a key is ever merged, so that merging keeps up


def runs_folder(database: Path) -> Path:
    """Where the runs of a log's database stand."""
    return database.with_suffix(".dedup")


def make_runs_folder(folder: Path) -> None:
    """Make the folder, durably, where it is missing."""
    if not folder.is_dir():
        folder.mkdir()
        sync_folder(folder.parent)


def read_runs(db: sqlite3.Connection) -> tuple[RunName, ...]:
    """Read which runs there are; raises `StorageFailed` where they leave a gap."""
    names = tuple(RunName(*row) for row in db.execute(_RUNS))
    covered = 0
    for name in names:
        if not (name.start == covered and isinstance(name.end, int) and name.end > covered):
            raise StorageFailed(f"the runs of the dedup index leave a gap at entry {covered}")
        covered = name.end
    return names


def missing_runs(db: sqlite3.Connection, database: Path) -> Sequence[Path]:
    """Find runs whose file is not there, or has not the size it must have; none where there is no log yet."""
    if db.execute("SELECT 1 FROM sqlite_schema WHERE name = 'key_run'").fetchone() is None:
        return ()
    folder = runs_folder(database)
    missing = [name for name in read_runs(db) if not _is_whole(folder, name)]
    still_named = read_runs(db) if missing else ()  # others may have been merged meanwhile
    return [folder / name.file for name in missing if name in still_named]


def _is_whole(folder: Path, name: RunName) -> bool:
    try:
        return (folder / name.file).stat().st_size == name.bytes
    except FileNotFoundError:
        return False


def read_recent(db: sqlite3.Connection, start: int) -> Iterator[tuple[bytes, int]]:
    """Read the keys of the entries from `start` on, in the order of the entries."""
    expected = start
    for begin, keys in db.execute(_RECENT, (start,)):
        if begin != expected or not isinstance(keys, bytes) or len(keys) % DEDUP_KEY_SIZE:
            raise StorageFailed(f"the keys of the entries from {expected} on are damaged")
        for at in range(0, len(keys), DEDUP_KEY_SIZE):
            yield keys[at : at + DEDUP_KEY_SIZE], expected
            expected += 1


def insert_recent(db: sqlite3.Connection, start: int, keys: Sequence[tuple[bytes, int]]) -> None:
    """Append the keys of a commit's entries, one each, in the order of the entries."""
    if any(len(key) != DEDUP_KEY_SIZE or index != start + at for at, (key, index) in enumerate(keys)):
        raise ValueError("a commit has one key of 32 bytes for each of its entries, in their order")
    db.execute("INSERT INTO recent VALUES (?, ?)", (start, b"".join([key for key, _ in keys])))


def open_runs(folder: Path, names: Sequence[RunName]) -> Sequence[KeyRun]:
    """Open all of these runs, or none of them."""
    with ExitStack() as stack:
        runs = [stack.enter_context(closing(KeyRun(folder, name))) for name in names]
        stack.pop_all()
    return runs


class KeyIndex:
    """The index as one process sees it; `refresh` brings it up to the head.

    Memory: the keys that no run holds yet, 65,536 as a rule, and a byte and a quarter for each other one.
    """

    def __init__(self, database: Path) -> None:
        self._folder = runs_folder(database)
        self._generation = -1
        self._runs: tuple[KeyRun, ...] = ()
        self._recent: dict[bytes, int] = {}
        self._start = self._end = 0  # of the entries whose keys are in `_recent`

    def close(self) -> None:
        """Close the runs."""
        for run in self._runs:
            run.close()
        self._runs, self._generation = (), -1

    def refresh(self, db: sqlite3.Connection) -> None:
        """Read what has changed since the last time, inside the caller's write transaction.

        No run goes while it holds the lock: raises `StorageFailed` where one is missing all the same.
        """
        row = db.execute(_STATE).fetchone()
        if row is None:
            raise NotFound("no log was created here", code="no_log")
        size, generation = row
        if generation != self._generation:
            try:
                self._open(read_runs(db))
            except FileNotFoundError as error:
                raise StorageFailed(f"a run of the dedup index is missing: {error}") from error
            self._generation = generation
        if self._end < size:
            self._recent.update(read_recent(db, self._end))
            self._end = self._start + len(self._recent)
            if self._end != size:
                raise StorageFailed(f"the dedup index ends at entry {self._end}, the log at {size}")

    def find(self, keys: Sequence[bytes]) -> Mapping[bytes, int]:
        """Find which of these keys the log has, and the indexes of their entries."""
        found: dict[bytes, int] = {}
        for key in keys:
            index = self._recent.get(key)
            for run in self._runs:
                if index is not None:
                    break
                index = run.find(key)
            if index is not None:
                found[key] = index
        return found

    def _open(self, names: Sequence[RunName]) -> None:
        known = {run.name: run for run in self._runs}
        fresh = open_runs(self._folder, [name for name in names if name not in known])
        opened = known | {run.name: run for run in fresh}
        for name in known.keys() - set(names):
            known[name].close()
        self._runs = tuple(opened[name] for name in names)
        self._forget(names[-1].end if names else 0)

    def _forget(self, covered: int) -> None:
        """Let go of recent keys that a run holds now; they come first, because they were added first."""
        if covered >= self._end:
            self._recent, self._end = {}, covered
        else:
            self._recent = dict(islice(self._recent.items(), covered - self._start, None))
        self._start = covered


class RunChange:
    """A new run, durable already, that is to take the place of recent keys or of other runs."""

    def __init__(self, folder: Path, added: RunName, replaced: Sequence[RunName] = ()) -> None:
        self._folder = folder
        self._added = added
        self._replaced = replaced

    def apply(self, db: sqlite3.Connection) -> None:
        """Change the tables, inside a write transaction; raises `StorageFailed` where others have, too."""
        start, end = self._added.start, self._added.end
        gone = db.execute("DELETE FROM key_run WHERE start >= ? AND end <= ?", (start, end)).rowcount
        if gone != len(self._replaced):
            raise StorageFailed(f"the runs of the entries [{start}, {end}) are not those that were merged")
        db.execute("INSERT INTO key_run VALUES (?, ?)", (start, end))
        db.execute("DELETE FROM recent WHERE start < ?", (end,))
        db.execute("UPDATE head SET runs = runs + 1")

    def clean(self) -> None:
        """Delete the files that are not needed any more, once the change is durable."""
        for name in self._replaced:
            (self._folder / name.file).unlink(missing_ok=True)


class RunKeeper:
    """Makes runs of recent keys and merges runs, a little in each pass of the publisher, who alone does."""

    def __init__(self, database: Path) -> None:
        self._folder = runs_folder(database)
        self._merge: RunMerge | None = None
        self._size = 0
        self._clean = False

    def advance(self, db: sqlite3.Connection) -> RunChange | None:
        """Do some work; gives a change that is to be applied now, in a write transaction.

        Raises `OSError` where the disk does not take the bytes; nothing is lost then but work.
        """
        row = db.execute(_STATE).fetchone()
        if row is None:
            return None
        names = read_runs(db)
        if not self._clean:
            self._remove_strays(names)
        covered = names[-1].end if names else 0
        added, self._size = max(row[0] - self._size, 0), row[0]
        if row[0] - covered >= RUN_KEYS:
            return self._write_run(db, covered)
        return self._advance_merge(names, max(_MERGE_RECORDS, _MERGES_PER_KEY * added))

    def close(self) -> None:
        """Give an unfinished merge up."""
        if self._merge is not None:
            merge, self._merge = self._merge, None
            merge.abandon()

    def _write_run(self, db: sqlite3.Connection, covered: int) -> RunChange:
        """Sort recent keys into a run: of whole commits, because `recent` has a row for each."""
        records: list[bytes] = []
        for start, keys in db.execute(_RECENT, (covered,)):
            if start != covered + len(records) or len(keys) % DEDUP_KEY_SIZE:
                raise StorageFailed(f"the keys of the entries from {start} on are damaged")
            records += [
                record(keys[at : at + DEDUP_KEY_SIZE], start + at // DEDUP_KEY_SIZE)
                for at in range(0, len(keys), DEDUP_KEY_SIZE)
            ]
            if len(records) >= RUN_KEYS:
                break
        name = RunName(covered, covered + len(records))
        make_runs_folder(self._folder)
        write_run(self._folder, name, sorted(records))
        return RunChange(self._folder, name)

    def _advance_merge(self, names: Sequence[RunName], count: int) -> RunChange | None:
        if self._merge is None:
            due = _due(names)
            if not due:
                return None
            self._merge = RunMerge(self._folder, due)
        try:
            if not self._merge.step(count):
                return None
        except BaseException:
            self.close()
            raise
        merge, self._merge = self._merge, None
        return RunChange(self._folder, merge.name, merge.names)

    def _remove_strays(self, names: Sequence[RunName]) -> None:
        """Delete what a process that died has left: files that no table names."""
        known = {name.file for name in names}
        if self._folder.is_dir():
            for path in self._folder.iterdir():
                if path.name not in known:
                    path.unlink()
        self._clean = True


def _due(names: Sequence[RunName]) -> Sequence[RunName]:
    """The newest neighbours of one size class, once there are enough of them."""
    groups = [tuple(group) for _, group in groupby(names, key=_size_class)]
    return next((group for group in reversed(groups) if len(group) >= 1 << _FAN_IN_BITS), ())


def _size_class(name: RunName) -> int:
    return max((name.count // RUN_KEYS).bit_length() - 1, 0) // _FAN_IN_BITS
