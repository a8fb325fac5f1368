"""Tiles and entry bundles (C2SP tlog-tiles).

A tile holds up to 256 hashes of one tree level; tile level L stands on tree level 8 * L. An entry bundle is

    struct { uint16 length; opaque entry[length]; } entries[width];
"""

import re
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from hallmark.core.merkle import HASH_SIZE, node_hash
from hallmark.errors import MalformedInput

TILE_HEIGHT: Final = 8
TILE_WIDTH: Final = 256
MAX_ENTRY_BYTES: Final = 65535
MAX_TILE_LEVEL: Final = 7

_INDEX: Final = re.compile(r"(?:x[0-9]{3}/)*[0-9]{3}", re.ASCII)
_PARTIAL: Final = re.compile(r"[1-9][0-9]{0,2}", re.ASCII)


class TileId(msgspec.Struct, frozen=True):
    """Which tile: `level` is None for an entry bundle; `width` 256 for a full tile."""

    level: int | None
    index: int
    width: int = TILE_WIDTH

    def path(self, entries: str = "entries") -> str:
        """Print the path below `tile/`; `entries` is the word for entry bundles (`data` in static-ct-api)."""
        level = entries if self.level is None else str(self.level)
        partial = "" if self.width == TILE_WIDTH else f".p/{self.width}"
        return f"{level}/{format_index(self.index)}{partial}"


def format_index(index: int) -> str:
    """Print a tile index in groups of three digits: 1234067 is `x001/x234/067`."""
    groups = [f"{index % 1000:03}"]
    while index >= 1000:
        index //= 1000
        groups.append(f"x{index % 1000:03}")
    return "/".join(reversed(groups))


def parse_tile_path(path: str, entries: str = "entries") -> TileId:
    """Read the path below `tile/`; raises `MalformedInput` for what `TileId.path` would not print."""
    if len(path) > 64:
        raise MalformedInput("the tile path is too long")
    head, _, rest = path.partition("/")
    rest, separator, partial = rest.partition(".p/")
    if not _INDEX.fullmatch(rest) or (separator and not _PARTIAL.fullmatch(partial)):
        raise MalformedInput("the path names no tile")
    index = int(rest.replace("x", "").replace("/", ""))
    tile = TileId(_parse_level(head, entries), index, int(partial) if separator else TILE_WIDTH)
    if tile.path(entries) != path or tile.index >= 2**55:
        raise MalformedInput("the path names no tile")
    return tile


def _parse_level(text: str, entries: str) -> int | None:
    if text == entries:
        return None
    if not text.isdecimal() or int(text) > MAX_TILE_LEVEL:
        raise MalformedInput("the path names no tile level")
    return int(text)


def tiles_between(old_size: int, new_size: int) -> Iterable[TileId]:
    """List the hash tiles, full and partial, that a tree of `new_size` has and one of `old_size` had not."""
    level = 0
    while (complete := new_size >> (TILE_HEIGHT * level)) > 0:
        had = old_size >> (TILE_HEIGHT * level)
        if complete != had:
            yield from _row(level, had, complete)
        level += 1


def bundles_between(old_size: int, new_size: int) -> Iterable[TileId]:
    """List the entry bundles that a tree of `new_size` has and one of `old_size` had not."""
    if new_size > old_size:
        yield from _row(None, old_size, new_size)


def _row(level: int | None, had: int, complete: int) -> Iterable[TileId]:
    for index in range(had // TILE_WIDTH, complete // TILE_WIDTH):
        yield TileId(level, index)
    if complete % TILE_WIDTH:
        yield TileId(level, complete // TILE_WIDTH, complete % TILE_WIDTH)


def split_hashes(data: bytes) -> list[bytes]:
    """Cut a tile into its hashes; raises `MalformedInput` for a broken length."""
    if len(data) % HASH_SIZE:
        raise MalformedInput("the tile is not a whole number of hashes")
    return [data[start : start + HASH_SIZE] for start in range(0, len(data), HASH_SIZE)]


class TileNodes:
    """The hashes of a tile and of the complete nodes above them, each computed once, if it is asked for."""

    def __init__(self, tile: bytes) -> None:
        self.tile = tile
        self._rows = [tile]

    def node(self, height: int, index: int) -> bytes:
        """Give a node `height` levels above the tile; raises `MalformedInput` where the tile is too short."""
        while len(self._rows) <= height:
            below = split_hashes(self._rows[-1])
            self._rows.append(b"".join(map(node_hash, below[::2], below[1::2])))
        node = self._rows[height][HASH_SIZE * index : HASH_SIZE * (index + 1)]
        if len(node) != HASH_SIZE:
            raise MalformedInput(f"the tile has {len(self.tile)} bytes, too few for this node")
        return node


def entry_bundle(entries: Sequence[bytes]) -> bytes:
    """Build an entry bundle; raises `MalformedInput` for an entry over 65,535 bytes."""
    return b"".join(bundle_record(entry) for entry in entries)


def bundle_record(entry: bytes) -> bytes:
    """Build one record of an entry bundle; raises `MalformedInput` for an entry over 65,535 bytes."""
    if len(entry) > MAX_ENTRY_BYTES:
        raise MalformedInput(
            f"the entry has {len(entry)} bytes, more than {MAX_ENTRY_BYTES}", code="entry_too_large"
        )
    return len(entry).to_bytes(2, "big") + entry


def parse_entry_bundle(data: bytes) -> list[bytes]:
    """Cut an entry bundle into its entries; raises `MalformedInput`."""
    entries: list[bytes] = []
    offset = 0
    while offset < len(data):
        start = offset + 2
        offset = start + int.from_bytes(data[offset:start], "big")
        if offset > len(data) or len(entries) == TILE_WIDTH:
            raise MalformedInput("the entry bundle is malformed")
        entries.append(data[start:offset])
    return entries
