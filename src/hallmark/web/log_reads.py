"""The reading side of a log over HTTP (C2SP tlog-tiles, static-ct-api): checkpoint, tiles, entry bundles.

Whoever has an answer already may ask again with its entity tag. Full entry bundles are compressed for those
that accept it: to two fifths, for 3 ms of another thread; hashes would not become smaller.
"""

import asyncio
import gzip
import hashlib
from collections import OrderedDict
from typing import Final

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from hallmark.core.tiles import TILE_WIDTH, TileId, parse_tile_path
from hallmark.errors import MalformedInput, NotFound
from hallmark.ports import LogReads

_FOREVER: Final = {"Cache-Control": "public, max-age=31536000, immutable", "Access-Control-Allow-Origin": "*"}
_NOW: Final = {"Cache-Control": "no-cache", "Access-Control-Allow-Origin": "*"}
_GZIP_LEVEL: Final = 1  # higher ones save 4 % and cost a third more
_MAX_COMPRESSED: Final = 64
_REFUSED_QUALITIES: Final = frozenset({"q=0", "q=0.0", "q=0.00", "q=0.000"})


def read_routes(log: LogReads, *, folder: str, prefix: str = "") -> list[BaseRoute]:
    """Serve `checkpoint` and `tile/...` below `prefix`; `folder` is the log's word for entry bundles."""
    served = _ServedLog(log, folder)
    return [
        Route(f"{prefix}/checkpoint", served.checkpoint, methods=["GET", "HEAD"]),
        Route(f"{prefix}/tile/{{path:path}}", served.tile, methods=["GET", "HEAD"]),
    ]


class _ServedLog:
    """The reading side of one log, and the bundles that were compressed last."""

    def __init__(self, log: LogReads, folder: str) -> None:
        self._log = log
        self._folder = folder
        self._compressed: OrderedDict[tuple[int, str], bytes] = OrderedDict()
        self._compressing = asyncio.Lock()

    async def checkpoint(self, request: Request) -> Response:
        """The newest checkpoint, which must never come from a cache unasked."""
        try:
            data = self._log.checkpoint()
        except NotFound as error:
            return _not_found(error)
        return _answer(request, data, _tag(data), {**_NOW, "Content-Type": "text/plain; charset=utf-8"})

    async def tile(self, request: Request) -> Response:
        """A tile or bundle: at a given width it never changes."""
        try:
            tile = parse_tile_path(request.path_params["path"], self._folder)
            data = self._log.tile(tile)
        except (NotFound, MalformedInput) as error:
            return _not_found(error)
        tag = _tag(data)
        headers = {**_FOREVER, "Content-Type": "application/octet-stream"}
        if tile.level is None and tile.width == TILE_WIDTH:
            headers["Vary"] = "Accept-Encoding"
            if _accepts_gzip(request) and (small := await self._compress(tile, tag, data)) is not None:
                return _answer(request, small, f"{tag}-gzip", {**headers, "Content-Encoding": "gzip"})
        return _answer(request, data, tag, headers)

    async def _compress(self, tile: TileId, tag: str, data: bytes) -> bytes | None:
        """Compress a bundle, one at a time; None while another is at work: then it goes as it is."""
        key = (tile.index, tag)
        found = self._compressed.get(key)
        if found is None:
            if self._compressing.locked():
                return None
            async with self._compressing:
                found = await asyncio.to_thread(gzip.compress, data, _GZIP_LEVEL, mtime=0)
            self._compressed[key] = found
            if len(self._compressed) > _MAX_COMPRESSED:
                self._compressed.popitem(last=False)
        return found


def _tag(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:32]


def _answer(request: Request, data: bytes, tag: str, headers: dict[str, str]) -> Response:
    headers = {**headers, "ETag": f'"{tag}"'}
    if _has_already(request, tag):
        headers.pop("Content-Encoding", None)
        return Response(status_code=304, headers=headers)
    if request.method == "HEAD":
        return Response(headers={**headers, "Content-Length": str(len(data))})
    return Response(data, headers=headers)


def _has_already(request: Request, tag: str) -> bool:
    held = [item.strip().removeprefix("W/") for item in request.headers.get("if-none-match", "").split(",")]
    return f'"{tag}"' in held or "*" in held


def _accepts_gzip(request: Request) -> bool:
    for item in request.headers.get("accept-encoding", "").lower().split(","):
        name, _, quality = item.partition(";")
        if name.strip() == "gzip":
            return quality.replace(" ", "") not in _REFUSED_QUALITIES
    return False


def _not_found(error: NotFound | MalformedInput) -> Response:
    return PlainTextResponse(f"{error.message}\n", 404, headers=_NOW)
