"""Rekor v2 over HTTP (`dev.sigstore.rekor.v2.Rekor` through grpc-gateway)."""

import asyncio
import base64
import json
from collections.abc import Awaitable, Callable
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from hallmark.errors import Frozen, HallmarkError, MalformedInput, NotFound, Overloaded, VerificationError
from hallmark.ports import Appended
from hallmark.tlog.requests import parse_create_entry
from hallmark.tlog.service import TlogService
from hallmark.web.asgi import App, Receive, Scope, Send, read_body, respond
from hallmark.web.log_reads import read_routes
from hallmark.web.problems import INTERNAL_ERROR, error_info, grpc_problem, report_unexpected, status_of

ENTRIES: Final = "/api/v2/log/entries"
_FROZEN_TEXT: Final = b"This log has been frozen, please switch to the latest log.\n"
_OWN_WORDS: Final = frozenset({"malformed_json", "malformed_base64", "body_too_large"})


def routes(service: TlogService) -> list[BaseRoute]:
    """Every route of the log, relative to its base."""
    return [
        Route(ENTRIES, hot_routes(service)[ENTRIES], methods=["POST"]),
        Route(f"{ENTRIES}/{{index:int}}", _entry_route(service), methods=["GET"]),
        *read_routes(service.reads, folder="entries"),
        *read_routes(service.reads, folder="entries", prefix="/api/v2"),
    ]


def hot_routes(service: TlogService) -> dict[str, App]:
    """The POST routes that bypass routing."""
    return {ENTRIES: _CreateEntry(service)}


class _CreateEntry:
    """POST /api/v2/log/entries."""

    def __init__(self, service: TlogService) -> None:
        self._service = service
        self._prefix, self._suffix = _entry_template(service.log_id)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            appended = await self._append(receive)
        except HallmarkError as error:
            await _refuse(send, error)
        except Exception as error:  # noqa: BLE001  the caller gets a plain 500; the log gets the reason
            request_id = report_unexpected(error, "the log")
            problem = grpc_problem(INTERNAL_ERROR[1], f"internal server error (request {request_id})")
            await respond(send, INTERNAL_ERROR[0], problem)
        else:
            if appended.duplicate:
                await _answer_duplicate(send, scope["path"], appended.index)
            else:
                await respond(send, 201, entry_json(self._prefix, self._suffix, appended))

    async def _append(self, receive: Receive) -> Appended:
        config = self._service.config
        request = parse_create_entry(await read_body(receive, config.max_body_bytes))
        try:
            async with asyncio.timeout(config.append_timeout):
                return await self._service.add_hashedrekord(request)
        except TimeoutError:
            raise Overloaded("the log did not commit the entry in time", code="commit_timeout") from None


def _entry_template(log_id: bytes) -> tuple[bytes, bytes]:
    key_id = base64.b64encode(log_id).decode("ascii")
    prefix = f'","logId":{{"keyId":"{key_id}"}},"kindVersion":{{"kind":"hashedrekord","version":"0.0.2"}},'
    return (
        prefix.encode() + b'"integratedTime":"0","inclusionPromise":null,"inclusionProof":{"logIndex":"',
        b'"}',
    )


def entry_json(prefix: bytes, suffix: bytes, entry: Appended) -> bytes:
    """Print a TransparencyLogEntry, zero values included, as the gateway does."""
    index = str(entry.index).encode()
    hashes = b",".join(b'"' + base64.b64encode(item) + b'"' for item in entry.proof)
    return b"".join(
        (
            b'{"logIndex":"',
            index,
            prefix,
            index,
            b'","rootHash":"',
            base64.b64encode(entry.root),
            b'","treeSize":"',
            str(entry.tree_size).encode(),
            b'","hashes":[',
            hashes,
            b'],"checkpoint":{"envelope":',
            json.dumps(entry.checkpoint.decode(), ensure_ascii=False).encode(),
            b'}},"canonicalizedBody":"',
            base64.b64encode(entry.leaf),
            suffix,
        )
    )


async def _answer_duplicate(send: Send, path: str, index: int) -> None:
    message = f"an equivalent entry already exists in the transparency log with index {index}"
    headers = [(b"x-log-index", str(index).encode()), (b"location", f"{path}/{index}".encode())]
    await respond(send, 409, grpc_problem(6, message), headers=headers)


async def _refuse(send: Send, error: HallmarkError) -> None:
    if isinstance(error, Frozen):
        await respond(send, 405, _FROZEN_TEXT, content_type=b"text/plain; charset=utf-8")
        return
    status, grpc_code = status_of(error)
    retry = [(b"retry-after", str(error.retry_after).encode())] if isinstance(error, Overloaded) else []
    await respond(send, status, grpc_problem(grpc_code, _message(error), [error_info(error)]), headers=retry)


def _message(error: HallmarkError) -> str:
    """The text that the protocol fixes; which check failed stands in the details."""
    if isinstance(error, MalformedInput | VerificationError) and error.code not in _OWN_WORDS:
        if error.code == "unsupported_entry":
            return "invalid type, must be hashedrekord"
        return "invalid hashedrekord request"
    return error.message


def _entry_route(service: TlogService) -> Callable[[Request], Awaitable[Response]]:
    prefix, suffix = _entry_template(service.log_id)

    async def entry(request: Request) -> Response:
        try:
            found = service.reads.entry(request.path_params["index"])
        except NotFound as error:
            return Response(grpc_problem(5, error.message), 404, media_type="application/json")
        body = entry_json(prefix, suffix, found)
        return Response(body, media_type="application/json", headers={"Cache-Control": "no-cache"})

    return entry
