"""The reading side of a log: checkpoint, tiles, entry bundles, records and proofs of the committed tree."""

from collections.abc import Callable
from functools import partial
from typing import Final, TypeVar

import msgspec

from hallmark.core.checkpoint import Checkpoint
from hallmark.core.merkle import consistency_path, inclusion_path, leaf_hash, verify_inclusion
from hallmark.core.tiles import TILE_WIDTH, TileId
from hallmark.errors import MalformedInput, NotFound
from hallmark.ports import Appended, HeadStore, LogHead, ObjectStore, StoredBytes
from hallmark.tiledlog.objects import PublishedTiles, tile_path, tile_reader
from hallmark.tiledlog.records import RecordFormat
from hallmark.tiledlog.view import LogView, has_tile
from hallmark.tiledlog.witnessing import WitnessedCheckpoint

_ATTEMPTS: Final = 4

Result = TypeVar("Result")


class LogReader:
    """Reads one log, also while other processes write and publish it. Not safe for several threads."""

    def __init__(
        self,
        store: HeadStore,
        objects: ObjectStore,
        records: RecordFormat,
        *,
        witnessed: WitnessedCheckpoint | None = None,
    ) -> None:
        self._store = store
        self._objects = objects
        self._witnessed = witnessed
        self._format = records
        self._tiles = PublishedTiles(tile_reader(objects, records.folder))
        self._view: LogView | None = None

    @property
    def records(self) -> RecordFormat:
        """The format of the log's entry bundles."""
        return self._format

    def head(self) -> LogHead:
        """Read the committed head."""
        return self._store.head()

    def checkpoint(self) -> bytes:
        """Read the checkpoint: of a log with witnesses the cosigned one, else that of the committed head.

        Where cosignatures are not demanded, the head's own stands in until the cosigned one has its size.
        Where they are, raises `NotFound` as long as nothing has a quorum.
        """
        witnessed = self._witnessed
        found = witnessed.read() if witnessed is not None else None
        head = self._store.head()
        if found is not None and witnessed is not None and (witnessed.strict or found[1].size == head.size):
            return found[0]
        if witnessed is not None and witnessed.strict:
            raise NotFound("no checkpoint has a quorum of witnesses yet", code="no_witness_quorum")
        return head.checkpoint

    def tile(self, tile: TileId) -> bytes:
        """Read a hash tile or an entry bundle; raises `NotFound`."""
        return self._read(lambda view: view.tile(tile))

    def has_tile(self, tile: TileId) -> bool:
        """Say whether the log has such a hash tile or entry bundle."""
        return has_tile(self._store.head().size, tile)

    def stored(self, tile: TileId) -> StoredBytes | None:
        """Find a full entry bundle that is published: it stands in one object, which never changes."""
        end = (tile.index + 1) * TILE_WIDTH
        if tile.level is not None or tile.width != TILE_WIDTH or end > self._store.head().applied:
            return None
        path = tile_path(tile, self._format.folder)
        return StoredBytes(self._objects.size(path), partial(self._objects.read, path))

    def record(self, index: int) -> bytes:
        """Read the stored record of an entry, with its framing; raises `NotFound`."""

        def read(view: LogView) -> bytes:
            if not 0 <= index < view.head.size:
                raise NotFound(f"the log has no entry {index}; its size is {view.head.size}")
            return view.records(index, index + 1)[0]

        return self._read(read)

    def inclusion_proof(self, index: int, size: int) -> list[bytes]:
        """Prove that leaf `index` stands in the tree of `size` leaves; raises `NotFound` beyond the tree."""

        def read(view: LogView) -> list[bytes]:
            _check_size(size, view)
            return [view.range_hash(start, end) for start, end in inclusion_path(index, size)]

        return self._read(read)

    def consistency_proof(self, old_size: int, new_size: int) -> list[bytes]:
        """Prove that the tree of `old_size` leaves is a prefix of the tree of `new_size`."""

        def read(view: LogView) -> list[bytes]:
            _check_size(new_size, view)
            return [view.range_hash(start, end) for start, end in consistency_path(old_size, new_size)]

        return self._read(read)

    def root(self, size: int) -> bytes:
        """The root hash of the tree when it had `size` leaves (at least one)."""

        def read(view: LogView) -> bytes:
            _check_size(size, view)
            return view.range_hash(0, size)

        return self._read(read)

    def cosigned(self) -> tuple[bytes, Checkpoint] | None:
        """Give the newest note that a quorum of witnesses has signed, and what it states."""
        return None if self._witnessed is None else self._witnessed.read()

    def prove_all(self, entries: list[Appended], note: bytes, stated: Checkpoint) -> list[Appended]:
        """Prove each entry against a signed checkpoint that covers it, and check the proof.

        Neighbours share most of their proofs: no hash is computed twice. Raises `NotFound`, `InvalidProof`.
        """

        def read(view: LogView) -> list[Appended]:
            _check_size(stated.size, view)
            hashes: dict[tuple[int, int], bytes] = {}

            def range_hash(item: tuple[int, int]) -> bytes:
                if item not in hashes:
                    hashes[item] = view.range_hash(*item)
                return hashes[item]

            return [_proved(entry, note, stated, range_hash) for entry in entries]

        return self._read(read)

    def entry(self, index: int) -> Appended:
        """Read an entry as its append would be answered now, and prove it.

        Against the cosigned checkpoint once one covers it, until then against the committed one.
        """
        found = self._witnessed.read() if self._witnessed is not None else None

        def read(view: LogView) -> Appended:
            head = view.head
            if not 0 <= index < head.size:
                raise NotFound(f"the log has no entry {index}; its size is {head.size}")
            note, size, root = head.checkpoint, head.size, head.root
            if found is not None and index < found[1].size <= head.size:
                note, size, root = found[0], found[1].size, found[1].root
            leaf = self._format.leaf(view.records(index, index + 1)[0])
            proof = tuple(view.range_hash(start, end) for start, end in inclusion_path(index, size))
            verify_inclusion(leaf_hash(leaf), index, size, proof, root)
            return Appended(
                index=index,
                time=self._store.time_of(index),
                duplicate=False,
                leaf=leaf,
                tree_size=size,
                root=root,
                proof=proof,
                checkpoint=note,
            )

        return self._read(read)

    def _read(self, read: Callable[[LogView], Result]) -> Result:
        """Read from the newest view; take another where the publisher was faster than this read."""
        for _attempt in range(_ATTEMPTS):
            view = self._newest()
            try:
                return read(view)
            except NotFound:
                if self._store.head().applied == view.head.applied:
                    raise
        raise NotFound("the log's tiles moved on during every attempt to read them")

    def _newest(self) -> LogView:
        head = self._store.head()
        view = self._view
        if view is None or (view.head.size, view.head.applied) != (head.size, head.applied):
            head, staged = self._store.snapshot()
            view = self._view = LogView(head, staged, self._tiles, self._format)
            if view.root != head.root:
                raise MalformedInput("the log's tiles do not lead to its root hash", code="damaged_log")
        return view


def _proved(
    entry: Appended, note: bytes, stated: Checkpoint, range_hash: Callable[[tuple[int, int]], bytes]
) -> Appended:
    proof = tuple(range_hash(item) for item in inclusion_path(entry.index, stated.size))
    verify_inclusion(leaf_hash(entry.leaf), entry.index, stated.size, proof, stated.root)
    return msgspec.structs.replace(
        entry, tree_size=stated.size, root=stated.root, proof=proof, checkpoint=note
    )


def _check_size(size: int, view: LogView) -> None:
    if not 0 < size <= view.head.size:
        raise NotFound(f"the log has {view.head.size} entries, not {size}")
