"""The log's HTTP interface (RFC 6962 section 4, static-ct-api): add-chain, add-pre-chain, get-roots, issuers.

Tiles and the checkpoint are read elsewhere. Errors are text: the status' name, then the reason.
"""

import base64
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from http import HTTPStatus
from typing import Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from hallmark.core.encoding.protojson import parse_bytes
from hallmark.core.x509.sct import Sct
from hallmark.ctlog.config import CtLogConfig
from hallmark.ctlog.service import CtLog
from hallmark.errors import HallmarkError, MalformedInput, Overloaded
from hallmark.web.asgi import App, BodyBudget, Hold, Receive, Scope, Send, content_length, read_body, respond
from hallmark.web.gate import Gate, peer_of
from hallmark.web.problems import report_unexpected, status_of
from hallmark.web.turns import Turns

_TEXT: Final = b"text/plain; charset=utf-8"
_ISSUER_TYPE: Final = "application/pkix-cert"
MAX_SUBMISSIONS: Final = 16  # at once in a process; the authority's come another way


class _Submission(msgspec.Struct, frozen=True):
    chain: msgspec.Raw


_decode: Final = msgspec.json.Decoder(_Submission).decode
_decode_items: Final = msgspec.json.Decoder(list[str]).decode


class _SubmissionRoute:
    """One of the two submissions, as a raw ASGI callable."""

    def __init__(
        self,
        add: Callable[[list[bytes], str], Awaitable[Sct]],
        config: CtLogConfig,
        budget: BodyBudget,
        gate: Gate,
        turns: Turns,
    ) -> None:
        self._add = add
        self._max_body_bytes, self._max_chain = config.max_body_bytes, config.max_chain
        self._budget = budget
        self._gate = gate
        self._turns = turns

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] != "POST":
            await _refuse(send, 405, "only POST is allowed here", [(b"allow", b"POST")])
            return
        try:
            with self._budget.hold() as hold:
                body = await self._submit(scope, receive, hold)
        except HallmarkError as error:
            await _refuse_error(send, error)
        except Exception as error:  # noqa: BLE001 - the last line of defence: log it, tell nothing
            request_id = report_unexpected(error, "ctlog")
            await _refuse(send, 500, f"request {request_id}")
        else:
            await respond(send, 200, body)

    async def _submit(self, scope: Scope, receive: Receive, hold: Hold) -> bytes:
        flow = f"submissions {peer_of(scope)}"
        await self._turns.arrive(flow)
        submitted = await read_body(receive, self._max_body_bytes, hold=hold, announced=content_length(scope))
        with self._gate.entered(peer_of(scope)):
            chain = await self._turns.heavy(partial(_parse_chain, submitted, self._max_chain), flow)
            return _print_sct(await self._add(chain, flow))


def hot_routes(service: CtLog, turns: Turns | None = None) -> dict[str, App]:
    """Give the submissions as raw ASGI callables, by path below the log's base; `turns` are the process's."""
    turns = turns or Turns()
    budget = BodyBudget(service.config.max_body_bytes_in_flight)
    gate = Gate(MAX_SUBMISSIONS, "submissions")
    return {
        "/ct/v1/add-chain": _SubmissionRoute(service.add_chain, service.config, budget, gate, turns),
        "/ct/v1/add-pre-chain": _SubmissionRoute(service.add_pre_chain, service.config, budget, gate, turns),
    }


def routes(service: CtLog, hot: Mapping[str, App] | None = None) -> list[BaseRoute]:
    """Give every route of the log's write side, and the issuers; `hot` as for the authority."""
    hot = hot_routes(service) if hot is None else hot
    encoded = msgspec.json.encode({"certificates": [_b64(der) for der in service.roots]})

    async def get_roots(_: Request) -> Response:
        return Response(encoded, media_type="application/json")

    async def get_issuer(request: Request) -> Response:
        fingerprint = request.path_params["fingerprint"]
        certificate = service.issuer(bytes.fromhex(fingerprint)) if _is_fingerprint(fingerprint) else None
        if certificate is None:
            return Response("Not Found\nno such issuer\n", 404, media_type="text/plain")
        return Response(certificate, media_type=_ISSUER_TYPE, headers={"cache-control": _IMMUTABLE})

    return [
        *(Route(path, app) for path, app in hot.items()),
        Route("/ct/v1/get-roots", get_roots),
        Route("/issuer/{fingerprint}", get_issuer),
    ]


_IMMUTABLE: Final = "public, max-age=604800, immutable"


def _parse_chain(body: bytes, max_chain: int) -> list[bytes]:
    """Read a submission; its items are counted before they are decoded, they may be a hundred thousand."""
    try:
        items = bytes(_decode(body).chain)
        if items.count(b'"') > 2 * max_chain:
            raise MalformedInput(f"a chain has 1 to {max_chain} certificates, not more")
        chain = _decode_items(items)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedInput(f"the body is not a submission: {error}") from None
    return [parse_bytes(item, what="a certificate of the chain") for item in chain]


def _print_sct(sct: Sct) -> bytes:
    return msgspec.json.encode(
        {
            "sct_version": 0,
            "id": _b64(sct.log_id),
            "timestamp": sct.timestamp,
            "extensions": _b64(sct.extensions),
            "signature": _b64(sct.digitally_signed()),
        }
    )


def _b64(value: bytes) -> str:
    return base64.b64encode(value).decode("ascii")


def _is_fingerprint(text: str) -> bool:
    return len(text) == 64 and all(char in "0123456789abcdef" for char in text)


async def _refuse_error(send: Send, error: HallmarkError) -> None:
    status = 413 if error.code == "body_too_large" else status_of(error)[0]
    retry = [(b"retry-after", str(error.retry_after).encode())] if isinstance(error, Overloaded) else []
    await _refuse(send, status, error.message, retry)


async def _refuse(
    send: Send, status: int, reason: str, headers: list[tuple[bytes, bytes]] | None = None
) -> None:
    body = f"{HTTPStatus(status).phrase}\n{reason}\n".encode()
    await respond(send, status, body, content_type=_TEXT, headers=headers or [])
