"""The gRPC server of a Rekor v2 log: `dev.sigstore.rekor.v2.Rekor`, health, reflection, on its own port.

CreateEntry is served as a call with a stream of requests, which on the wire is the same: only so the handler
runs before the message is there, and can bound how many large ones a process receives at one time.

The handlers are registered by hand: four methods need no generated stubs, which would tie the project to the
one version of grpcio that made them.
"""

from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Final, NoReturn, Protocol, cast
from urllib.parse import unquote

import grpc
from google.api.httpbody_pb2 import HttpBody
from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import DecodeError
from grpc import aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2_grpc

from hallmark.core.merkle import HASH_SIZE
from hallmark.core.tiles import MAX_ENTRY_BYTES, TileId, parse_tile_path
from hallmark.errors import ConfigurationError, HallmarkError, MalformedInput, NotFound, Overloaded
from hallmark.tlog.answers import Refusal, Refused, duplicate_message, refusal
from hallmark.tlog.creation import EntryCreator
from hallmark.tlog.grpc.decoding import Registrar
from hallmark.tlog.grpc.messages import entry_message, entry_request, status_message
from hallmark.tlog.grpc.receiving import Places
from hallmark.tlog.grpc.rekor_v2_pb2 import (
    DESCRIPTOR,
    EntryBundleRequest,
    TileRequest,
)
from hallmark.tlog.metrics import TlogMetrics
from hallmark.tlog.service import Submission, TlogService
from hallmark.web.asgi import BodyBudget
from hallmark.web.gate import distinct_address
from hallmark.web.log_reads import READS
from hallmark.web.problems import INTERNAL_ERROR, report_unexpected

SERVICE: Final = DESCRIPTOR.services_by_name["Rekor"].full_name
MAX_CALLS: Final = 4096
MAX_STREAMS: Final = 128  # of one connection; a client waits with the others
MAX_HELD_BYTES: Final = 64 * 1024 * 1024  # of answers that are not taken yet: four of the largest bundle
MAX_SHARE_BYTES: Final = 40 * 1024 * 1024  # of one connection: two of the largest bundle, and others
_ANSWER_BYTES: Final = 8 * 1024  # an entry's proof and checkpoint, with witnesses
_MAX_ENTRY_BYTES: Final = 128 * 1024  # of an answer: the entry is the most of it
# A stream that its client does not read ends with its connection alone, so no connection stays for long. The
# client is told to make another one, and calls that it has begun go on for the grace.
AGE_SECONDS: Final = 120
GRACE_SECONDS: Final = 30  # more than a caller waits for a commit
_SILENT_SECONDS: Final = 20  # of a connection that takes nothing, before the kernel ends it
_WINDOW: Final = 64 * 1024  # of a stream: what a client may send before its message is asked for
_COPIES: Final = 2  # of a message that is handed over: grpcio has its own beside ours
_DRAIN_SECONDS: Final = 10.0
_ENVELOPE_BYTES: Final = 64  # what a message may have around a body of the largest size
_OCTETS: Final = "application/octet-stream"
_CODES: Final = {code.value[0]: code for code in grpc.StatusCode}


class Context(Protocol):
    """What a call knows of its transport, as far as the handlers need it."""

    async def send_initial_metadata(self, metadata: tuple[tuple[str, str], ...]) -> None:
        """Send headers."""
        ...

    def peer(self) -> str:
        """Name the connection: the kind of its address, the address, the port."""
        ...

    def add_done_callback(self, callback: Callable[[Any], None]) -> None:
        """Call back when the call has ended and nothing of it is held any more."""
        ...

    async def abort(
        self, code: grpc.StatusCode, details: str, metadata: tuple[tuple[str, bytes], ...]
    ) -> NoReturn:
        """End the call with a status."""
        ...


Handler = Callable[[Any, Context], Awaitable[Any]]


