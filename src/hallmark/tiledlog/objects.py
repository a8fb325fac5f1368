"""Where a log's published objects stand in its object store, and how they are read."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from hallmark.core.tiles import TILE_WIDTH, TileId, TileNodes
from hallmark.errors import NotFound
from hallmark.ports import ObjectStore

CHECKPOINT: Final = "checkpoint"

ReadTile = Callable[[TileId], bytes]
"""Reads a published tile or bundle at least as wide as asked for; raises `NotFound`."""


def tile_path(tile: TileId, folder: str) -> str:
    """The object of a tile or entry bundle."""
    return f"tile/{tile.path(folder)}"


def partial_folder(tile: TileId, folder: str) -> str:
    """The folder of a tile's partial versions."""
    return f"{tile_path(TileId(tile.level, tile.index), folder)}.p"


def tile_reader(objects: ObjectStore, folder: str) -> ReadTile:
    """Read tiles from an object store; where a full one has replaced a partial one, that."""

    def read(tile: TileId) -> bytes:
        try:
            return objects.get(tile_path(tile, folder))
        except NotFound:
            if tile.width == TILE_WIDTH:
                raise
            return objects.get(tile_path(TileId(tile.level, tile.index), folder))

    return read


class PublishedTiles:
    """Reads published tiles, with a bounded memory of hash tiles: no tile of one width ever changes.

    `max_tiles` bounds the memory: with the nodes above its hashes, a tile takes 16 KiB. Entry bundles are not
    kept.
    """

    def __init__(self, read: ReadTile, *, max_tiles: int = 512) -> None:
        self._read = read
        self._max_tiles = max_tiles
        self._known: OrderedDict[TileId, TileNodes] = OrderedDict()

    def read(self, tile: TileId) -> bytes:
        """Read a tile or bundle at least as wide as asked for; raises `NotFound`."""
        return self._read(tile) if tile.level is None else self.nodes(tile).tile

    def nodes(self, tile: TileId) -> TileNodes:
        """Read a hash tile at least as wide as asked for, and the nodes above it; raises `NotFound`."""
        found = self._known.get(tile)
        if found is not None:
            self._known.move_to_end(tile)
            return found
        found = self._known[tile] = TileNodes(self._read(tile))
        if len(self._known) > self._max_tiles:
            self._known.popitem(last=False)
        return found
