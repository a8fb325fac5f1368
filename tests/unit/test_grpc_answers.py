"""What the gRPC side of a log holds for its readers, by the byte, and what it says of each failure."""

import asyncio
import socket
from contextlib import ExitStack

import pytest
from tests.support.rekor import RekorLog, dsse, hashedrekord

pytest.importorskip("grpc_reflection", reason="the grpc extra is not installed")

import grpc
from google.protobuf import json_format
from google.protobuf.empty_pb2 import Empty

from hallmark.core.merkle import HASH_SIZE
from hallmark.core.tiles import MAX_ENTRY_BYTES
from hallmark.errors import ConfigurationError, Overloaded
from hallmark.tlog.answers import Refused
from hallmark.tlog.config import TlogConfig
from hallmark.tlog.grpc import server as grpc_server
from hallmark.tlog.grpc.rekor_v2_pb2 import CreateEntryRequest, EntryBundleRequest, TileRequest
from hallmark.tlog.grpc.server import MAX_HELD_BYTES, MAX_SHARE_BYTES, GrpcServer
from hallmark.tlog.service import MAX_HEAVY_CALLS

ANSWER_BYTES = 8 * 1024
LARGEST_ENTRY = 128 * 1024
PEER = "ipv4:192.0.2.7:50000"


class Call:
    """A call as its transport shows it."""

    def __init__(self, peer: str = PEER) -> None:
        self._peer = peer
        self._ended = []

    def peer(self) -> str:
        return self._peer

    def add_done_callback(self, callback) -> None:
        self._ended.append(callback)

    def end(self) -> None:
        for callback in self._ended:
            callback(self)


def refused(held, size: int, peer: str = PEER) -> bool:
    try:
        held.hold(Call(peer), size)
    except Overloaded as error:
        return error.code == "too_many_answers"
    return False


def test_one_connection_holds_its_share_to_the_byte():
    held = grpc_server._HeldAnswers()
    first, second = Call(), Call()
    held.hold(first, MAX_SHARE_BYTES - 10)
    held.hold(second, 10)
    assert refused(held, 1)
    assert not refused(held, 1, "ipv4:192.0.2.7:50001")
    first.end()
    assert refused(held, MAX_SHARE_BYTES - 9)
    held.hold(first, MAX_SHARE_BYTES - 10)


def test_all_connections_hold_what_the_process_may_to_the_byte():
    held = grpc_server._HeldAnswers()
    first = Call("first")
    held.hold(first, MAX_SHARE_BYTES)
    held.hold(Call("second"), MAX_HELD_BYTES - MAX_SHARE_BYTES)
    assert refused(held, 1, "third")
    first.end()
    assert not refused(held, MAX_SHARE_BYTES, "third")
    assert refused(held, 1, "fourth")


def test_nothing_is_remembered_of_a_connection_that_holds_nothing():
    held = grpc_server._HeldAnswers()
    for number in range(3):
        call = Call(f"peer {number}")
        held.hold(call, 5)
        call.end()
    assert not held._shares


async def one(data: bytes):
    yield data


def run(log, call, *, room: int | None = None):
    """Run one method where its connection has this much room left for answers."""
    rekor = grpc_server._Rekor(log.service, log.metrics)
    if room is not None:
        rekor._held.hold(Call(), MAX_SHARE_BYTES - room)
    with log:
        return asyncio.run(call(rekor))


def status_of(log, call, room: int) -> int:
    try:
        run(log, call, room=room)
    except Refused as refused:
        return refused.answer.status
    return 200


def message_of(request: dict, padding: int = 0) -> bytes:
    unknown = b""
    while len(unknown) < padding:
        unknown += b"\x7a\xff\x7f" + bytes(16383)
    return json_format.ParseDict(request, CreateEntryRequest()).SerializeToString() + unknown


@pytest.mark.parametrize("padding", [0, 200_000])
def test_room_for_an_answer_is_held_before_it_is_made(padding):
    def create(number: int):
        data = message_of(hashedrekord(message=b"%d" % number), padding)
        return min(len(data), LARGEST_ENTRY) + ANSWER_BYTES, (
            lambda rekor: rekor.create_entry(one(data), Call())
        )

    for number in range(2):
        room, call = create(number)
        assert status_of(RekorLog(), call, room - number) == (200 if number == 0 else 503)


