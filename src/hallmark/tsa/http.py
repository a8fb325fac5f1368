"""The timestamp service over HTTP: DER and JSON in, DER out (the API of Sigstore's timestamp authority).

A refused request gets an HTTP status and a JSON body, not an RFC 3161 rejection, because clients look at
the status alone.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Final

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from hallmark.core.timestamp import TimestampRequest, parse_request
from hallmark.errors import MalformedInput, Overloaded, PolicyViolation
from hallmark.tsa.requests import parse_json_request
from hallmark.tsa.service import TimestampAuthority
from hallmark.web.asgi import (
    App,
    BodyBudget,
    Receive,
    Scope,
    Send,
    content_length,
    header,
    read_body,
    respond,
)
from hallmark.web.gate import Gate, peer_of
from hallmark.web.problems import report_unexpected
from hallmark.web.turns import Turns

TIMESTAMP: Final = "/api/v1/timestamp"

_QUERY: Final = "application/timestamp-query"
_REPLY: Final = "application/timestamp-reply"
_JSON: Final = "application/json"
_ACCEPTABLE: Final = frozenset({_REPLY, "application/*", "*/*"})
_ANYONE: Final = (b"access-control-allow-origin", b"*")
_NO_STORE: Final = (b"cache-control", b"no-cache, no-store, must-revalidate, private, max-age=0")
_HEADERS: Final = (_NO_STORE, _ANYONE)
_CHAIN_HEADERS: Final = {"Cache-Control": "max-age=86400, immutable", "Access-Control-Allow-Origin": "*"}

_FAILED: Final = "Error generating timestamp response"
_TEXTS: Final = {
    "weak_hash": "Weak hash algorithm in timestamp request",
    "digest_length": "Message digest has incorrect length for specified algorithm",
    "unaccepted_policy": "unaccepted policy: requested TSA policy is not supported by the TSA",
    "unaccepted_extension": "unaccepted extension: requested extensions are not supported by the TSA",
    "malformed_policy": "OID should be comprised of at most 128 components",
    "json_too_large": "timestamp request is too large",
}


def routes(service: TimestampAuthority, hot: Mapping[str, App] | None = None) -> list[BaseRoute]:
    """Every route of the authority, relative to its base; `hot` are its own hot routes."""
    hot = hot_routes(service) if hot is None else hot
    return [
        Route(TIMESTAMP, hot[TIMESTAMP]),
        Route(f"{TIMESTAMP}/certchain", _Chain(service).answer, methods=["GET"]),
        Route("/ping", _ping, methods=["GET"]),
    ]


def hot_routes(service: TimestampAuthority, turns: Turns | None = None) -> dict[str, App]:
    """The POST route that bypasses routing; `turns` are those of the process."""
    return {TIMESTAMP: _Stamp(service, turns or Turns())}


class _Refusal(Exception):
    """What the HTTP layer itself refuses: a status, a code and a text that the API fixes."""

    def __init__(self, status: int, text: str, *, code: int | None = None) -> None:
        super().__init__(text)
        self.status, self.text, self.code = status, text, code or status


class _Stamp:
    """POST /api/v1/timestamp."""

    def __init__(self, service: TimestampAuthority, turns: Turns) -> None:
        self._service = service
        self._turns = turns
        self._gate = Gate(service.config.max_calls, "timestamp requests")
        self._budget = BodyBudget(service.config.max_body_bytes_in_flight)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            response = await self._stamp(scope, receive)
        except _Refusal as refusal:
            await _refuse(send, refusal.status, refusal.text, code=refusal.code)
        except (MalformedInput, PolicyViolation) as error:
            await _refuse(send, 400, _TEXTS.get(error.code, _FAILED))
        except Overloaded as error:
            retry = (b"retry-after", str(error.retry_after).encode())
            await _refuse(send, 503, error.message, headers=[retry])
        except Exception as error:  # noqa: BLE001  the caller gets a plain 500; the log gets the reason
            request_id = report_unexpected(error, "the timestamp authority")
            await _refuse(send, 500, f"{_FAILED} (request {request_id})")
        else:
            status = self._service.config.success_status
            await respond(send, status, response, content_type=_REPLY.encode(), headers=_HEADERS)

    async def _stamp(self, scope: Scope, receive: Receive) -> bytes:
        if scope["method"] != "POST":
            raise _Refusal(405, f"method {scope['method']} is not allowed, but [POST] are")
        flow = f"timestamps {peer_of(scope)}"
        await self._turns.arrive(flow)
        with self._budget.hold() as hold:
            body = await read_body(
                receive,
                self._service.config.max_body_bytes,
                hold=hold,
                seconds=self._service.config.body_timeout,
                announced=content_length(scope),
            )
            with self._gate.entered(peer_of(scope)):
                return await self._turns.heavy(lambda: self._service.stamp(_parse(scope, body)), flow)


def _parse(scope: Scope, body: bytes) -> TimestampRequest:
    if not body:
        raise _Refusal(422, "request in body is required", code=602)
    media_type = _text(header(scope, b"content-type")).partition(";")[0].strip().lower()
    if media_type not in {_QUERY, _JSON}:
        allowed = f"[{_JSON} {_QUERY}]"
        raise _Refusal(415, f'unsupported media type "{media_type[:100]}", only {allowed} are allowed')
    _check_accept(_text(header(scope, b"accept")))
    return parse_request(body) if media_type == _QUERY else parse_json_request(body)


def _check_accept(accept: str) -> None:
    if not accept:
        return
    ranges = {item.partition(";")[0].strip().lower() for item in accept.split(",")}
    if _ACCEPTABLE.isdisjoint(ranges):
        raise _Refusal(406, f"unsupported media type requested, only [{_REPLY}] are available")


def _text(value: bytes | None) -> str:
    return (value or b"").decode("latin-1")


async def _refuse(
    send: Send,
    status: int,
    text: str,
    *,
    code: int | None = None,
    headers: Sequence[tuple[bytes, bytes]] = (),
) -> None:
    body = json.dumps({"code": code or status, "message": text}, separators=(",", ":")).encode()
    allow: Sequence[tuple[bytes, bytes]] = [(b"allow", b"POST")] if status == 405 else []
    await respond(send, status, body, headers=[*_HEADERS, *allow, *headers])


class _Chain:
    """GET /api/v1/timestamp/certchain."""

    def __init__(self, service: TimestampAuthority) -> None:
        self._pem = service.chain_pem

    async def answer(self, _request: Request) -> Response:
        return Response(self._pem, media_type="application/pem-certificate-chain", headers=_CHAIN_HEADERS)


async def _ping(_request: Request) -> Response:
    return PlainTextResponse(".")
