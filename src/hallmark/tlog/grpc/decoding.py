"""Messages that do not parse, reported to their sender alone.

Where grpcio itself parses what a client sent, damaged bytes fill the server's log with a traceback for each
call, and the client gets `UNKNOWN`. So the services of other packages are served through handlers that parse.
"""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from typing import Any, Final

import grpc
from google.protobuf.message import DecodeError
from grpc import aio

DAMAGED: Final = "the bytes are not such a message"
_Parse = Callable[[bytes], Any]


class Registrar:
    """Stands for the server where generated code adds a service to it."""

    def __init__(self, server: aio.Server) -> None:
        self._server = server

    def add_generic_rpc_handlers(self, handlers: object) -> None:
        """Add nothing: the same handlers come by their names too."""

    def add_registered_method_handlers(
        self, service: str, handlers: Mapping[str, grpc.RpcMethodHandler]
    ) -> None:
        """Serve them, and parse what comes."""
        parsing = {name: _parsing(handler) for name, handler in handlers.items()}
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, parsing),))


def _parsing(handler: Any) -> grpc.RpcMethodHandler:
    parse, serialize = handler.request_deserializer, handler.response_serializer
    if handler.stream_stream:
        return grpc.stream_stream_rpc_method_handler(
            _stream(handler.stream_stream, parse), response_serializer=serialize
        )
    if handler.unary_stream:
        return grpc.unary_stream_rpc_method_handler(
            _unary(handler.unary_stream, parse), response_serializer=serialize
        )
    return grpc.unary_unary_rpc_method_handler(
        _unary(handler.unary_unary, parse), response_serializer=serialize
    )


def _unary(serve: Callable[..., Any], parse: _Parse) -> Callable[..., Any]:
    async def parsed(data: bytes, context: Any) -> Any:
        return await serve(await _parsed(parse, data, context), context)

    return parsed


def _stream(serve: Callable[..., Any], parse: _Parse) -> Callable[..., Any]:
    async def parsed(messages: AsyncIterator[bytes], context: Any) -> AsyncIterator[Any]:
        async def each() -> AsyncIterator[Any]:
            async for data in messages:
                yield await _parsed(parse, data, context)

        async for answer in serve(each(), context):
            yield answer

    return parsed


async def _parsed(parse: _Parse, data: bytes, context: Any) -> Any:
    with suppress(DecodeError):
        return parse(data)
    return await context.abort(grpc.StatusCode.INVALID_ARGUMENT, DAMAGED)
