"""The dedup keys of a log, taken from its entries: what a lost part of the dedup index is rebuilt from."""

from collections.abc import Callable, Iterator
from typing import Final

from hallmark.core.merkle import inclusion_path, leaf_hash, verify_inclusion
from hallmark.core.tiles import TILE_WIDTH
from hallmark.errors import HallmarkError, InvalidEntry
from hallmark.ports import LogHead, ObjectStore, StagedCommit
from hallmark.tiledlog.objects import PublishedTiles, tile_reader
from hallmark.tiledlog.records import RecordFormat
from hallmark.tiledlog.view import LogView

_DAMAGED: Final = "damaged_log"


class EntryKeys:
    """Reads the keys of one committed state of a log."""

    def __init__(
        self,
        head: LogHead,
        staged: tuple[StagedCommit, ...],
        objects: ObjectStore,
        records: RecordFormat,
        dedup_key: Callable[[bytes], bytes],
    ) -> None:
        self._view = LogView(head, staged, PublishedTiles(tile_reader(objects, records.folder)), records)
        self._format = records
        self._dedup_key = dedup_key

    def read(self, start: int, end: int) -> Iterator[tuple[bytes, int]]:
        """Give key and index of each of the entries [start, end), in their order.

        Every entry is compared with its tile, and every full tile is proved to stand in the tree of the head.
        Raises `InvalidEntry` (`damaged_log`) for an entry that is missing or is not the tree's own.
        """
        for first in range(start - start % TILE_WIDTH, end, TILE_WIDTH):
            low, high = max(first, start), min(first + TILE_WIDTH, end)
            try:
                yield from self._read_bundle(low, high)
            except HallmarkError as error:
                raise InvalidEntry(
                    f"the entries [{low}, {high}) cannot be read: {error.message}",
                    code=_DAMAGED,
                    hint="`hallmark log fsck` says what is wrong; repair the log's files first",
                ) from error

    def _read_bundle(self, start: int, end: int) -> list[tuple[bytes, int]]:
        records = self._view.records(start, end)
        hashes = [leaf_hash(self._format.leaf(record)) for record in records]
        if hashes != [self._view.leaf(index) for index in range(start, end)]:
            raise InvalidEntry("entry bundle and tile do not agree", code=_DAMAGED)
        self._prove(start, hashes[0])
        return [(self._dedup_key(record), index) for index, record in enumerate(records, start)]

    def _prove(self, index: int, leaf: bytes) -> None:
        """Prove one entry, and with it its tile if that is full: the other hashes make up the proof."""
        head = self._view.head
        proof = [self._view.range_hash(*item) for item in inclusion_path(index, head.size)]
        verify_inclusion(leaf, index, head.size, proof, head.root)
