"""Brings a log's database up to its published entries: commits again what another copy of it committed.

The entries are read from bundles that were verified against a checkpoint of the log, so that what is signed
on the way are sizes of the same tree. Interrupted, it goes on where the database stands.
"""

from collections.abc import Callable, Iterator
from typing import Final

from hallmark.core.checkpoint import Checkpoint
from hallmark.core.tiles import TILE_WIDTH, TileId
from hallmark.errors import InvalidProof
from hallmark.ports import CheckpointSigner, Finalize, Finalized, HeadStore, LogHead, ObjectStore
from hallmark.tiledlog.commit import Waiting, build_commit
from hallmark.tiledlog.fsck import EntryRules, Progress
from hallmark.tiledlog.objects import PublishedTiles, tile_reader
from hallmark.tiledlog.records import RecordFormat
from hallmark.tiledlog.right_edge import read_right_edge
from hallmark.tiledlog.view import LogView

MAX_COMMIT_ENTRIES: Final = 1024  # as many as one commit of a serving process takes


class Replay:
    """Commits the entries of `objects`, which hold the whole tree of `stated`, to `store`."""

    def __init__(
        self, store: HeadStore, objects: ObjectStore, signer: CheckpointSigner, records: RecordFormat
    ) -> None:
        self._store = store
        self._objects = objects
        self._signer = signer
        self._format = records

    def run(self, stated: Checkpoint, rules: EntryRules, *, now: int, progress: Progress) -> None:
        """Commit what the database lacks; `now` in milliseconds stands for times that no entry states.

        Raises `InvalidProof` where the objects are not those of the tree, or do not continue the database's.
        """
        view = self._view(stated)
        head = self._store.head()
        if head.size and view.range_hash(0, head.size) != head.root:
            raise InvalidProof("the entries do not continue the database's tree", code="log_inconsistent")
        for time, batch in _batches(self._read(head.size, stated.size), rules.time):
            self._commit(batch, rules.dedup_key, now if time is None else time, view)
            progress(self._store.head().size, stated.size)

    def _view(self, stated: Checkpoint) -> LogView:
        read = tile_reader(self._objects, self._format.folder)
        edge = read_right_edge(stated.size, read)
        if edge.root != stated.root:
            raise InvalidProof("the tiles do not lead to the root hash", code="tiles_differ")
        head = LogHead(stated.size, stated.root, 0, edge.edge, b"", stated.size, edge.edge)
        return LogView(head, (), PublishedTiles(read, max_tiles=64), self._format)

    def _read(self, start: int, end: int) -> Iterator[bytes]:
        read = tile_reader(self._objects, self._format.folder)
        for index in range(start // TILE_WIDTH, -(-end // TILE_WIDTH)):
            first = index * TILE_WIDTH
            bundle = TileId(None, index, min(TILE_WIDTH, end - first))
            yield from self._format.split(read(bundle))[max(start - first, 0) : bundle.width]

    def _commit(
        self, batch: list[bytes], dedup_key: Callable[[bytes], bytes], time: int, view: LogView
    ) -> None:
        waiting = [
            Waiting(dedup_key(record), _finished(self._format.leaf(record), record)) for record in batch
        ]
        with self._store.transaction() as transaction:
            head = transaction.head()
            commit = build_commit(head, waiting, {}, now=time, signer=self._signer)
            staged = commit.staged
            if staged is None or staged.root != view.range_hash(0, head.size + len(batch)):
                raise InvalidProof("the entries do not lead to the tree's hashes", code="tiles_differ")
            transaction.commit(head, staged, commit.edge, commit.keys)


def _finished(leaf: bytes, record: bytes) -> Finalize:
    finalized = Finalized(leaf, record)
    return lambda _index, _time: finalized


def _batches(
    records: Iterator[bytes], time_of: Callable[[bytes], int | None]
) -> Iterator[tuple[int | None, list[bytes]]]:
    """Cut entries into commits: of one time each, as the log that took them had committed them."""
    batch: list[bytes] = []
    current: int | None = None
    for record in records:
        time = time_of(record)
        if batch and (time != current or len(batch) == MAX_COMMIT_ENTRIES):
            yield current, batch
            batch = []
        batch.append(record)
        current = time
    if batch:
        yield current, batch
