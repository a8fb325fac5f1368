"""The gRPC server of a Rekor v2 log: `dev.sigstore.rekor.v2.Rekor`, health, reflection, on its own port.

The handlers are registered by hand: four methods need no generated stubs, which would tie the project to the
one version of grpcio that made them.
"""

from collections.abc import Awaitable, Callable
from typing import Any, Final, NoReturn, Protocol

import grpc
from google.api.httpbody_pb2 import HttpBody
from google.protobuf.empty_pb2 import Empty
from grpc import aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from hallmark.core.tiles import parse_tile_path
from hallmark.errors import HallmarkError
from hallmark.tlog.answers import Refusal, Refused, duplicate_message, refusal
from hallmark.tlog.creation import EntryCreator
from hallmark.tlog.grpc.messages import entry_message, entry_request, status_message
from hallmark.tlog.grpc.rekor_v2_pb2 import (
    DESCRIPTOR,
    CreateEntryRequest,
    EntryBundleRequest,
    TileRequest,
)
from hallmark.tlog.metrics import TlogMetrics
from hallmark.tlog.requests import EntryRequest
from hallmark.tlog.service import TlogService
from hallmark.web.asgi import BodyBudget
from hallmark.web.problems import INTERNAL_ERROR, report_unexpected

SERVICE: Final = DESCRIPTOR.services_by_name["Rekor"].full_name
_MAX_CALLS: Final = 8192
_DRAIN_SECONDS: Final = 10.0
_ENVELOPE_BYTES: Final = 64  # what a message may have around a body of the largest size
_OCTETS: Final = "application/octet-stream"
_CODES: Final = {code.value[0]: code for code in grpc.StatusCode}


class Context(Protocol):
    """What a call knows of its transport, as far as the handlers need it."""

    async def send_initial_metadata(self, metadata: tuple[tuple[str, str], ...]) -> None:
        """Send headers."""
        ...

    async def abort(
        self, code: grpc.StatusCode, details: str, metadata: tuple[tuple[str, bytes], ...]
    ) -> NoReturn:
        """End the call with a status."""
        ...


Handler = Callable[[Any, Context], Awaitable[Any]]


class GrpcServer:
    """Serves one log at `address`, `HOST:PORT`; other processes may serve the same port."""

    def __init__(self, service: TlogService, metrics: TlogMetrics, address: str) -> None:
        self._health = health.aio.HealthServicer()
        largest = service.config.max_body_bytes + _ENVELOPE_BYTES
        self._server = aio.server(
            maximum_concurrent_rpcs=_MAX_CALLS,
            options=(("grpc.so_reuseport", 1), ("grpc.max_receive_message_length", largest)),
        )
        self._server.add_generic_rpc_handlers((_handlers(_Rekor(service, metrics), metrics),))
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        reflection.enable_server_reflection(
            (SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME), self._server
        )
        self.port: int = self._server.add_insecure_port(address)

    async def start(self) -> None:
        """Begin to serve."""
        for name in ("", SERVICE):
            await self._health.set(name, health_pb2.HealthCheckResponse.SERVING)
        await self._server.start()

    async def stop(self) -> None:
        """Take no more calls and finish those that there are, for a bounded time."""
        await self._health.enter_graceful_shutdown()
        await self._server.stop(_DRAIN_SECONDS)


class _Rekor:
    """The four methods; every failure is raised as `Refused`."""

    def __init__(self, service: TlogService, metrics: TlogMetrics) -> None:
        self._service = service
        self._creator = EntryCreator(service, metrics)
        self._budget = BodyBudget(service.config.max_body_bytes_in_flight)

    async def create_entry(self, message: CreateEntryRequest, context: Context) -> Any:
        size = message.ByteSize()
        taken = 0

        async def read() -> EntryRequest:
            nonlocal taken
            self._budget.take(size)  # grpc keeps the message until it is answered
            taken = size
            return entry_request(message)

        try:
            appended = await self._creator.create(read)
        finally:
            self._budget.give_back(taken)
        if not appended.duplicate:
            return entry_message(self._service.log_id, appended)
        await context.send_initial_metadata((("x-log-index", str(appended.index)),))
        raise Refused(Refusal(status=409, grpc_code=6, message=duplicate_message(appended.index)))

    async def get_tile(self, message: TileRequest, _context: Context) -> HttpBody:
        return self._read(f"{message.L}/{message.N}")

    async def get_entry_bundle(self, message: EntryBundleRequest, _context: Context) -> HttpBody:
        return self._read(f"entries/{message.N}")

    async def get_checkpoint(self, _message: Empty, _context: Context) -> HttpBody:
        note = self._read_or_refuse(self._service.reads.checkpoint)
        return HttpBody(content_type="text/plain; charset=utf-8", data=note)

    def _read(self, path: str) -> HttpBody:
        reads = self._service.reads
        data = self._read_or_refuse(lambda: reads.tile(parse_tile_path(path)))
        return HttpBody(content_type=_OCTETS, data=data)

    def _read_or_refuse(self, read: Callable[[], bytes]) -> bytes:
        try:
            return read()
        except HallmarkError as error:
            answer = refusal(error, "tile", accept_dsse=True)
            raise Refused(answer) from None


def _handlers(rekor: _Rekor, metrics: TlogMetrics) -> grpc.GenericRpcHandler:
    rows: tuple[tuple[str, Any, Handler], ...] = (
        ("CreateEntry", CreateEntryRequest, rekor.create_entry),
        ("GetTile", TileRequest, rekor.get_tile),
        ("GetEntryBundle", EntryBundleRequest, rekor.get_entry_bundle),
        ("GetCheckpoint", Empty, rekor.get_checkpoint),
    )
    methods = {
        name: grpc.unary_unary_rpc_method_handler(
            _guarded(name, handler, metrics),
            request_deserializer=message.FromString,
            response_serializer=_serialize,
        )
        for name, message, handler in rows
    }
    return grpc.method_handlers_generic_handler(SERVICE, methods)


def _serialize(message: Any) -> bytes:
    return bytes(message.SerializeToString())


def _guarded(name: str, handler: Handler, metrics: TlogMetrics) -> Handler:
    """Turn what a handler raises into the status of the call, and count it."""

    async def guarded(message: Any, context: Context) -> Any:
        metrics.grpc_started(name, message.ByteSize())
        try:
            answer = await handler(message, context)
        except Refused as refused:
            metrics.grpc_handled(name, refused.answer.grpc_code)
            await _abort(context, refused.answer)
        except Exception as error:  # noqa: BLE001  the caller gets a plain error; the log gets the reason
            report_unexpected(error, f"gRPC {name}")
            status, grpc_code = INTERNAL_ERROR
            metrics.grpc_handled(name, grpc_code)
            await _abort(
                context, Refusal(status=status, grpc_code=grpc_code, message="internal server error")
            )
        metrics.grpc_handled(name, 0)
        return answer

    return guarded


async def _abort(context: Context, answer: Refusal) -> NoReturn:
    details = (("grpc-status-details-bin", status_message(answer)),)
    await context.abort(_CODES[answer.grpc_code], answer.message, details)
