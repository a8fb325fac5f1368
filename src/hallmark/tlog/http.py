"""Rekor v2 over HTTP (`dev.sigstore.rekor.v2.Rekor` through grpc-gateway)."""

import time
from functools import partial
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from hallmark.errors import NotFound, Overloaded
from hallmark.tlog.answers import FROZEN_TEXT, EntryPrinter, Refusal, Refused, duplicate_message
from hallmark.tlog.creation import EntryCreator
from hallmark.tlog.metrics import TlogMetrics
from hallmark.tlog.requests import EntryRequest, parse_create_entry
from hallmark.tlog.service import LIGHT_BYTES, Submission, TlogService
from hallmark.web.asgi import App, Hold, Receive, Scope, Send, content_length, read_body, respond
from hallmark.web.gate import peer_of
from hallmark.web.json_structure import check_structure
from hallmark.web.log_reads import READS, ReadLoad, overloaded, read_routes
from hallmark.web.problems import grpc_problem

ENTRIES: Final = "/api/v2/log/entries"
_OTHER_METHODS: Final = ("GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS")
_ALREADY_EXISTS: Final = 6
_NOT_FOUND: Final = 5
_UNIMPLEMENTED: Final = 12
_MAX_DIGITS: Final = 19


def routes(
    service: TlogService, metrics: TlogMetrics | None = None, load: ReadLoad | None = None
) -> list[BaseRoute]:
    """Every route of the log, relative to its base; `load` is what all reads of the process share."""
    metrics, load = metrics or TlogMetrics(), load or ReadLoad(service.turns)
    found = [
        Route(ENTRIES, _wrong_method, methods=_OTHER_METHODS),
        Route(f"{ENTRIES}/{{index}}", _EntryRoute(service, load).answer, methods=["GET"]),
        *read_routes(service.reads, folder="entries", load=load),
        *read_routes(service.reads, folder="entries", prefix="/api/v2", load=load),
    ]
    for route in found:
        if isinstance(route, Route):
            route.app = metrics.measured(route.app)
    hot = hot_routes(service, metrics)[ENTRIES]
    return [Route(ENTRIES, _Endpoint(hot), methods=["POST"]), *found]


def hot_routes(service: TlogService, metrics: TlogMetrics | None = None) -> dict[str, App]:
    """The POST routes that bypass routing."""
    metrics = metrics or TlogMetrics()
    return {ENTRIES: _CreateEntry(service, metrics)}


class _Endpoint:
    """An ASGI application that Starlette does not take for a function of a request."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app(scope, receive, send)


class _CreateEntry:
    """POST /api/v2/log/entries."""

    def __init__(self, service: TlogService, metrics: TlogMetrics) -> None:
        self._config = service.config
        self._metrics = metrics
        self._creator = EntryCreator(service, metrics)
        self._printer = EntryPrinter(service.log_id)
        self._bodies = service.bounds.bodies
        self._standing = service.bounds.standing
        self._turns = service.turns

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        began = time.perf_counter()
        connection = scope.get("client")
        flow = self._standing.flow(connection)
        if flow is not None:
            flow = f"{flow} {peer_of(scope)}"
        try:
            with self._bodies.hold() as hold:
                receiving = partial(self._receive, scope, receive, hold, flow)
                appended = await self._creator.create(receiving, hold, connection)
        except Refused as refused:
            status = await _refuse(send, refused.answer)
        else:
            if appended.duplicate:
                status = await _answer_duplicate(send, scope["path"], appended.index)
            else:
                status = 201
                await respond(send, 201, self._printer.print(appended))
        self._metrics.count(scope, status, time.perf_counter() - began)

    async def _receive(self, scope: Scope, receive: Receive, hold: Hold, flow: str | None) -> Submission:
        config = self._config
        if flow is not None:
            await self._turns.arrive(flow)
        body = await read_body(
            receive,
            config.max_body_bytes,
            hold=hold,
            seconds=config.body_timeout,
            announced=content_length(scope),
        )
        parse = parse_create_entry if len(body) <= LIGHT_BYTES else _parse_large
        return Submission(len(body), partial(parse, body), peer_of(scope), flow)


def _parse_large(body: bytes) -> EntryRequest:
    check_structure(body)
    return parse_create_entry(body)


async def _answer_duplicate(send: Send, path: str, index: int) -> int:
    headers = [(b"x-log-index", str(index).encode()), (b"location", f"{path}/{index}".encode())]
    await respond(send, 409, grpc_problem(_ALREADY_EXISTS, duplicate_message(index)), headers=headers)
    return 409


async def _refuse(send: Send, answer: Refusal) -> int:
    if answer.status == 405:
        text = f"{FROZEN_TEXT}\n".encode()
        await respond(send, 405, text, content_type=b"text/plain; charset=utf-8")
        return 405
    retry = [] if answer.retry_after is None else [(b"retry-after", str(answer.retry_after).encode())]
    body = grpc_problem(answer.grpc_code, answer.message, list(answer.details))
    await respond(send, answer.status, body, headers=retry)
    return answer.status


async def _wrong_method(_request: Request) -> Response:
    problem = grpc_problem(_UNIMPLEMENTED, "Method Not Allowed")
    return Response(problem, 501, headers={"Allow": "POST"}, media_type="application/json")


class _EntryRoute:
    """GET /api/v2/log/entries/{index}, which a duplicate's answer points to."""

    def __init__(self, service: TlogService, load: ReadLoad) -> None:
        self._reads = service.reads
        self._load = load
        self._printer = EntryPrinter(service.log_id)

    async def answer(self, request: Request) -> Response:
        try:
            index = _parse_index(request.path_params["index"])
            with self._load.bundles.entered(peer_of(request.scope)):
                found = await self._load.turns.heavy(partial(self._reads.entry, index), READS)
        except Overloaded as error:
            return overloaded(error)
        except NotFound as error:
            return Response(grpc_problem(_NOT_FOUND, error.message), 404, media_type="application/json")
        body = self._printer.print(found)
        return Response(body, media_type="application/json", headers={"Cache-Control": "no-cache"})


def _parse_index(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or len(text) > _MAX_DIGITS:
        raise NotFound("the path names no entry")
    return int(text)
