"""A witness over HTTP (C2SP tlog-witness): submission, and the newest cosigned checkpoint to read."""

from collections.abc import Mapping
from typing import Final

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from hallmark.errors import (
    HallmarkError,
    InvalidProof,
    MalformedInput,
    NotFound,
    Overloaded,
    PolicyViolation,
)
from hallmark.web.asgi import App, BodyBudget, Receive, Scope, Send, content_length, read_body, respond
from hallmark.web.gate import Gate, peer_of
from hallmark.web.problems import INTERNAL_ERROR, report_unexpected, status_of
from hallmark.web.turns import Turns
from hallmark.witness.requests import SIZE_TYPE, print_size
from hallmark.witness.service import SizeConflict, Witness

ADD_CHECKPOINT: Final = "/add-checkpoint"
MAX_CALLS: Final = 256  # at once: few logs have one witness, and a checkpoint takes some milliseconds
MAX_BODY_BYTES_IN_FLIGHT: Final = 16 * 1024 * 1024
_TEXT: Final = b"text/plain; charset=utf-8"
_NEVER: Final = {"Cache-Control": "no-cache", "Access-Control-Allow-Origin": "*"}


def routes(witness: Witness, hot: Mapping[str, App] | None = None) -> list[BaseRoute]:
    """Every route of the witness, relative to its submission and monitoring prefix."""

    async def checkpoint(request: Request) -> Response:
        try:
            note = witness.checkpoint(request.path_params["origin_hash"])
        except NotFound as error:
            return PlainTextResponse(f"{error.message}\n", 404, headers=_NEVER)
        return PlainTextResponse(note, headers=_NEVER)

    return [
        Route(
            ADD_CHECKPOINT, (hot_routes(witness) if hot is None else hot)[ADD_CHECKPOINT], methods=["POST"]
        ),
        Route("/{origin_hash}/checkpoint", checkpoint, methods=["GET"]),
    ]


def hot_routes(witness: Witness, turns: Turns | None = None) -> dict[str, App]:
    """The POST route that bypasses routing, and goes before what does not; `turns` are the process's."""
    return {ADD_CHECKPOINT: _AddCheckpoint(witness, turns or Turns())}


class _AddCheckpoint:
    """POST add-checkpoint. It runs inline: one sync of the disk is all that it waits for."""

    def __init__(self, witness: Witness, turns: Turns) -> None:
        self._witness = witness
        self._turns = turns
        self._budget = BodyBudget(MAX_BODY_BYTES_IN_FLIGHT)
        self._gate = Gate(MAX_CALLS, "checkpoints")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            lines = await self._cosign(scope, receive)
        except SizeConflict as conflict:
            await respond(send, 409, print_size(conflict.size), content_type=SIZE_TYPE.encode())
        except HallmarkError as error:
            retry = (
                [(b"retry-after", str(error.retry_after).encode())] if isinstance(error, Overloaded) else []
            )
            text = f"{error.message}\n".encode()
            await respond(send, _status(error), text, content_type=_TEXT, headers=retry)
        except Exception as error:  # noqa: BLE001  the caller gets a plain 500; the log gets the reason
            request_id = report_unexpected(error, "the witness")
            text = f"internal error (request {request_id})\n".encode()
            await respond(send, INTERNAL_ERROR[0], text, content_type=_TEXT)
        else:
            await respond(send, 200, lines, content_type=_TEXT)

    async def _cosign(self, scope: Scope, receive: Receive) -> bytes:
        with self._budget.hold() as hold:
            body = await read_body(
                receive,
                self._witness.config.max_body_bytes,
                hold=hold,
                announced=content_length(scope),
            )
            with self._gate.entered(peer_of(scope)):
                return await self._turns.light(lambda: self._witness.add_checkpoint(body))


def _status(error: HallmarkError) -> int:
    """The protocol's own statuses; the rest as everywhere."""
    if isinstance(error, InvalidProof):
        return 422
    if isinstance(error, PolicyViolation):
        return 403
    if isinstance(error, MalformedInput):
        return 413 if error.code == "body_too_large" else 400
    return status_of(error)[0]
