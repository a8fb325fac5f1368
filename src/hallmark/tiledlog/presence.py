"""Looks whether the published part of a log stands where its database says that it must, and ends there.

What was published was dropped from the database: the tiles and entry bundles below `applied` exist once. A
log that lost them must not sign again before somebody has brought them back. This reads the right edge and
the newest bundle, and lists names; to read everything is `fsck`.

What stands beyond the head was published by a newer state of the log than its database is.
"""

from collections.abc import Callable, Iterator
from typing import Final

from hallmark.core.merkle import leaf_hash
from hallmark.core.tiles import MAX_TILE_LEVEL, TILE_HEIGHT, TILE_WIDTH, TileId, split_hashes
from hallmark.errors import HallmarkError, NotFound, TrustError
from hallmark.ports import LogHead, ObjectStore
from hallmark.tiledlog.objects import partial_folder, tile_path, tile_reader
from hallmark.tiledlog.records import RecordFormat
from hallmark.tiledlog.right_edge import read_right_edge

MAX_LISTED_FOLDERS: Final = 64  # of each row, the newest: 16 million entries, listed in half a second
_FOLDER_TILES: Final = 1000  # the last three digits of an index are the name, the rest the folder
RESTORE_HINT: Final = (
    "bring it back from a mirror or another copy: hallmark log restore --data DIR --from PLACE"
)


def check_presence(objects: ObjectStore, records: RecordFormat, head: LogHead, origin: str) -> None:
    """Check that what `head` says is published is there; raises `TrustError` (`published_part_missing`)."""
    missing = next(missing_objects(objects, records, head), None)
    if missing is not None:
        raise TrustError(
            f"the log {origin} has published {head.applied} entries, but its folder `public` {missing}",
            code="published_part_missing",
            hint=RESTORE_HINT,
        )


def check_nothing_beyond(
    objects: ObjectStore, records: RecordFormat, size: Callable[[], int], origin: str
) -> None:
    """Check that nothing was published beyond the head; raises `TrustError` (`log_behind_its_checkpoint`)."""
    beyond = next(objects_beyond(objects, records, size), None)
    if beyond is not None:
        raise TrustError(
            f"the log {origin} has {size()} entries here, but its folder `public` holds {beyond}, which "
            f"it published with more: this is an older copy",
            code="log_behind_its_checkpoint",
            hint=RESTORE_HINT,
        )


def objects_beyond(objects: ObjectStore, records: RecordFormat, size: Callable[[], int]) -> Iterator[str]:
    """Name what stands at the end of each row and belongs to a larger tree than that of the head.

    `size` is asked again once something was found: beside a running instance the log grows meanwhile, and
    nothing is published before it is committed.
    """
    before = size()
    for level in (None, *range(MAX_TILE_LEVEL + 1)):
        for tile in _beyond_in_row(objects, records.folder, level, before):
            if (tile.index * TILE_WIDTH + tile.width) << (TILE_HEIGHT * (level or 0)) > size():
                yield tile_path(tile, records.folder)


def _beyond_in_row(objects: ObjectStore, folder: str, level: int | None, size: int) -> Iterator[TileId]:
    """List fuller versions of the first tile that is not full, and full tiles in its folder from it on."""
    full, width = divmod(size >> (TILE_HEIGHT * (level or 0)), TILE_WIDTH)
    first = TileId(level, full)
    for name in objects.names(tile_path(first, folder).rpartition("/")[0]):
        if name.isdigit() and int(name) >= full % _FOLDER_TILES:
            yield TileId(level, full - full % _FOLDER_TILES + int(name))
    for name in objects.names(partial_folder(first, folder)):
        if name.isdigit() and int(name) > width:
            yield TileId(level, full, int(name))


def missing_objects(objects: ObjectStore, records: RecordFormat, head: LogHead) -> Iterator[str]:
    """Say what is wrong, as the end of a sentence that begins with the folder."""
    if not head.applied:
        return
    for path in _missing_names(objects, records.folder, head.applied):
        yield f"lacks {path}"
    try:
        read = tile_reader(objects, records.folder)
        edge = read_right_edge(head.applied, read)
        if edge.edge != head.applied_edge:
            yield "holds another tree than its database"
        yield from _newest_bundle(objects, records, head.applied)
    except NotFound as error:
        yield f"is incomplete: {error.message}"
    except HallmarkError as error:
        yield f"is damaged: {error.message}"


def _newest_bundle(objects: ObjectStore, records: RecordFormat, size: int) -> Iterator[str]:
    """Compare the newest entries with their hashes: tiles alone are no log."""
    read = tile_reader(objects, records.folder)
    index = (size - 1) // TILE_WIDTH
    width = size - index * TILE_WIDTH
    hashes = split_hashes(read(TileId(0, index, width)))[:width]
    bundle = TileId(None, index, width)
    entries = records.split(read(bundle))[:width]
    if [leaf_hash(records.leaf(entry)) for entry in entries] != hashes:
        yield f"holds other entries in {tile_path(bundle, records.folder)} than its tiles"


def _missing_names(objects: ObjectStore, folder: str, size: int) -> Iterator[str]:
    """Name the full tiles and bundles that are missing, the newest folders first."""
    yield from _missing_in_row(objects, folder, None, size >> TILE_HEIGHT)
    level = 0
    while full := size >> (TILE_HEIGHT * (level + 1)):
        yield from _missing_in_row(objects, folder, level, full)
        level += 1


def _missing_in_row(objects: ObjectStore, folder: str, level: int | None, full: int) -> Iterator[str]:
    last = (full - 1) // _FOLDER_TILES  # -1 where there is none
    for group in range(last, max(last - MAX_LISTED_FOLDERS, -1), -1):
        indexes = range(group * _FOLDER_TILES, min((group + 1) * _FOLDER_TILES, full))
        paths = [tile_path(TileId(level, index), folder) for index in indexes]
        there = set(objects.names(paths[0].rpartition("/")[0]))
        yield from (path for path in paths if path.rpartition("/")[2] not in there)