def published() -> RekorLog:
    log = RekorLog()
    log.log.append(*(b"leaf %d" % number for number in range(3)))
    return log


READS = {
    "checkpoint": (ANSWER_BYTES, lambda rekor: rekor.get_checkpoint(Empty(), Call())),
    "tile": (3 * HASH_SIZE, lambda rekor: rekor.get_tile(TileRequest(L=0, N="000.p/3"), Call())),
    "bundle": (  # not published yet: as large as it may be
        3 * (MAX_ENTRY_BYTES + 2),
        lambda rekor: rekor.get_entry_bundle(EntryBundleRequest(N="000.p/3"), Call()),
    ),
}


@pytest.mark.parametrize("name", READS)
def test_room_for_what_is_read_is_held_to_the_byte(name):
    size, call = READS[name]
    assert status_of(published(), call, size) == 200
    assert status_of(published(), call, size - 1) == 503


def test_what_is_not_there_needs_no_room():
    log = published()
    assert status_of(log, lambda rekor: rekor.get_tile(TileRequest(L=0, N="001"), Call()), 0) == 404


@pytest.mark.parametrize(
    ("peer", "address", "status"),
    [
        (PEER, "192.0.2.7", 503),
        (PEER, "192.0.2.8", 200),
        ("ipv6:%5B2001:db8::1%5D:50000", "2001:db8::1", 503),
        ("ipv4:127.0.0.1:50000", "", 200),  # that of a proxy
        ("unix:", "", 200),
    ],
)
def test_one_address_has_half_of_the_places_for_large_entries(peer, address, status):
    log = published()
    with ExitStack() as full:
        for _ in range(MAX_HEAVY_CALLS // 2):
            full.enter_context(log.service.heavy.entered(address))
        data = message_of(dsse())
        create = status_of(log, lambda rekor: rekor.create_entry(one(data), Call(peer)), MAX_SHARE_BYTES)
    assert create == status


@pytest.mark.parametrize(("mebibytes", "places"), [(4, 1), (16, 2), (24, 3)])
def test_so_many_messages_are_received_at_a_time_as_fit_twice(mebibytes, places):
    begun, full = [], asyncio.Event()

    async def never():
        begun.append(None)
        if len(begun) == places:
            full.set()
        await asyncio.Event().wait()
        yield b""

    async def both(rekor):
        first = [asyncio.create_task(rekor.create_entry(never(), Call())) for _ in range(places)]
        await full.wait()
        with pytest.raises(Refused) as refused:
            await rekor.create_entry(one(message_of(hashedrekord())), Call())
        assert not any(task.done() for task in first)
        for task in first:
            task.cancel()
        return refused.value.answer

    log = RekorLog(TlogConfig(max_body_bytes_in_flight=mebibytes * 1024 * 1024, append_timeout=0.05))
    answer = run(log, both)
    assert (answer.status, answer.details[0]["reason"]) == (503, "TOO_MANY_BODIES")


def test_a_call_without_a_message_is_refused_as_one():
    async def nothing():
        return
        yield b""

    with pytest.raises(Refused) as refused:
        run(RekorLog(), lambda rekor: rekor.create_entry(nothing(), Call()))
    assert (refused.value.answer.status, refused.value.answer.details[0]["reason"]) == (400, "MALFORMED_JSON")


def test_a_port_that_another_program_holds_is_named():
    async def listen(address: str) -> None:
        GrpcServer(log.service, log.metrics, address)

    log = RekorLog()
    with socket.create_server(("127.0.0.1", 0)) as held:
        address = f"127.0.0.1:{held.getsockname()[1]}"
        with pytest.raises(ConfigurationError, match=address) as refused:
            asyncio.run(listen(address))
    assert refused.value.code == "port_in_use"


@pytest.mark.parametrize("code", grpc.StatusCode)
def test_an_answer_is_counted_by_the_name_of_its_code(code):
    log = RekorLog()
    number = code.value[0]
    log.metrics.grpc_handled("GetTile", number)
    name = "OK" if number == 0 else code.name.title().replace("_", "")
    if number not in {0, 2, 3, 5, 6, 12, 13, 14}:  # which the log never gives
        name = "Unknown"
    assert f'grpc_method="GetTile",grpc_code="{name}"}} 1.0' in log.meter.to_text().decode()
