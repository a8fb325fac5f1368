"""The reading side of a log over HTTP (C2SP tlog-tiles, static-ct-api): checkpoint, tiles, entry bundles.

Whoever has an answer already may ask again with its entity tag, which for a tile is its path: at a given
width it never changes, so nothing is read to answer that. Full entry bundles are compressed for those that
accept it, up to a size: to two fifths, for 3 ms of another thread; hashes would not become smaller. Larger
ones are sent from their files in pieces.
"""

import asyncio
import gzip
import hashlib
from collections import OrderedDict
from functools import partial
from typing import Final

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from hallmark.core.merkle import HASH_SIZE
from hallmark.core.tiles import TILE_WIDTH, TileId, parse_tile_path
from hallmark.errors import MalformedInput, NotFound, Overloaded
from hallmark.ports import LogReads, StoredBytes
from hallmark.web.asgi import Receive, Scope, Send
from hallmark.web.gate import Gate, peer_of
from hallmark.web.outgoing import PIECE_BYTES, Outgoing
from hallmark.web.turns import Turns

_FOREVER: Final = {"Cache-Control": "public, max-age=31536000, immutable", "Access-Control-Allow-Origin": "*"}
_NOW: Final = {"Cache-Control": "no-cache", "Access-Control-Allow-Origin": "*"}
_GZIP_LEVEL: Final = 1  # higher ones save 4 % and cost a third more
MAX_COMPRESSED_BYTES: Final = 16 * 1024 * 1024  # in one process: 50 bundles of ordinary entries
MAX_COMPRESSIBLE_BYTES: Final = 2 * 1024 * 1024  # 256 entries of 8 KiB, 30 ms of another thread
MAX_BUNDLE_READS: Final = 1024  # that wait for a turn in a process: the last one for some seconds
READS: Final = "reads"  # the flow in which they wait, see `web.turns`
_GZIP_TAG: Final = "-gzip"
_OCTETS: Final = "application/octet-stream"
_REFUSED_QUALITIES: Final = frozenset({"q=0", "q=0.0", "q=0.00", "q=0.000"})


class ReadLoad:
    """What the reads of all logs of a process share: turns, and bounds on large answers."""

    def __init__(self, turns: Turns | None = None, outgoing: Outgoing | None = None) -> None:
        self.turns = turns or Turns()
        self.outgoing = outgoing or Outgoing()
        self.bundles = Gate(MAX_BUNDLE_READS, "reads of entry bundles")
        self.compressed = _Compressed()


def read_routes(
    log: LogReads, *, folder: str, prefix: str = "", load: ReadLoad | None = None
) -> list[BaseRoute]:
    """Serve `checkpoint` and `tile/...` below `prefix`; `folder` is the log's word for entry bundles."""
    served = _ServedLog(log, folder, load or ReadLoad())
    return [
        Route(f"{prefix}/checkpoint", served.checkpoint, methods=["GET", "HEAD"]),
        Route(f"{prefix}/tile/{{path:path}}", served.tile, methods=["GET", "HEAD"]),
    ]


class _ServedLog:
    """The reading side of one log."""

    def __init__(self, log: LogReads, folder: str, load: ReadLoad) -> None:
        self._log = log
        self._folder = folder
        self._load = load

    async def checkpoint(self, request: Request) -> Response:
        """The newest checkpoint, which must never come from a cache unasked."""
        try:
            data = await self._load.turns.heavy(self._log.checkpoint, READS)
        except NotFound as error:
            return _not_found(error)
        headers = {**_NOW, "Content-Type": "text/plain; charset=utf-8"}
        answer = _Answer(request, headers, self._load.outgoing)
        tag = hashlib.sha256(data).hexdigest()[:32]
        return answer.unchanged(tag) or answer.whole(data, tag)

    async def tile(self, request: Request) -> Response:
        """A tile or bundle: its path is its tag."""
        answer = _Answer(request, {**_FOREVER, "Content-Type": _OCTETS}, self._load.outgoing)
        try:
            tile = parse_tile_path(request.path_params["path"], self._folder)
            if not await self._load.turns.heavy(partial(self._log.has_tile, tile), READS):
                raise NotFound("the log has no such tile yet")
            tag = tile.path(self._folder)
            if (unchanged := answer.unchanged(tag, f"{tag}{_GZIP_TAG}")) is not None:
                return unchanged
            if tile.level is not None:
                return await self._hashes(answer, tile, tag)
            with self._load.bundles.entered(peer_of(request.scope)):
                return await self._bundle(answer, tile, tag)
        except (NotFound, MalformedInput) as error:
            return _not_found(error)
        except Overloaded as error:
            return overloaded(error)

    async def _hashes(self, answer: "_Answer", tile: TileId, tag: str) -> Response:
        if answer.is_head:
            return answer.head(HASH_SIZE * tile.width, tag)
        return answer.whole(await self._load.turns.heavy(partial(self._log.tile, tile), READS), tag)

    async def _bundle(self, answer: "_Answer", tile: TileId, tag: str) -> Response:
        turns = self._load.turns
        if tile.width == TILE_WIDTH:
            answer.headers["Vary"] = "Accept-Encoding"
        stored = await turns.heavy(partial(self._log.stored, tile), READS)
        if stored is None:
            return answer.whole(await turns.heavy(partial(self._log.tile, tile), READS), tag)
        small = await self._load.compressed.find(self, tag, stored) if answer.accepts_gzip() else None
        if small is not None:
            answer.headers["Content-Encoding"] = "gzip"
            return answer.whole(small, f"{tag}{_GZIP_TAG}")
        return answer.head(stored.size, tag) if answer.is_head else answer.in_pieces(stored, tag)


