"""Recomputes a published tree from its entry bundles and compares every tile on the way up.

Where a bundle and its tile disagree, the hash one level up tells which of them is wrong. The right edge has
nothing above it but the root hash, which decides there. Memory: one row of hashes for each tile level.
"""

from collections.abc import Callable, Sequence
from typing import Final

from hallmark.core.merkle import EMPTY_ROOT, Growth, leaf_hash, node_hash, root_of_edge
from hallmark.core.tiles import TILE_WIDTH, TileId, split_hashes
from hallmark.errors import MalformedInput, NotFound
from hallmark.ports import ObjectStore
from hallmark.tiledlog.findings import Findings
from hallmark.tiledlog.objects import PublishedTiles, partial_folder, tile_path, tile_reader
from hallmark.tiledlog.records import RecordFormat

Hashes = list[bytes | None]
"""Hashes of a tile; None where damage hides one."""

OnRecords = Callable[[int, Sequence[bytes]], None]
"""Takes the index of a bundle's first entry and its records; one that is not the log's own is empty."""

_TILE: Final = "tile"
_BELOW: Final = "below"
_BOTH: Final = "both"


class TreeCheck:
    """Checks the objects of the tree of `size` leaves, whose root hash is `root`.

    `probes` are smaller sizes whose root hashes are wanted too. After `run`, `roots` holds them and `edge`
    the right edge of the whole tree, as far as damage does not hide them.
    """

    def __init__(
        self,
        objects: ObjectStore,
        records: RecordFormat,
        *,
        size: int,
        root: bytes,
        findings: Findings,
        on_records: OnRecords,
        probes: Sequence[int] = (),
    ) -> None:
        self._objects = objects
        self._format = records
        self._size = size
        self._root = root
        self._findings = findings
        self._on_records = on_records
        self._probes = [probe for probe in probes if 0 < probe <= size]
        self._tiles = PublishedTiles(tile_reader(objects, records.folder), max_tiles=64)
        self._rows: list[Hashes] = [[]]  # by level: the hashes that fill no tile yet
        self._filled: list[int] = [0]  # by level: how many tiles were filled
        self.roots: dict[int, bytes] = {0: EMPTY_ROOT}
        self.edge: tuple[bytes, ...] | None = None

    def run(self, progress: Callable[[int], None]) -> None:
        """Check everything; `progress` is called with the number of entries behind us."""
        for index in range(self._size // TILE_WIDTH):
            start = index * TILE_WIDTH
            records, computed = self._read_entries(TileId(None, index))
            settled = self._settle(TileId(0, index), computed)
            self._hand_over(TileId(None, index), records, computed, settled)
            self._probe(start, start + TILE_WIDTH, settled)
            self._fill(0, settled)
            progress(start + TILE_WIDTH)
        self._check_right_edge()
        progress(self._size)

    def _check_right_edge(self) -> None:
        """Check the partial tiles, of which at most one stands at each level."""
        index, width = divmod(self._size, TILE_WIDTH)
        records: list[bytes] = []
        computed: Hashes = []
        if width:
            records, computed = self._read_entries(TileId(None, index, width))
            self._rows[0] = list(computed)
        rows = self._settle_edge()
        if width:
            self._hand_over(TileId(None, index, width), records, computed, rows[0])
            self._probe(index * TILE_WIDTH, self._size, rows[0])
        self.edge = _edge(rows)
        if self.edge is None:
            what = "the root hash cannot be computed from what is left of the log"
            self._findings.add("root_unknown", f"size {self._size}", what, expected=self._root)
            return
        root = self.roots[self._size] = root_of_edge(self.edge)
        what = "the entries do not lead to the root hash"
        self._findings.compare("root_differs", f"size {self._size}", what, expected=self._root, found=root)

    def _settle_edge(self) -> list[Hashes]:
        """Settle all partial tiles at once, by the root hash."""
        tiles = [
            TileId(level, self._filled[level], len(row)) if row else None
            for level, row in enumerate(self._rows)
        ]
        stored = [self._read_hashes(tile) if tile else [] for tile in tiles]
        rows = [_merged(row, below) for row, below in zip(self._rows, stored, strict=True)]
        known = [below if below is not None else row for row, below in zip(rows, stored, strict=True)]
        wrong = _TILE if _root(rows) == self._root else _BELOW if _root(known) == self._root else _BOTH
        for tile, row, below in zip(tiles, rows, stored, strict=True):
            if tile is not None and below is not None:
                self._blame(tile, row, below, wrong)
        rows = known if wrong == _BELOW else rows
        for tile, row in zip(tiles, rows, strict=True):
            if tile is not None:
                self._check_partials(tile, row)
        return rows

    def _settle(self, tile: TileId, computed: Hashes) -> Hashes:
        """Compare the computed hashes of a full tile with the stored ones; return those that are right."""
        stored = self._read_hashes(tile)
        if stored is None:
            return computed
        settled = _merged(computed, stored)
        if settled != stored:
            above = self._stored_parent(tile)
            wrong = _BELOW if above == _fold(stored) else _TILE if above == _fold(settled) else _BOTH
            self._blame(tile, settled, stored, wrong)
            settled = stored if wrong == _BELOW else settled
        self._check_partials(tile, settled)
        return settled

    def _stored_parent(self, tile: TileId) -> bytes | None:
        """What the stored tile above says of this full tile; findings about it come when its turn does."""
        level = (tile.level or 0) + 1
        index, position = divmod(tile.index, TILE_WIDTH)
        width = min(TILE_WIDTH, (self._size >> (8 * level)) - index * TILE_WIDTH)
        try:
            hashes = split_hashes(self._tiles.read(TileId(level, index, width)))
        except (NotFound, MalformedInput, OSError):
            return None
        return hashes[position] if position < len(hashes) else None

    def _blame(self, tile: TileId, settled: Hashes, stored: Hashes, wrong: str) -> None:
        for position, (have, want) in enumerate(zip(settled, stored, strict=True)):
            if have == want:
                continue
            below = self._below(tile, position)
            if wrong == _BELOW:
                what = "this is not what the log was made of"
                self._findings.add("entry_differs", below, what, expected=want, found=have)
                continue
            what = f"the tile does not hold the hash of {below}"
            if wrong == _BOTH:
                what += ", and what stands above agrees with neither"
            where = f"{self._path(tile)}, hash {position}"
            self._findings.add("tile_differs", where, what, expected=have, found=want)

    def _below(self, tile: TileId, position: int) -> str:
        number = tile.index * TILE_WIDTH + position
        if not tile.level:
            return f"entry {number} in {self._path(TileId(None, tile.index, tile.width))}"
        return self._path(TileId(tile.level - 1, number))

    def _fill(self, level: int, settled: Hashes) -> None:
        """A full tile becomes one hash of the level above."""
        self._filled[level] += 1
        if level + 1 == len(self._rows):
            self._rows.append([])
            self._filled.append(0)
        row = self._rows[level + 1]
        row.append(_fold(settled))
        if len(row) == TILE_WIDTH:
            self._rows[level + 1] = []
            self._fill(level + 1, self._settle(TileId(level + 1, self._filled[level + 1]), row))

    def _probe(self, start: int, end: int, hashes: Hashes) -> None:
        for size in self._probes:
            if start < size <= end:
                root = _root([hashes[: size - start], *self._rows[1:]])
                if root is not None:
                    self.roots[size] = root

    def _hand_over(self, bundle: TileId, records: list[bytes], computed: Hashes, settled: Hashes) -> None:
        if not records:
            return
        if computed == settled:
            self._check_partial_objects(bundle, lambda width: b"".join(records[:width]))
        own = zip(records, computed, settled, strict=True)
        self._on_records(
            bundle.index * TILE_WIDTH, [record if have == want else b"" for record, have, want in own]
        )

    def _read_entries(self, bundle: TileId) -> tuple[list[bytes], Hashes]:
        """Read a bundle's records and hash their leaves; none, and unknown hashes, where it is damaged."""
        unknown: Hashes = [None] * bundle.width
        data = self._read(bundle)
        if data is None:
            return [], unknown
        try:
            records = self._format.split(data, TILE_WIDTH)
            if len(records) < bundle.width:
                raise MalformedInput(f"the bundle has {len(records)} entries, not {bundle.width}")
            records = records[: bundle.width]
            hashes: Hashes = [leaf_hash(self._format.leaf(record)) for record in records]
        except MalformedInput as error:
            self._findings.add("bundle_malformed", self._path(bundle), error.message)
            return [], unknown
        return records, hashes

    def _read_hashes(self, tile: TileId) -> Hashes | None:
        data = self._read(tile)
        if data is None:
            return None
        if len(data) % 32 or len(data) < 32 * tile.width:
            what = "the tile does not have the bytes of its hashes"
            self._findings.add(
                "tile_malformed", self._path(tile), what, expected=32 * tile.width, found=len(data)
            )
            return None
        return list(split_hashes(data)[: tile.width])

    def _read(self, tile: TileId) -> bytes | None:
        """Read an object that must be there."""
        kind = "bundle" if tile.level is None else "tile"
        try:
            return self._tiles.read(tile)
        except NotFound:
            self._findings.add(f"{kind}_missing", self._path(tile), f"the {kind} is missing")
        except OSError as error:
            what = f"the {kind} cannot be read: {error.strerror}"
            self._findings.add(f"{kind}_unreadable", self._path(tile), what)
        return None

    def _check_partials(self, tile: TileId, hashes: Hashes) -> None:
        known = [item for item in hashes if item is not None]
        if len(known) == len(hashes):
            self._check_partial_objects(tile, lambda width: b"".join(known[:width]))

    def _check_partial_objects(self, tile: TileId, content: Callable[[int], bytes]) -> None:
        """Every partial version that still stands is served to readers, so it must be a prefix."""
        folder = partial_folder(tile, self._format.folder)
        for name in self._objects.names(folder):
            if not name.isdigit() or not 0 < int(name) < tile.width:
                continue  # a file that a crash left half-written, or one that is newer than this check
            try:
                stored = self._objects.get(f"{folder}/{name}")
            except NotFound:
                continue  # the full tile has just replaced it
            if stored != content(int(name)):
                what = "the partial version is not a beginning of its tile or bundle"
                self._findings.add("partial_differs", f"{folder}/{name}", what)

    def _path(self, tile: TileId) -> str:
        return tile_path(tile, self._format.folder)


def _merged(computed: Hashes, stored: Hashes | None) -> Hashes:
    """Fill what damage hides among the computed hashes with the stored ones."""
    if stored is None:
        return computed
    return [want if have is None else have for have, want in zip(computed, stored, strict=True)]


def _fold(hashes: Hashes) -> bytes | None:
    """The hash of a full tile."""
    row = [item for item in hashes if item is not None]
    if len(row) < len(hashes):
        return None
    while len(row) > 1:
        row = [node_hash(row[at], row[at + 1]) for at in range(0, len(row), 2)]
    return row[0]


def _edge(rows: Sequence[Hashes]) -> tuple[bytes, ...] | None:
    """The right edge of the tree whose unfinished tiles are these, by level."""
    edge: list[bytes] = []
    for row in reversed(rows):
        growth = Growth(0, ())
        for item in row:
            if item is None:
                return None
            growth.append(item)
        edge.extend(growth.edge())
    return tuple(edge)


def _root(rows: Sequence[Hashes]) -> bytes | None:
    edge = _edge(rows)
    return None if edge is None else root_of_edge(edge)
