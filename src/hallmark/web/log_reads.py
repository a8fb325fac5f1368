"""The reading side of a log over HTTP (C2SP tlog-tiles, static-ct-api): checkpoint, tiles, entry bundles."""

from typing import Final

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from hallmark.core.tiles import parse_tile_path
from hallmark.errors import MalformedInput, NotFound
from hallmark.ports import LogReads

_FOREVER: Final = {"Cache-Control": "public, max-age=31536000, immutable"}
_NEVER: Final = {"Cache-Control": "no-cache"}
_ANYONE: Final = {"Access-Control-Allow-Origin": "*"}


def read_routes(log: LogReads, *, folder: str, prefix: str = "") -> list[BaseRoute]:
    """Serve `checkpoint` and `tile/...` below `prefix`; `folder` is the log's word for entry bundles.

    A tile of a given width never changes, so every tile may be cached for ever.
    """

    async def checkpoint(_request: Request) -> Response:
        try:
            note = log.checkpoint()
        except NotFound as error:
            return PlainTextResponse(f"{error.message}\n", 404, headers=_NEVER)
        return Response(note, media_type="text/plain; charset=utf-8", headers={**_NEVER, **_ANYONE})

    async def tile(request: Request) -> Response:
        try:
            data = log.tile(parse_tile_path(request.path_params["path"], folder))
        except (NotFound, MalformedInput) as error:
            return PlainTextResponse(f"{error.message}\n", 404, headers=_NEVER)
        return Response(data, media_type="application/octet-stream", headers={**_FOREVER, **_ANYONE})

    return [
        Route(f"{prefix}/checkpoint", checkpoint, methods=["GET"]),
        Route(f"{prefix}/tile/{{path:path}}", tile, methods=["GET"]),
    ]
