"""One ASGI application from the routes of several services, with a short way for the hot ones."""

from collections.abc import Mapping, Sequence
from typing import Final

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Mount, Router

from hallmark.errors import Overloaded
from hallmark.web.asgi import App, Receive, Scope, Send, respond
from hallmark.web.gate import peer_of
from hallmark.web.problems import INTERNAL_ERROR, grpc_problem, report_unexpected
from hallmark.web.turns import Turns

_POST: Final = "POST"
_UNAVAILABLE: Final = 14
_RETRY: Final = ((b"retry-after", b"1"),)


class Dispatcher:
    """Sends hot POSTs straight to their handler and everything else through Starlette's routing."""

    def __init__(
        self, routes: Sequence[BaseRoute], hot: Mapping[str, App], turns: Turns | None = None
    ) -> None:
        self._hot = dict(hot)
        self._turns = turns or Turns()
        self._cold = Starlette(routes=list(routes), exception_handlers={500: _internal_error})
        self._cold.router.redirect_slashes = False  # it would send a client to whatever Host says

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request.

        A path with a control character names nothing: a pattern's end matches before a final newline too.
        """
        hot = self._hot.get(scope["path"]) if scope["type"] == "http" and scope["method"] == _POST else None
        if hot is not None:
            await hot(scope, receive, send)
            return
        try:
            await self._turns.arrive(peer_of(scope))
        except Overloaded as error:
            await respond(send, 503, grpc_problem(_UNAVAILABLE, error.message), headers=_RETRY)
            return
        if scope["path"].isprintable():
            await self._cold(scope, receive, send)
        else:
            await PlainTextResponse("Not Found", 404)(scope, receive, send)


def mount(path: str, routes: Sequence[BaseRoute]) -> Mount:
    """Put routes below a path; none of them redirects to another spelling of its own."""
    return Mount(path, app=Router(list(routes), redirect_slashes=False))


async def _internal_error(request: Request, error: Exception) -> Response:
    request_id = report_unexpected(error, request.url.path)
    problem = grpc_problem(INTERNAL_ERROR[1], f"internal server error (request {request_id})")
    return Response(problem, INTERNAL_ERROR[0], media_type="application/json")
