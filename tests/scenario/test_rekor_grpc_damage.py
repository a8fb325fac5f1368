"""What is no message, to every method that the gRPC port serves: told to its sender, and to nobody else."""

import asyncio
import logging

import pytest

pytest.importorskip("grpc_reflection", reason="the grpc extra is not installed")

import grpc
from grpc import aio
from tests.scenario.test_rekor_grpc import serve
from tests.support.rekor import RekorLog

from hallmark.tlog.grpc.server import SERVICE

DAMAGED = b"\xff\xff\xff"
UNARY = [f"/{SERVICE}/{name}" for name in ("CreateEntry", "GetTile", "GetEntryBundle", "GetCheckpoint")]
UNARY += ["/grpc.health.v1.Health/Check", "/grpc.health.v1.Health/List"]


def code_of(make_call, caplog) -> grpc.StatusCode:
    async def talk(client):
        with pytest.raises(aio.AioRpcError) as error:
            await make_call(client.channel)
        return error.value.code()

    with caplog.at_level(logging.DEBUG):
        code = serve(RekorLog(), talk)
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []
    return code


@pytest.mark.parametrize("path", UNARY)
def test_bytes_that_are_no_message_are_the_senders_fault(path, caplog):
    code = code_of(lambda channel: channel.unary_unary(path)(DAMAGED), caplog)
    assert code == grpc.StatusCode.INVALID_ARGUMENT


def test_bytes_that_are_no_message_end_a_watch(caplog):
    def watch(channel):
        return channel.unary_stream("/grpc.health.v1.Health/Watch")(DAMAGED).read()

    assert code_of(watch, caplog) == grpc.StatusCode.INVALID_ARGUMENT


def test_bytes_that_are_no_message_end_a_reflection(caplog):
    async def reflect(channel):
        call = channel.stream_stream("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo")()
        await call.write(DAMAGED)
        await call.read()

    assert code_of(reflect, caplog) == grpc.StatusCode.INVALID_ARGUMENT


def test_calls_that_send_nothing_keep_nobody_out():
    """As many as there are places, on a connection of their own."""

    async def talk(client):
        own = (("grpc.use_local_subchannel_pool", 1),)
        async with aio.insecure_channel(client.address, options=own) as other:
            silent = [other.stream_unary(f"/{SERVICE}/CreateEntry")() for _ in range(32)]
            await asyncio.gather(*(call.wait_for_connection() for call in silent))
            with pytest.raises(aio.AioRpcError) as error:
                await client.channel.unary_unary(UNARY[0])(DAMAGED, timeout=15)
            for call in silent:
                call.cancel()
        return error.value.code()

    assert serve(RekorLog(), talk) == grpc.StatusCode.INVALID_ARGUMENT
