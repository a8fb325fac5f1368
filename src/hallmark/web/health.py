"""Whether the instance can do its work, and where everything of it stands."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from hallmark.web.kept import Kept

_KEPT_SECONDS: Final = 5.0  # anybody may ask: however often, the instance is examined once in this time
_SERVING: Final = b'{"status":"SERVING"}'


class HealthCheck(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that was tried; `soon` says that it will fail unless somebody does something.

    `ends` is when it ends by itself, in seconds since 1970; None for what does not. `hint` is what its
    operator can do about it.
    """

    check: str
    ok: bool
    found: str
    soon: bool = False
    ends: int | None = None
    hint: str = ""


Examine = Callable[[], Sequence[HealthCheck]]


def health_routes(examine: Examine = tuple) -> list[BaseRoute]:
    """Serve `/healthz` as Fulcio and Rekor do, and everything that was looked at at `/health`.

    `examine` may take its time: it runs in another thread.
    """
    findings = Kept(examine, _KEPT_SECONDS)

    async def healthz(_request: Request) -> Response:
        wrong = [item for item in await findings.read() if not item.ok]
        if not wrong:
            return Response(_SERVING, media_type="application/json")
        problems = [f"{item.check}: {item.found}" for item in wrong]
        body = msgspec.json.encode({"status": "NOT_SERVING", "problems": problems})
        return Response(body, status_code=503, media_type="application/json")

    async def health(_request: Request) -> Response:
        checks = await findings.read()
        body = msgspec.json.encode({"ok": all(item.ok for item in checks), "checks": checks})
        headers = {"Cache-Control": "no-cache"}
        return Response(msgspec.json.format(body, indent=2), media_type="application/json", headers=headers)

    return [
        Route("/healthz", healthz, methods=["GET"]),
        Route("/health", health, methods=["GET"]),
    ]


def well_known_routes(
    describe: Callable[[], bytes], files: Mapping[str, Callable[[], bytes]]
) -> list[BaseRoute]:
    """Serve `/.well-known/hallmark.json`, and the files for clients below `/.well-known/hallmark/`."""
    documents = {f"hallmark/{name}": read for name, read in files.items()}
    documents["hallmark.json"] = describe
    return [
        Route(f"/.well-known/{name}", _document(read), methods=["GET"]) for name, read in documents.items()
    ]


def _document(read: Callable[[], bytes]) -> Callable[[Request], Awaitable[Response]]:
    headers = {"Cache-Control": "no-cache", "Access-Control-Allow-Origin": "*"}

    kept = Kept(read)

    async def document(_request: Request) -> Response:
        return Response(await kept.read(), media_type="application/json", headers=headers)

    return document
