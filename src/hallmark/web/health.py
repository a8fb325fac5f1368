"""Whether the process serves, and where everything of the instance stands."""

import json
from collections.abc import Awaitable, Callable, Mapping

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route


def health_routes() -> list[BaseRoute]:
    """Serve `/healthz` as Fulcio and Rekor do."""

    async def healthz(_request: Request) -> Response:
        return Response('{"status":"SERVING"}', media_type="application/json")

    return [Route("/healthz", healthz, methods=["GET"])]


def well_known_routes(description: dict[str, object], files: Mapping[str, bytes]) -> list[BaseRoute]:
    """Serve `/.well-known/hallmark.json`, and the files for clients below `/.well-known/hallmark/`."""
    documents = {"hallmark.json": json.dumps(description, indent=2).encode()}
    documents |= {f"hallmark/{name}": data for name, data in files.items()}
    return [
        Route(f"/.well-known/{name}", _document(data), methods=["GET"]) for name, data in documents.items()
    ]


def _document(data: bytes) -> Callable[[Request], Awaitable[Response]]:
    headers = {"Cache-Control": "no-cache", "Access-Control-Allow-Origin": "*"}

    async def document(_request: Request) -> Response:
        return Response(data, media_type="application/json", headers=headers)

    return document
