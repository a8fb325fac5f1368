"""Copies a log from its read side, and verifies all of it against the log's signed checkpoint.

The order is what keeps a mirror true: the new checkpoint must extend the mirror's own; then hash tiles from
the root down, each against the tile above it; then entry bundles against their tiles; the checkpoint last.
So nothing that is not proved is ever written, and a copy that was cut goes on where it stopped: what stands
there is verified like what is fetched.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Final, Protocol

import msgspec

from hallmark.core.checkpoint import Checkpoint
from hallmark.core.merkle import (
    EMPTY_ROOT,
    HASH_SIZE,
    consistency_path,
    leaf_hash,
    node_hash,
    verify_consistency,
)
from hallmark.core.tiles import TILE_HEIGHT, TILE_WIDTH, TileId, bundles_between, split_hashes, tiles_between
from hallmark.errors import InvalidProof, MalformedInput, NotFound, RemoteError, TrustError
from hallmark.ports import LogHead, ObjectStore
from hallmark.tiledlog.objects import CHECKPOINT, PublishedTiles, ReadTile, tile_path
from hallmark.tiledlog.partials import collect_partials, mend_partials
from hallmark.tiledlog.records import RecordFormat
from hallmark.tiledlog.right_edge import read_right_edge
from hallmark.tiledlog.signer import FROZEN_LINE
from hallmark.tiledlog.view import LogView

_FETCHERS: Final = 8
_AHEAD: Final = 16
_SYNC_EVERY: Final = 256  # objects that wait for their sync hold a file descriptor each

Progress = Callable[[int, int], None]


class ReadObjects(Protocol):
    """A log's read side; called from several threads."""

    def get(self, path: str) -> bytes:
        """Read an object; raises `NotFound`, or `RemoteError` where the source fails."""
        ...


class MirrorUpdate(msgspec.Struct, frozen=True, kw_only=True):
    """What an update did: from which size to which checkpoint, and how many objects were fetched.

    `frozen` says that the checkpoint is the last that there will be.
    """

    origin: str
    old_size: int
    size: int
    root: bytes
    fetched: int
    frozen: bool = False


class MirrorRepair(msgspec.Struct, frozen=True, kw_only=True):
    """What a repair did: how many bundles it verified with all above them, and what it had to fetch again."""

    verified: int
    fetched: int
    next: int
    """The bundle to go on with; 0 when the last one was reached."""


