"""Partial tiles: what a full tile replaced is collected, what a power failure tore is mended."""

from collections.abc import Iterable

from hallmark.core.tiles import TILE_HEIGHT, TILE_WIDTH, TileId, bundles_between, tiles_between
from hallmark.ports import ObjectStore
from hallmark.tiledlog.objects import ReadTile, partial_folder, tile_path


def changed_tiles(old_size: int, new_size: int) -> Iterable[TileId]:
    """List the bundles and hash tiles that a log of `new_size` has and one of `old_size` had not."""
    yield from bundles_between(old_size, new_size)
    yield from tiles_between(old_size, new_size)


def collect_partials(objects: ObjectStore, folder: str, old_size: int, new_size: int) -> None:
    """Delete the partial versions of tiles that are full since then."""
    for tile in changed_tiles(old_size, new_size):
        if tile.width == TILE_WIDTH:
            objects.delete_folder(partial_folder(tile, folder))


def mend_partials(objects: ObjectStore, folder: str, covered: int, size: int, read: ReadTile) -> None:
    """Write partial tiles anew that are there but beyond the `covered` leaves whose tiles were synced.

    A power failure may have torn what was being written, and what is written next has other widths. `read`
    gives what they must be in the tree of `size` leaves. It is the same whoever writes it, so this gets into
    nobody's way. The caller syncs.
    """
    for tile in changed_tiles(covered, size):
        whole = (covered >> (TILE_HEIGHT * (tile.level or 0))) - tile.index * TILE_WIDTH
        for name in objects.names(partial_folder(tile, folder)):
            if name.isdigit() and whole < int(name) <= tile.width:
                part = TileId(tile.level, tile.index, int(name))
                objects.put(tile_path(part, folder), read(part))
