"""Where a log's published objects stand in its object store, and how they are read."""

from collections import OrderedDict
from typing import Final

from hallmark.core.tiles import TILE_WIDTH, TileId
from hallmark.errors import NotFound
from hallmark.ports import ObjectStore

CHECKPOINT: Final = "checkpoint"


def tile_path(tile: TileId, folder: str) -> str:
    """The object of a tile or entry bundle."""
    return f"tile/{tile.path(folder)}"


def partial_folder(tile: TileId, folder: str) -> str:
    """The folder of a tile's partial versions."""
    return f"{tile_path(TileId(tile.level, tile.index), folder)}.p"


class PublishedTiles:
    """Reads published tiles, with a bounded memory of full hash tiles, which never change.

    `max_tiles` bounds the memory: 8 KiB each.
    """

    def __init__(self, objects: ObjectStore, folder: str, *, max_tiles: int = 512) -> None:
        self._objects = objects
        self._folder = folder
        self._max_tiles = max_tiles
        self._full: OrderedDict[tuple[int, int], bytes] = OrderedDict()

    def read(self, tile: TileId) -> bytes:
        """Read the tile at this width, or the full one where it replaced this partial; raises `NotFound`."""
        if tile.level is None:
            return self._read_object(tile)
        key = (tile.level, tile.index)
        data = self._full.get(key)
        if data is not None:
            self._full.move_to_end(key)
            return data
        data = self._read_object(tile)
        if len(data) == 32 * TILE_WIDTH:
            self._full[key] = data
            if len(self._full) > self._max_tiles:
                self._full.popitem(last=False)
        return data

    def _read_object(self, tile: TileId) -> bytes:
        try:
            return self._objects.get(tile_path(tile, self._folder))
        except NotFound:
            if tile.width == TILE_WIDTH:
                raise
            return self._objects.get(tile_path(TileId(tile.level, tile.index), self._folder))