class Mirror:
    """Copies one log from `source` into `objects`.

    `verify` checks a checkpoint of the log; `on_records` sees every new bundle, the index of its first record
    first, before the checkpoint covers it, and may fetch what the records refer to.
    """

    def __init__(
        self,
        source: ReadObjects,
        objects: ObjectStore,
        records: RecordFormat,
        verify: Callable[[bytes], Checkpoint],
        *,
        on_records: Callable[[int, Sequence[bytes]], None],
    ) -> None:
        self._source = source
        self._objects = objects
        self._format = records
        self._verify = verify
        self._on_records = on_records
        self._edge_tiles: Mapping[int, list[bytes]] = {}
        self._above: tuple[TileId, list[bytes]] | None = None
        self._fetched = 0

    def update(self, note: bytes, progress: Progress) -> MirrorUpdate:
        """Bring the mirror up to this checkpoint of the source.

        Raises `TrustError` (`log_went_back`, `log_inconsistent`) for one that does not extend the mirror's,
        `InvalidProof` for objects that are not the checkpoint's, and `RemoteError`.
        """
        new, old = self._verify(note), self._own_checkpoint()
        self._check_extends(old, new)
        self._objects.discard_unfinished()
        if new.size > old.size:
            with ThreadPoolExecutor(_FETCHERS, thread_name_prefix="mirror") as pool:
                try:
                    self._copy(pool, old, new, progress)
                finally:
                    pool.shutdown(wait=True, cancel_futures=True)
        mend_partials(self._objects, self._format.folder, old.size, new.size, self._beginning_at(new.size))
        self._objects.sync()
        self._objects.replace(CHECKPOINT, note)
        collect_partials(self._objects, self._format.folder, old.size, new.size)
        return MirrorUpdate(
            origin=new.origin,
            old_size=old.size,
            size=new.size,
            root=new.root,
            fetched=self._fetched,
            frozen=any(line.startswith(FROZEN_LINE) for line in new.extensions),
        )

    def repair(
        self, note: bytes, progress: Progress, *, first: int = 0, count: int | None = None
    ) -> MirrorRepair:
        """Verify `count` bundles from the `first` on, or all, and fetch again what is lost or damaged.

        `note` covers them; the checkpoint of the mirror is not touched. Raises what `update` does.
        """
        stated, before = self._verify(note), self._fetched
        bundles = -(-stated.size // TILE_WIDTH)
        first = first if first < bundles else 0
        end = bundles if count is None else min(first + count, bundles)
        if first < end:
            self._take_edge(stated)
            with ThreadPoolExecutor(_FETCHERS, thread_name_prefix="mirror") as pool:
                try:
                    levels, row = _over(stated.size, first, end)
                    self._copy_all(pool, levels, row, stated.size, progress)
                finally:
                    pool.shutdown(wait=True, cancel_futures=True)
            self._objects.sync()
        return MirrorRepair(
            verified=end - first, fetched=self._fetched - before, next=end if end < bundles else 0
        )

    def _take_edge(self, stated: Checkpoint) -> None:
        """Know the right edge: from the mirror, or where it is not that of the tree, from the source."""
        with suppress(NotFound, MalformedInput):
            found = read_right_edge(stated.size, lambda tile: self._objects.get(self._path(tile)))
            if found.root == stated.root:
                self._edge_tiles = found.tiles
                return
        self._source_view(stated)

    def _path(self, tile: TileId) -> str:
        return tile_path(tile, self._format.folder)

    def check_extends(self, old: Checkpoint, note: bytes) -> None:
        """Check that the source's tree of this checkpoint extends `old`; raises as `update` does."""
        self._check_extends(old, self._verify(note))

    def _own_checkpoint(self) -> Checkpoint:
        try:
            return self._verify(self._objects.get(CHECKPOINT))
        except NotFound:
            return Checkpoint("", 0, EMPTY_ROOT)

    def _check_extends(self, old: Checkpoint, new: Checkpoint) -> None:
        """Refuse a log that went back or forked, before anything of it is copied."""
        if new.size < old.size:
            raise TrustError(
                f"the source has {new.size} entries, the mirror has {old.size} already",
                code="log_went_back",
                hint="keep both checkpoints; a log that shows less than it signed is stale or lies",
            )
        if old.size == new.size and old.root != new.root:
            raise _forked(old, new)
        if new.size > old.size:
            view = self._source_view(new)
            if old.size and self._root_within(view, old.size, new) != old.root:
                raise _forked(old, new)

    def _root_within(self, view: LogView, size: int, new: Checkpoint) -> bytes:
        """The root that the new tree had at `size`, proved: a difference is a fork, not a bad tile."""
        root = view.range_hash(0, size)
        proof = [view.range_hash(start, end) for start, end in consistency_path(size, new.size)]
        try:
            verify_consistency(size, root, new.size, new.root, proof)
        except InvalidProof as error:
            raise InvalidProof(
                f"the source's tiles are damaged: {error.message}", code="tiles_differ"
            ) from None
        return root

    def _source_view(self, new: Checkpoint) -> LogView:
        """Fetch the right edge of the new tree, prove it by the root hash, and view the tree with it."""
        found = read_right_edge(new.size, self._fetch)
        self._edge_tiles, edge = found.tiles, found.edge
        if found.root != new.root:
            raise InvalidProof(
                f"the source's tiles do not lead to its root hash {new.root.hex()}", code="tiles_differ"
            )
        head = LogHead(new.size, new.root, 0, edge, b"", new.size, edge)
        return LogView(head, (), PublishedTiles(self._fetch, max_tiles=64), self._format)

    def _copy(self, pool: ThreadPoolExecutor, old: Checkpoint, new: Checkpoint, progress: Progress) -> None:
        bundles = bundles_between(old.size, new.size)
        self._copy_all(pool, _levels_down(old.size, new.size), bundles, new.size, progress)

    def _copy_all(
        self,
        pool: ThreadPoolExecutor,
        levels: Sequence[Sequence[TileId]],
        bundles: Iterable[TileId],
        size: int,
        progress: Progress,
    ) -> None:
        """Bring in hash tiles, the highest level first, then bundles, each checked against what is above."""
        for level in levels:
            for tile, copy in self._obtain(pool, level):
                self._keep_tile(tile, copy, size)
        for bundle, copy in self._obtain(pool, bundles):
            self._keep_bundle(bundle, copy)
            progress(bundle.index * TILE_WIDTH + bundle.width, size)

    def _obtain(self, pool: ThreadPoolExecutor, tiles: Iterable[TileId]) -> Iterator[tuple[TileId, "_Copy"]]:
        """Read each tile's object from the mirror or else from the source, in order, some of them ahead."""
        ahead: deque[tuple[TileId, Future[_Copy]]] = deque()
        for tile in tiles:
            ahead.append((tile, pool.submit(self._read, tile)))
            if len(ahead) == _AHEAD:
                first, future = ahead.popleft()
                yield first, future.result()
        while ahead:
            first, future = ahead.popleft()
            yield first, future.result()

    def _read(self, tile: TileId) -> "_Copy":
        try:
            return _Copy(self._objects.get(tile_path(tile, self._format.folder)), own=True)
        except NotFound:
            return _Copy(self._fetch(tile), own=False)

    def _fetch(self, tile: TileId) -> bytes:
        """Fetch a tile or bundle; where a full one has replaced this partial one, its beginning will do."""
        path = tile_path(tile, self._format.folder)
        full = tile_path(TileId(tile.level, tile.index), self._format.folder)
        for name in dict.fromkeys((path, full)):
            try:
                data = self._source.get(name)
            except NotFound:
                continue
            if tile.level is None:
                return data
            if len(data) < HASH_SIZE * tile.width:
                raise InvalidProof(
                    f"{name} has {len(data)} bytes, fewer than {tile.width} hashes", code="tiles_differ"
                )
            return data[: HASH_SIZE * tile.width]
        raise RemoteError(
            f"the source has no {path}, which its checkpoint covers",
            code="object_missing",
            hint="try again; if it stays so, tell the operator of the log",
        )

    def _keep_tile(self, tile: TileId, copy: "_Copy", size: int) -> None:
        """Check a tile against the one above it, and write it."""
        if not (copy.own and self._is_true(tile, copy.data, size)):
            data = self._fetch(tile) if copy.own else copy.data
            if not self._is_true(tile, data, size):
                path = tile_path(tile, self._format.folder)
                raise InvalidProof(f"{path} does not have the hash that stands above it", code="tiles_differ")
            self._put(tile, data)

    def _is_true(self, tile: TileId, data: bytes, size: int) -> bool:
        hashes = _whole(data, tile.width)
        if tile.width < TILE_WIDTH:
            return hashes == self._edge_tiles[tile.level or 0]
        return hashes is not None and _fold(hashes) == self._hash_above(tile, size)

    def _hash_above(self, tile: TileId, size: int) -> bytes:
        level = (tile.level or 0) + 1
        index, position = divmod(tile.index, TILE_WIDTH)
        width = min(TILE_WIDTH, (size >> (TILE_HEIGHT * level)) - index * TILE_WIDTH)
        return self._true_hashes(TileId(level, index, width))[position]

    def _true_hashes(self, tile: TileId) -> list[bytes]:
        """The hashes of a tile that was checked before: it is on the right edge, or in the mirror."""
        if tile.width < TILE_WIDTH:
            return self._edge_tiles[tile.level or 0]
        if self._above is None or self._above[0] != tile:
            self._above = tile, split_hashes(self._objects.get(tile_path(tile, self._format.folder)))
        return self._above[1]

    def _keep_bundle(self, bundle: TileId, copy: "_Copy") -> None:
        """Check a bundle against its tile, and write it."""
        expected = self._true_hashes(TileId(0, bundle.index, bundle.width))
        records = self._true_records(bundle, copy.data, expected)
        if records is None and copy.own:
            copy = _Copy(self._fetch(bundle), own=False)
            records = self._true_records(bundle, copy.data, expected)
        if records is None:
            path = tile_path(bundle, self._format.folder)
            raise InvalidProof(f"{path} does not have the hashes of its tile", code="tiles_differ")
        self._on_records(bundle.index * TILE_WIDTH, records)
        if not copy.own:
            self._put(bundle, b"".join(records))

    def _true_records(self, bundle: TileId, data: bytes, expected: list[bytes]) -> list[bytes] | None:
        """Cut a bundle; None where it is not what the tile says."""
        try:
            records = self._format.split(data, TILE_WIDTH)[: bundle.width]
            hashes = [leaf_hash(self._format.leaf(record)) for record in records]
        except MalformedInput:
            return None
        return records if hashes == expected else None

    def _put(self, tile: TileId, data: bytes) -> None:
        self._objects.put(tile_path(tile, self._format.folder), data)
        self._fetched += 1
        if self._fetched % _SYNC_EVERY == 0:
            self._objects.sync()

    def _beginning_at(self, size: int) -> ReadTile:
        """Read partial tiles from the mirror's own tiles of the tree of this size."""

        def read(part: TileId) -> bytes:
            hashes = size >> (TILE_HEIGHT * (part.level or 0))
            whole = TileId(part.level, part.index, min(hashes - part.index * TILE_WIDTH, TILE_WIDTH))
            data = self._objects.get(tile_path(whole, self._format.folder))
            if part.level is None:
                return b"".join(self._format.split(data)[: part.width])
            return data[: HASH_SIZE * part.width]

        return read


def _forked(old: Checkpoint, new: Checkpoint) -> TrustError:
    return TrustError(
        f"the source's tree of {new.size} entries (root {new.root.hex()}) does not extend the mirror's of "
        f"{old.size} (root {old.root.hex()})",
        code="log_inconsistent",
        hint="keep both checkpoints: together they prove that the log has shown two histories",
    )


class _Copy(msgspec.Struct, frozen=True):
    """An object of the log, not checked yet; `own` says that it stands in the mirror."""

    data: bytes
    own: bool


def _levels_down(old_size: int, new_size: int) -> Sequence[Sequence[TileId]]:
    """The new hash tiles, the highest level first."""
    levels: dict[int, list[TileId]] = {}
    for tile in tiles_between(old_size, new_size):
        levels.setdefault(tile.level or 0, []).append(tile)
    return [levels[level] for level in sorted(levels, reverse=True)]


def _over(size: int, first: int, end: int) -> tuple[list[list[TileId]], list[TileId]]:
    """The bundles [first, end) of a tree of this size, and every hash tile on their way to the root."""

    def row(level: int | None, start: int, stop: int) -> list[TileId]:
        hashes = size >> (TILE_HEIGHT * (level or 0))
        stop = min(stop, -(-hashes // TILE_WIDTH))
        return [
            TileId(level, index, min(TILE_WIDTH, hashes - index * TILE_WIDTH)) for index in range(start, stop)
        ]

    levels: list[list[TileId]] = []
    while tiles := row(
        len(levels),
        first >> (TILE_HEIGHT * len(levels)),
        ((end - 1) >> (TILE_HEIGHT * len(levels))) + 1,
    ):
        levels.append(tiles)
    return levels[::-1], row(None, first, end)


def _whole(data: bytes, width: int) -> list[bytes] | None:
    return split_hashes(data) if len(data) == HASH_SIZE * width else None


def _fold(hashes: Sequence[bytes]) -> bytes:
    """The hash of a full tile."""
    row = list(hashes)
    while len(row) > 1:
        row = [node_hash(row[at], row[at + 1]) for at in range(0, len(row), 2)]
    return row[0]
