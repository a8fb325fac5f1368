"""Partial tiles: what a full tile replaced is collected, what a power failure tore is repaired.

Every partial version of a bundle repeats what the one before holds. Of entries of 60 KB, 256 commits would
write, and keep until the bundle is full, a hundred times what was sent. So large ones are written at a
bounded rate, and of all that stand together the narrowest go.
"""

from collections.abc import Callable, Iterable
from typing import Final

from hallmark.core.tiles import TILE_HEIGHT, TILE_WIDTH, TileId, bundles_between, tiles_between
from hallmark.ports import LogHead, ObjectStore
from hallmark.tiledlog.objects import ReadTile, partial_folder, tile_path

BYTES_PER_SECOND: Final = 4 * 1024 * 1024  # a bundle of usual entries is late by a sixth of a second at most
LONGEST_WAIT: Final = 5.0  # seconds; the largest bundle has 16 MiB
FREE_BYTES: Final = 64 * 1024  # no larger than what each pass writes and syncs besides
MAX_PARTIAL_BYTES: Final = 128 * 1024 * 1024  # more than all versions of a bundle of usual entries take
KEPT_PARTIALS: Final = 2  # whatever their size: a reader may still follow the checkpoint before this one


class Pace:
    """When the next pass may follow one that has written a large partial bundle.

    Where witnesses sign, somebody may wait for the checkpoint: then it is never `paced`.
    """

    def __init__(self, clock: Callable[[], float], *, paced: bool) -> None:
        self._clock = clock
        self._paced = paced
        self._next = float("-inf")

    def wrote(self, partial_bytes: int) -> None:
        """Note that a pass has written a partial bundle of so many bytes."""
        wait = partial_bytes / BYTES_PER_SECOND if partial_bytes > FREE_BYTES else 0.0
        self._next = self._clock() + min(wait, LONGEST_WAIT)

    def must_wait(self, head: LogHead) -> bool:
        """Say whether this is too early; what makes a bundle full is written once, and so never is."""
        fills = head.size // TILE_WIDTH > head.applied // TILE_WIDTH
        return self._paced and not fills and head.size > head.applied and self._clock() < self._next


def bundle_partial(size: int) -> TileId | None:
    """Name the partial bundle at the end of a log, if there is one."""
    width = size % TILE_WIDTH
    return TileId(None, size // TILE_WIDTH, width) if width else None


def bound_partials(objects: ObjectStore, folder: str, newest: TileId) -> None:
    """Delete the narrowest versions of a bundle where all that stand are too large.

    `newest` is durable, and published: nothing needs the narrower ones but readers of older checkpoints,
    who ask for a newer one.
    """
    directory = partial_folder(newest, folder)
    widths = sorted((int(name) for name in objects.names(directory) if name.isdigit()), reverse=True)
    total = 0
    for number, width in enumerate(width for width in widths if width <= newest.width):
        path = f"{directory}/{width}"
        total += objects.size(path)
        if number >= KEPT_PARTIALS and total > MAX_PARTIAL_BYTES:
            objects.delete(path)


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
    """Write again the partial tiles that are there but beyond the `covered` leaves whose tiles were synced.

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
