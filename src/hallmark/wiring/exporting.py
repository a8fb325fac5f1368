"""Writes the entries of a log as a table, verifying the log on the way."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec

from hallmark.adapters.parquet import ParquetTable
from hallmark.adapters.storage.filesystem import FileObjectStore
from hallmark.adapters.storage.sqlite_audit import SqliteAudit
from hallmark.core.checkpoint import Checkpoint
from hallmark.core.entries.summary import EntrySummary, summarise_body, summarise_tile_entry
from hallmark.core.keys import PublicKey
from hallmark.core.merkle import leaf_hash
from hallmark.core.x509.tile_entry import parse_tile_entry
from hallmark.errors import InvalidProof
from hallmark.tiledlog.findings import Findings
from hallmark.tiledlog.fsck import Progress, VerifyCheckpoint
from hallmark.tiledlog.objects import CHECKPOINT
from hallmark.tiledlog.records import RecordFormat
from hallmark.tiledlog.tree_check import TreeCheck
from hallmark.wiring.checking import open_log
from hallmark.wiring.layout import Layout
from hallmark.wiring.log_sides import identify_folder, open_folder
from hallmark.wiring.logs import STATIC_CT

COLUMNS: Final = {
    "index": "integer",
    "leaf_hash": "bytes",
    "time": "time",
    "kind": "name",
    "version": "name",
    "hash_algorithm": "name",
    "digest": "text",
    "key_details": "name",
    "verifier": "name",
    "identity": "text",
    "identity_kind": "name",
    "oidc_issuer": "name",
    "issuing_ca": "name",
    "not_before": "time",
    "not_after": "time",
}
_PAGE: Final = 8192


class _Side(msgspec.Struct, frozen=True):
    """The read side that is exported, and the commit times where a database has them."""

    objects: FileObjectStore
    records: RecordFormat
    verify: VerifyCheckpoint
    store: SqliteAudit | None


def export_log(
    place: Path, log: str, output: Path, keys: Sequence[PublicKey], *, origin: str | None, progress: Progress
) -> Checkpoint:
    """Write the published entries of a mirror, or of an instance's log, to a Parquet file.

    Raises `InvalidProof` (`damaged_log`) where the log does not hold; then there is no file.
    """
    findings = Findings()
    with ExitStack() as stack:
        side = _open(place, log, keys, origin, stack)
        stated = side.verify(side.objects.get(CHECKPOINT))
        metadata = {"origin": stated.origin, "size": str(stated.size), "root_hash": stated.root.hex()}
        table = stack.enter_context(ParquetTable(output, COLUMNS, metadata=metadata))
        tree = TreeCheck(
            side.objects,
            side.records,
            size=stated.size,
            root=stated.root,
            findings=findings,
            on_records=_Rows(side, table).add,
        )
        tree.run(lambda done: progress(done, stated.size))
        if findings.first:
            first = findings.first[0]
            raise InvalidProof(
                f"the log is damaged: {first.where}: {first.what}",
                code="damaged_log",
                hint="hallmark log fsck says everything that is wrong",
            )
        table.finish()
    return stated


def _open(place: Path, log: str, keys: Sequence[PublicKey], origin: str | None, stack: ExitStack) -> _Side:
    layout = Layout(place)
    if not layout.instance_file.exists():
        identity = identify_folder(place, keys, origin=origin)
        return _Side(open_folder(place), identity.records, identity.verify, None)
    opened = open_log(layout, log)
    store = SqliteAudit(layout.database(log))
    stack.callback(store.close)
    return _Side(open_folder(layout.public(log)), opened.records, opened.signer.verify, store)


class _Rows:
    """Turns records into rows of the table; they come in the order of their indexes."""

    def __init__(self, side: _Side, table: ParquetTable) -> None:
        self._records = side.records
        self._table = table
        self._commits = _commits(side.store)
        self._time: int | None = None
        self._next = next(self._commits, None)

    def add(self, start: int, records: Sequence[bytes]) -> None:
        """Add the rows of one bundle."""
        for index, record in enumerate(records, start):
            if record:
                self._add(index, record)

    def _add(self, index: int, record: bytes) -> None:
        time, summary = self._read(index, record)
        signer = summary.signer
        self._table.add(
            (
                index,
                leaf_hash(self._records.leaf(record)),
                None if time is None else datetime.fromtimestamp(time / 1000, UTC),
                summary.kind,
                summary.version,
                summary.hash_algorithm,
                summary.digest,
                summary.key_details,
                summary.verifier,
                signer.identity,
                signer.identity_kind,
                signer.oidc_issuer,
                signer.issuing_ca,
                signer.not_before,
                signer.not_after,
            )
        )

    def _read(self, index: int, record: bytes) -> tuple[int | None, EntrySummary]:
        """The entry's time in milliseconds, and what it says."""
        if self._records is STATIC_CT:
            entry = parse_tile_entry(record)
            return entry.timestamp, summarise_tile_entry(entry)
        while self._next is not None and self._next[0] <= index:
            self._time = self._next[1]
            self._next = next(self._commits, None)
        return self._time, summarise_body(self._records.entry(record))


def _commits(store: SqliteAudit | None) -> Iterator[tuple[int, int]]:
    """First index and time of every commit."""
    after = -1
    while store is not None and (page := store.commit_times(after, _PAGE)):
        yield from page
        after = page[-1][0]
