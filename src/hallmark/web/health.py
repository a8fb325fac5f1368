"""Whether the process serves, and where everything of the instance stands."""

from collections.abc import Awaitable, Callable, Mapping

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route


def health_routes() -> list[BaseRoute]:
    """Serve `/healthz` as Fulcio and Rekor do."""

    async def healthz(_request: Request) -> Response:
        return Response('{"status":"SERVING"}', media_type="application/json")

    return [Route("/healthz", healthz, methods=["GET"])]


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

    async def document(_request: Request) -> Response:
        return Response(read(), media_type="application/json", headers=headers)

    return document
