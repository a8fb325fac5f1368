"""The right edge of a log's published tree: the few tiles that lead to the root hash of any size."""

from collections.abc import Mapping

import msgspec

from hallmark.core.merkle import Growth, root_of_edge
from hallmark.core.tiles import TILE_HEIGHT, TILE_WIDTH, TileId, split_hashes
from hallmark.tiledlog.objects import ReadTile


class RightEdge(msgspec.Struct, frozen=True):
    """The hashes of the partial tiles of a tree by their level, and the edge they make."""

    tiles: Mapping[int, list[bytes]]
    edge: tuple[bytes, ...]

    @property
    def root(self) -> bytes:
        """The root hash that these tiles lead to."""
        return root_of_edge(self.edge)


def edge_tiles(size: int) -> list[TileId]:
    """The partial tiles of the right edge, the lowest level first."""
    tiles: list[TileId] = []
    level = 0
    while size >> (TILE_HEIGHT * level):
        index, width = divmod(size >> (TILE_HEIGHT * level), TILE_WIDTH)
        if width:
            tiles.append(TileId(level, index, width))
        level += 1
    return tiles


def read_right_edge(size: int, read: ReadTile) -> RightEdge:
    """Read the right edge of the tree of this size; raises what `read` does, and `MalformedInput`."""
    tiles: dict[int, list[bytes]] = {}
    edge: list[bytes] = []
    for tile in reversed(edge_tiles(size)):
        hashes = split_hashes(read(tile))[: tile.width]
        tiles[tile.level or 0] = hashes
        growth = Growth(0, ())
        for item in hashes:
            growth.append(item)
        edge.extend(growth.edge())
    return RightEdge(tiles, tuple(edge))
