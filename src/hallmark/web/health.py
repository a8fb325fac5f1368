"""Whether the process serves, and where everything of the instance stands."""

import json

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route


def health_routes() -> list[BaseRoute]:
    """Serve `/healthz` as Fulcio and Rekor do."""

    async def healthz(_request: Request) -> Response:
        return Response('{"status":"SERVING"}', media_type="application/json")

    return [Route("/healthz", healthz, methods=["GET"])]


def well_known_routes(description: dict[str, object]) -> list[BaseRoute]:
    """Serve `/.well-known/hallmark.json`: the services, the configs for clients, the root's fingerprint."""
    body = json.dumps(description, indent=2).encode()

    async def describe(_request: Request) -> Response:
        return Response(
            body,
            media_type="application/json",
            headers={"Cache-Control": "no-cache", "Access-Control-Allow-Origin": "*"},
        )

    return [Route("/.well-known/hallmark.json", describe, methods=["GET"])]