class GrpcServer:
    """Serves one log at `address`, `HOST:PORT`; other processes may serve the same port.

    `tls` is a private key and a certificate chain, both PEM; without it, calls are plain. Raises
    `ConfigurationError` (`port_in_use`) where nobody can listen there.
    """

    def __init__(
        self,
        service: TlogService,
        metrics: TlogMetrics,
        address: str,
        *,
        tls: tuple[bytes, bytes] | None = None,
    ) -> None:
        self._health = health.aio.HealthServicer()
        largest = service.config.max_body_bytes + _ENVELOPE_BYTES
        self._server = aio.server(
            maximum_concurrent_rpcs=MAX_CALLS,
            options=(
                ("grpc.so_reuseport", 1),
                ("grpc.max_receive_message_length", largest),
                ("grpc.http2.bdp_probe", 0),  # it would widen the window of every stream
                ("grpc.http2.lookahead_bytes", _WINDOW),
                ("grpc.max_concurrent_streams", MAX_STREAMS),
                ("grpc.max_connection_age_ms", 1000 * AGE_SECONDS),
                ("grpc.max_connection_age_grace_ms", 1000 * GRACE_SECONDS),
                ("grpc.keepalive_time_ms", 1000 * _SILENT_SECONDS),
                ("grpc.keepalive_timeout_ms", 1000 * _SILENT_SECONDS),
            ),
        )
        self._server.add_generic_rpc_handlers((_handlers(_Rekor(service, metrics), metrics),))
        names = (SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME)
        registrar = Registrar(self._server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, registrar)
        reflection_pb2_grpc.add_ServerReflectionServicer_to_server(
            reflection.aio.ReflectionServicer(names), registrar
        )
        self.port = self._listen(address, tls)

    def _listen(self, address: str, tls: tuple[bytes, bytes] | None) -> int:
        try:
            if tls is None:
                return int(self._server.add_insecure_port(address))
            return int(self._server.add_secure_port(address, grpc.ssl_server_credentials([tls])))
        except RuntimeError as error:
            raise ConfigurationError(
                f"cannot listen on {address} for gRPC: {error}",
                code="port_in_use",
                hint="stop what listens there, or choose another port",
            ) from None

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
        self._metrics = metrics
        self._creator = EntryCreator(service, metrics)
        config = service.config
        self._bodies = service.bounds.bodies
        self._standing = service.bounds.standing
        at_once = max(config.max_body_bytes_in_flight // (_COPIES * config.max_body_bytes), 1)
        self._receiving = Places(at_once)
        self._held = _HeldAnswers()

    async def create_entry(self, messages: AsyncIterator[bytes], context: Context) -> Any:
        async def read() -> Submission:
            data = await self._receive(messages, connection)
            self._metrics.grpc_received("CreateEntry", len(data))
            hold.take(len(data))
            self._held.hold(context, min(len(data), _MAX_ENTRY_BYTES) + _ANSWER_BYTES)
            flow = self._standing.flow(connection)
            peer = _address(connection)
            waits = None if flow is None else f"{flow} {peer}"
            return Submission(len(data), partial(entry_request, data), peer, waits)

        connection = context.peer()
        with self._bodies.hold() as hold:
            appended = await self._creator.create(read, hold, connection)
        if not appended.duplicate:
            return entry_message(self._service.log_id, appended)
        await context.send_initial_metadata((("x-log-index", str(appended.index)),))
        raise Refused(Refusal(status=409, grpc_code=6, message=duplicate_message(appended.index)))

    async def _receive(self, messages: AsyncIterator[bytes], connection: str) -> bytes:
        """Receive the call's one message, once there is room for one of the largest size."""
        config = self._service.config
        # grpcio keeps the generator, and that the message, for ever, unless it is closed
        reading = cast("AsyncGenerator[bytes, None]", aiter(messages))
        read = partial(anext, reading)
        try:
            return await self._receiving.receive(
                connection, read, seconds=config.body_timeout, patience=config.append_timeout
            )
        except StopAsyncIteration:
            raise MalformedInput("the call has no message", code="malformed_json") from None
        finally:
            await reading.aclose()

    async def get_tile(self, message: TileRequest, context: Context) -> HttpBody:
        return await self._read(f"{message.L}/{message.N}", context)

    async def get_entry_bundle(self, message: EntryBundleRequest, context: Context) -> HttpBody:
        return await self._read(f"entries/{message.N}", context)

    async def get_checkpoint(self, _message: Empty, context: Context) -> HttpBody:
        service = self._service
        with _refusing():
            self._held.hold(context, _ANSWER_BYTES)
            note = await service.turns.heavy(service.reads.checkpoint, READS)
        return HttpBody(content_type="text/plain; charset=utf-8", data=note)

    async def _read(self, path: str, context: Context) -> HttpBody:
        reads, turns = self._service.reads, self._service.turns
        with _refusing():
            tile = parse_tile_path(path)
            self._held.hold(context, await turns.heavy(partial(self._size, tile), READS))
            data = await turns.heavy(partial(reads.tile, tile), READS)
        return HttpBody(content_type=_OCTETS, data=data)

    def _size(self, tile: TileId) -> int:
        """Tell how large a tile is, or may be; raises `NotFound`."""
        reads = self._service.reads
        if not reads.has_tile(tile):
            raise NotFound("the log has no such tile yet")
        if tile.level is not None:
            return HASH_SIZE * tile.width
        stored = reads.stored(tile)
        return (MAX_ENTRY_BYTES + 2) * tile.width if stored is None else stored.size


class _HeldAnswers:
    """The answers that a process holds until their readers have taken them."""

    def __init__(self) -> None:
        self._budget = BodyBudget(MAX_HELD_BYTES)
        self._shares: Counter[str] = Counter()

    def hold(self, context: Context, size: int) -> None:
        """Hold room until the call has ended; raises `Overloaded` (`too_many_answers`)."""
        peer = context.peer()
        if not self._budget.has(size) or self._shares[peer] + size > MAX_SHARE_BYTES:
            raise Overloaded("too many answers are under way", code="too_many_answers")
        self._budget.take(size)
        self._shares[peer] += size

        def let_go(_context: Any) -> None:
            self._budget.give_back(size)
            self._shares[peer] -= size
            if not self._shares[peer]:
                del self._shares[peer]

        context.add_done_callback(let_go)


@contextmanager
def _refusing() -> Iterator[None]:
    """Turn the failure of a read into its answer."""
    try:
        yield
    except HallmarkError as error:
        raise Refused(refusal(error, "tile", accept_dsse=True)) from None


def _address(peer: str) -> str:
    """Read the address of a connection's name, `ipv4:HOST:PORT` or `ipv6:[HOST]:PORT`; see `web.gate`."""
    host = peer.partition(":")[2].rpartition(":")[0]
    return distinct_address(unquote(host).strip("[]"))


def _handlers(rekor: _Rekor, metrics: TlogMetrics) -> grpc.GenericRpcHandler:
    rows: tuple[tuple[str, Any, Handler], ...] = (
        ("GetTile", TileRequest, rekor.get_tile),
        ("GetEntryBundle", EntryBundleRequest, rekor.get_entry_bundle),
        ("GetCheckpoint", Empty, rekor.get_checkpoint),
    )
    create = _guarded("CreateEntry", rekor.create_entry, metrics)
    methods = {"CreateEntry": grpc.stream_unary_rpc_method_handler(create, None, _serialize)} | {
        name: grpc.unary_unary_rpc_method_handler(
            _guarded(name, _parsing(name, message, handler, metrics), metrics),
            response_serializer=_serialize,
        )
        for name, message, handler in rows
    }
    return grpc.method_handlers_generic_handler(SERVICE, methods)


def _serialize(message: Any) -> bytes:
    return bytes(message.SerializeToString())


def _parsing(name: str, kind: Any, handler: Handler, metrics: TlogMetrics) -> Handler:
    """Parse the message that a call begins with, and note its size."""

    async def parsing(data: bytes, context: Context) -> Any:
        metrics.grpc_received(name, len(data))
        try:
            message = kind.FromString(data)
        except DecodeError:
            message = f"the bytes are not a {kind.DESCRIPTOR.name}"
            raise Refused(Refusal(status=400, grpc_code=3, message=message)) from None
        return await handler(message, context)

    return parsing


def _guarded(name: str, handler: Handler, metrics: TlogMetrics) -> Handler:
    """Turn what a handler raises into the status of the call, and count it."""

    async def guarded(message: Any, context: Context) -> Any:
        metrics.grpc_started(name)
        try:
            answer = await handler(message, context)
        except Refused as refused:
            refusal = refused.answer
        except Exception as error:  # noqa: BLE001  the caller gets a plain error; the log gets the reason
            report_unexpected(error, f"gRPC {name}")
            status, grpc_code = INTERNAL_ERROR
            refusal = Refusal(status=status, grpc_code=grpc_code, message="internal server error")
        else:
            metrics.grpc_handled(name, 0)
            return answer
        # out here, because what `abort` raises would hold the failure, and with it all that was received
        metrics.grpc_handled(name, refusal.grpc_code)
        return await _abort(context, refusal)

    return guarded


async def _abort(context: Context, answer: Refusal) -> NoReturn:
    details = (("grpc-status-details-bin", status_message(answer)),)
    await context.abort(_CODES[answer.grpc_code], answer.message, details)
