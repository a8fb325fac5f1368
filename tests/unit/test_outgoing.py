"""Large answers on their way out: in pieces, bounded in number and in bytes, and never for ever."""

import asyncio

import pytest

from hallmark.errors import Overloaded
from hallmark.ports import StoredBytes
from hallmark.web.outgoing import PIECE_BYTES, ROOM_SECONDS, Outgoing

HEADERS = [(b"content-length", b"0")]


class Reader:
    """A client that takes so many messages, and then no more."""

    def __init__(self, takes: int) -> None:
        self.takes = takes
        self.messages: list[dict] = []

    async def send(self, message) -> None:
        if len(self.messages) == self.takes:
            await asyncio.Event().wait()
        self.messages.append(message)


def body(size: int, reads: list | None = None) -> StoredBytes:
    data = bytes(range(256)) * (size // 256) + bytes(size % 256)

    def read(start: int, count: int) -> bytes:
        if reads is not None:
            reads.append(start)
        return data[start : start + count]

    return StoredBytes(len(data), read)


@pytest.mark.parametrize("size", [1, PIECE_BYTES, PIECE_BYTES + 1, 3 * PIECE_BYTES])
def test_sends_everything_in_pieces(size):
    reader, source = Reader(100), body(size)
    asyncio.run(Outgoing().send(reader.send, HEADERS, source))
    start, *pieces = reader.messages
    assert start == {"type": "http.response.start", "status": 200, "headers": HEADERS}
    assert b"".join(piece["body"] for piece in pieces) == source.read(0, size)
    assert all(0 < len(piece["body"]) <= PIECE_BYTES for piece in pieces)
    assert [piece["more_body"] for piece in pieces] == [True] * (len(pieces) - 1) + [False]


def test_a_piece_is_read_when_the_one_before_was_taken():
    reads: list[int] = []

    async def stall():
        sending = asyncio.create_task(Outgoing().send(Reader(2).send, HEADERS, body(1 << 20, reads)))
        await asyncio.sleep(0.05)
        sending.cancel()

    asyncio.run(stall())
    assert reads == [0, PIECE_BYTES]


@pytest.mark.parametrize("takes", [0, 1, 2])
def test_a_reader_that_takes_nothing_is_given_up(takes):
    outgoing = Outgoing(seconds=0.05)
    with pytest.raises(TimeoutError):
        asyncio.run(outgoing.send(Reader(takes).send, HEADERS, body(3 * PIECE_BYTES)))


async def send_all(outgoing: Outgoing, count: int, held: int = 0, size: int = 2 * PIECE_BYTES):
    """Let so many readers stall; gives their tasks once all are under way."""
    tasks = [
        asyncio.create_task(outgoing.send(Reader(1).send, HEADERS, body(size), held=held))
        for _ in range(count)
    ]
    await asyncio.sleep(0)
    return tasks


def test_so_many_answers_are_under_way():
    async def run():
        outgoing = Outgoing(most=3, stalled=60)
        tasks = await send_all(outgoing, 3)
        assert not any(task.done() for task in tasks)
        with pytest.raises(Overloaded) as refused:
            await outgoing.send(Reader(100).send, HEADERS, body(5))
        assert refused.value.code == "too_many_answers"
        tasks[0].cancel()
        await asyncio.sleep(0)
        await outgoing.send(Reader(100).send, HEADERS, body(5))
        for task in tasks:
            task.cancel()

    asyncio.run(run())


def test_so_many_bytes_are_held():
    async def run():
        outgoing = Outgoing(most_held=100, stalled=60)
        tasks = await send_all(outgoing, 1, held=60)
        await outgoing.send(Reader(100).send, HEADERS, body(5), held=40)
        await outgoing.send(Reader(100).send, HEADERS, body(5))
        with pytest.raises(Overloaded):
            await outgoing.send(Reader(100).send, HEADERS, body(5), held=41)
        tasks[0].cancel()

    asyncio.run(run())


@pytest.mark.parametrize("held", [0, 60])
def test_the_reader_that_has_stalled_longest_gives_way(held):
    async def run():
        outgoing = Outgoing(most=1 if not held else 9, most_held=100, stalled=0.0)
        tasks = await send_all(outgoing, 1, held=held)
        await asyncio.sleep(0.01)
        taken = Reader(100)
        await outgoing.send(taken.send, HEADERS, body(5), held=held)
        assert len(taken.messages) == 2
        with pytest.raises(TimeoutError):
            await tasks[0]

    asyncio.run(run())


def test_only_so_many_give_way_in_a_time():
    """What the server holds of a connection that was given up stays for some seconds."""

    async def run():
        outgoing = Outgoing(most=2, stalled=0.0)
        tasks = await send_all(outgoing, 2)
        tasks += await send_all(outgoing, 2)
        await asyncio.sleep(ROOM_SECONDS / 10)
        ended = [type(task.exception()) for task in tasks if task.done()]
        assert sorted(kind.__name__ for kind in ended) == ["Overloaded", "TimeoutError"]
        for task in tasks:
            task.cancel()

    asyncio.run(run())