class _Compressed:
    """The bundles that were compressed last, of any log, and the one that is compressed now."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[object, str], bytes] = OrderedDict()
        self._size = 0
        self._working = asyncio.Lock()

    async def find(self, log: object, tag: str, stored: StoredBytes) -> bytes | None:
        """Compress a bundle; None for a large one, and while another is at work: then it goes as it is."""
        found = self._known.get((log, tag))
        if found is not None:
            self._known.move_to_end((log, tag))
            return found
        if stored.size > MAX_COMPRESSIBLE_BYTES or self._working.locked():
            return None
        async with self._working:
            found = await asyncio.to_thread(_compress, stored)
        self._keep((log, tag), found)
        return found

    def _keep(self, key: tuple[object, str], data: bytes) -> None:
        self._known[key] = data
        self._size += len(data)
        while self._size > MAX_COMPRESSED_BYTES:
            _, dropped = self._known.popitem(last=False)
            self._size -= len(dropped)


def _compress(stored: StoredBytes) -> bytes:
    return gzip.compress(stored.read(0, stored.size), _GZIP_LEVEL, mtime=0)


class _Answer:
    """What one request for an object gets; `headers` are those of the object."""

    def __init__(self, request: Request, headers: dict[str, str], outgoing: Outgoing) -> None:
        self._request = request
        self._outgoing = outgoing
        self.headers = headers
        self.is_head = request.method == "HEAD"

    def unchanged(self, *tags: str) -> Response | None:
        """Answer 304 where the client holds the object under one of these tags, else nothing."""
        named = self._request.headers.get("if-none-match", "").split(",")
        held = {item.strip().removeprefix("W/") for item in named}
        for tag in tags:
            if f'"{tag}"' in held or "*" in held:
                return Response(status_code=304, headers=self._tagged(tag))
        return None

    def head(self, size: int, tag: str) -> Response:
        """Answer with headers alone."""
        return Response(headers={**self._tagged(tag), "Content-Length": str(size)})

    def whole(self, data: bytes, tag: str) -> Response:
        """Answer with what stands in memory: a small object in one piece."""
        if self.is_head:
            return self.head(len(data), tag)
        if len(data) <= PIECE_BYTES:
            return Response(data, headers=self._tagged(tag))
        body = StoredBytes(len(data), lambda start, count: data[start : start + count])
        return self.in_pieces(body, tag, held=len(data))

    def in_pieces(self, body: StoredBytes, tag: str, *, held: int = 0) -> Response:
        """Answer with a large object, `held` bytes of which stand in memory."""
        headers = {**self._tagged(tag), "Content-Length": str(body.size)}
        return _InPieces(self._outgoing, body, headers, held)

    def accepts_gzip(self) -> bool:
        for item in self._request.headers.get("accept-encoding", "").lower().split(","):
            name, _, quality = item.partition(";")
            if name.strip() == "gzip":
                return quality.replace(" ", "") not in _REFUSED_QUALITIES
        return False

    def _tagged(self, tag: str) -> dict[str, str]:
        return {**self.headers, "ETag": f'"{tag}"'}


class _InPieces(Response):
    """A large answer; see `web.outgoing`."""

    def __init__(self, outgoing: Outgoing, body: StoredBytes, headers: dict[str, str], held: int) -> None:
        super().__init__(headers=headers)
        self._outgoing = outgoing
        self._stored = body
        self._held = held

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._outgoing.send(send, self.raw_headers, self._stored, held=self._held)
        except Overloaded as error:
            await overloaded(error)(scope, receive, send)
        except TimeoutError:
            pass  # the server sees a body that is too short, and ends the connection


def overloaded(error: Overloaded) -> Response:
    """Answer 503 and say when to come back."""
    headers = {**_NOW, "Retry-After": str(error.retry_after)}
    return PlainTextResponse(f"{error.message}\n", 503, headers=headers)


def _not_found(error: NotFound | MalformedInput) -> Response:
    return PlainTextResponse(f"{error.message}\n", 404, headers=_NOW)
