"""The trust root over HTTP: the files of the TUF repository, read only.

Nothing but the file names that a repository has is ever opened, so no path can lead elsewhere.
"""

import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

_NUMBERED: Final = re.compile(r"[1-9][0-9]{0,8}\.(?:root|targets|snapshot)\.json")
_TARGET: Final = re.compile(r"[0-9a-f]{64}\.[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")
_TIMESTAMP: Final = "timestamp.json"

_ANYONE: Final = {"Access-Control-Allow-Origin": "*"}
_FOREVER: Final = {**_ANYONE, "Cache-Control": "public, max-age=31536000, immutable"}
_NEVER: Final = {**_ANYONE, "Cache-Control": "no-cache"}

Endpoint = Callable[[Request], Awaitable[Response]]


def routes(folder: Path) -> list[BaseRoute]:
    """Every route of the repository in `folder`, relative to its base."""
    return [
        Route("/targets/{name}", _target(folder / "targets"), methods=["GET"]),
        Route("/{name}", _metadata(folder), methods=["GET"]),
    ]


def _metadata(folder: Path) -> Endpoint:
    async def metadata(request: Request) -> Response:
        name = request.path_params["name"]
        if name == _TIMESTAMP:
            return _answer(folder / name, _NEVER)
        return _answer(folder / name, _FOREVER) if _NUMBERED.fullmatch(name) else _not_found()

    return metadata


def _target(folder: Path) -> Endpoint:
    async def target(request: Request) -> Response:
        name = request.path_params["name"]
        return _answer(folder / name, _FOREVER) if _TARGET.fullmatch(name) else _not_found()

    return target


def _answer(path: Path, headers: dict[str, str]) -> Response:
    """Send a file of a few kilobytes, read in place: handing it to a thread would cost more."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return _not_found()
    media_type = "application/json" if path.suffix == ".json" else "application/octet-stream"
    return Response(data, media_type=media_type, headers=headers)


def _not_found() -> Response:
    """Answer 404, uncached: clients ask for the next root until they get this."""
    return PlainTextResponse("not found\n", 404, headers=_NEVER)
