"""One committed state of a log, readable: published tiles below, staged commits over them.

Whoever was told of an index finds it here at once, although tiles follow a little later.
"""

from collections.abc import Sequence

from hallmark.core.merkle import HASH_SIZE, Growth, node_hash
from hallmark.core.tiles import TILE_HEIGHT, TILE_WIDTH, TileId, split_hashes
from hallmark.errors import MalformedInput, NotFound
from hallmark.ports import LogHead, StagedCommit
from hallmark.tiledlog.objects import PublishedTiles
from hallmark.tiledlog.records import RecordFormat


class LogView:
    """A head, its staged commits, and the published tiles.

    Everything it gives belongs to the tree of `head.size`. `NotFound` for a tile that this head says is
    published means that the tiles have moved on since: take a newer view.
    """

    def __init__(
        self, head: LogHead, staged: Sequence[StagedCommit], tiles: PublishedTiles, records: RecordFormat
    ) -> None:
        self.head = head
        self._staged = staged
        self._format = records
        self._split: dict[int, list[bytes]] = {}
        self._tiles = tiles
        self._growth = Growth(head.applied, head.applied_edge)
        for commit in staged:
            for hashed in split_hashes(commit.hashes):
                self._growth.append(hashed)

    @property
    def edge(self) -> tuple[bytes, ...]:
        """The right edge of the tree."""
        return self._growth.edge()

    @property
    def root(self) -> bytes:
        """The root hash, from the published edge and the staged leaves."""
        return self._growth.root()

    def tile(self, tile: TileId) -> bytes:
        """Read a hash tile or an entry bundle of this tree, full or partial; raises `NotFound`."""
        if not has_tile(self._growth.size, tile):
            raise NotFound("the log has no such tile yet")
        return self._bundle(tile) if tile.level is None else self._hash_tile(tile, tile.level)

    def _hash_tile(self, tile: TileId, level: int) -> bytes:
        start = tile.index * TILE_WIDTH
        end = start + tile.width
        published = self.head.applied >> (TILE_HEIGHT * level)
        stored = b""
        if start < published:
            width = min(published - start, tile.width)
            stored = self._tiles.read(self._published(level, tile.index))[: HASH_SIZE * width]
        first = max(start, published)
        grown = (self._growth.node(TILE_HEIGHT * level, index) for index in range(first, end))
        return stored + b"".join(grown)

    def _published(self, level: int, index: int) -> TileId:
        """The published tile at this place, as wide as this head says that it is."""
        hashes = self.head.applied >> (TILE_HEIGHT * level)
        return TileId(level, index, min(hashes - index * TILE_WIDTH, TILE_WIDTH))

    def _bundle(self, tile: TileId) -> bytes:
        start = tile.index * TILE_WIDTH
        return b"".join(self.records(start, start + tile.width))

    def records(self, start: int, end: int) -> list[bytes]:
        """Read the records [start, end), which must lie in one bundle, each with its framing."""
        applied = self.head.applied
        found: list[bytes] = []
        base = start - start % TILE_WIDTH
        if start < applied:
            width = min(applied - base, TILE_WIDTH)
            stored = self._format.split(self._tiles.read(TileId(None, start // TILE_WIDTH, width)))
            found = stored[start - base : min(end, applied) - base]
        for commit in self._staged:
            if commit.start < end and start < commit.end:
                found += self._records(commit)[max(start - commit.start, 0) : end - commit.start]
        return found

    def _records(self, commit: StagedCommit) -> list[bytes]:
        records = self._split.get(commit.start)
        if records is None:
            records = self._format.split(commit.records)
            if len(records) != commit.end - commit.start:
                raise MalformedInput(
                    f"the staged entries from {commit.start} on are damaged", code="damaged_log"
                )
            self._split[commit.start] = records
        return records

    def node(self, level: int, index: int) -> bytes:
        """Read the hash of the complete subtree (level, index)."""
        if index >= self._growth.first_node(level):
            return self._growth.node(level, index)
        tile_level, height = divmod(level, TILE_HEIGHT)
        tile_index, position = divmod(index, TILE_WIDTH >> height)
        return self._tiles.nodes(self._published(tile_level, tile_index)).node(height, position)

    def range_hash(self, start: int, end: int) -> bytes:
        """The hash of the leaves [start, end), a range of `inclusion_path` or `consistency_path`."""
        parts: list[bytes] = []
        while start < end:  # the complete subtrees from left to right, as large as alignment and end allow
            level = (start & -start).bit_length() - 1 if start else (end - start).bit_length() - 1
            level = min(level, (end - start).bit_length() - 1)
            parts.append(self.node(level, start >> level))
            start += 1 << level
        combined = parts.pop()
        while parts:
            combined = node_hash(parts.pop(), combined)
        return combined

    def leaf(self, index: int) -> bytes:
        """The hash of leaf `index`."""
        if not 0 <= index < self.head.size:
            raise NotFound(f"the log has no entry {index}; its size is {self.head.size}")
        return self.node(0, index)


def has_tile(size: int, tile: TileId) -> bool:
    """Say whether a log of `size` entries has such a hash tile or entry bundle."""
    hashes = size >> (TILE_HEIGHT * (tile.level or 0))
    return tile.index * TILE_WIDTH + tile.width <= hashes
