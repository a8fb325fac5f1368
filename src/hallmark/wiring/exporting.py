"""Writes the entries of a log as a table, verifying the log on the way."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from functools import partial
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
from hallmark.wiring.shards import ShardTable

COLUMNS: Final = {
    "origin": "name",
    "index": "integer",
    "leaf_hash": "text",
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
    "certificate_sha256": "text",
    "tbs_sha256": "text",
}
TLOG: Final = "tlog"
_PAGE: Final = 8192


class Exported(msgspec.Struct, frozen=True):
    """What was written: the checkpoints that cover the entries, one of each log."""

    logs: tuple[Checkpoint, ...]

    @property
    def size(self) -> int:
        """How many entries there are in all."""
        return sum(stated.size for stated in self.logs)


class _Side(msgspec.Struct, frozen=True):
    """A read side that is exported, and the commit times where a database has them."""

    objects: FileObjectStore
    records: RecordFormat
    verify: VerifyCheckpoint
    store: SqliteAudit | None


def export_log(
    place: Path, log: str, output: Path, keys: Sequence[PublicKey], *, origin: str | None, progress: Progress
) -> Exported:
    """Write the published entries of a mirror, or of an instance or its mirror, to a Parquet file.

    There, `log` is `tlog` for all shards of the signature log, or names one log. Raises `InvalidProof`
    (`damaged_log`) where a log does not hold; then there is no file.
    """
    with ExitStack() as stack:
        sides = _open(place, log, keys, origin, stack)
        stated = [side.verify(side.objects.get(CHECKPOINT)) for side in sides]
        exported = Exported(tuple(stated))
        table = stack.enter_context(ParquetTable(output, COLUMNS, metadata=_metadata(exported)))
        before = 0
        for side, tree in zip(sides, stated, strict=True):
            _export(side, tree, table, partial(_progress, progress, before, exported.size))
            before += tree.size
        table.finish()
    return exported


def _progress(progress: Progress, before: int, total: int, done: int) -> None:
    progress(before + done, total)


def _metadata(exported: Exported) -> dict[str, str]:
    """Origin, size and root hash of each log, separated by spaces."""
    return {
        "origin": " ".join(stated.origin for stated in exported.logs),
        "size": " ".join(str(stated.size) for stated in exported.logs),
        "root_hash": " ".join(stated.root.hex() for stated in exported.logs),
    }


def _export(side: _Side, stated: Checkpoint, table: ParquetTable, progress: Callable[[int], None]) -> None:
    findings = Findings()
    tree = TreeCheck(
        side.objects,
        side.records,
        size=stated.size,
        root=stated.root,
        findings=findings,
        on_records=_Rows(side, stated.origin, table).add,
    )
    tree.run(progress)
    if findings.first:
        first = findings.first[0]
        raise InvalidProof(
            f"the log {stated.origin} is damaged: {first.where}: {first.what}",
            code="damaged_log",
            hint="hallmark log fsck says everything that is wrong",
        )


def _open(
    place: Path, log: str, keys: Sequence[PublicKey], origin: str | None, stack: ExitStack
) -> list[_Side]:
    layout = Layout(place)
    if layout.instance_file.exists():
        names = [shard.folder for shard in ShardTable(layout).read()] if log == TLOG else [log]
        return [_open_own(layout, name, stack) for name in names if _is_published(layout, name, log)]
    folders = [place] if (place / CHECKPOINT).exists() else _mirrors(place, log)
    identities = [(folder, identify_folder(folder, keys, origin=origin)) for folder in folders]
    return [_Side(open_folder(folder), item.records, item.verify, None) for folder, item in identities]


def _is_published(layout: Layout, name: str, asked: str) -> bool:
    """Leave out a shard that has shown nothing yet, unless it was asked for by its name."""
    return name == asked or (layout.public(name) / CHECKPOINT).exists()


def _mirrors(place: Path, log: str) -> list[Path]:
    """The mirrors that are meant, of an instance's mirror; the oldest shard first."""
    shards = sorted((place / "shards").glob("[0-9]*"), key=lambda path: int(path.name))
    folders = [place / TLOG, *shards] if log == TLOG else [place / log]
    return [folder for folder in folders if (folder / CHECKPOINT).exists()] or [place]


def _open_own(layout: Layout, name: str, stack: ExitStack) -> _Side:
    opened = open_log(layout, name)
    store = SqliteAudit(layout.database(name))
    stack.callback(store.close)
    return _Side(open_folder(layout.public(name)), opened.records, opened.signer.verify, store)


class _Rows:
    """Turns records into rows of the table; they come in the order of their indexes."""

    def __init__(self, side: _Side, origin: str, table: ParquetTable) -> None:
        self._origin = origin
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
                self._origin,
                index,
                leaf_hash(self._records.leaf(record)).hex(),
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
                signer.certificate_sha256,
                signer.tbs_sha256,
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
