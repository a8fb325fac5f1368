"""A request's body, piece by piece."""

import asyncio

import pytest

from hallmark.errors import MalformedInput, Overloaded
from hallmark.web import asgi
from hallmark.web.asgi import BodyBudget, content_length, read_body


def read(*messages, budget=None, announced=None):
    left = list(messages)

    async def receive():
        return left.pop(0)

    return asyncio.run(held(receive, budget or BodyBudget(), announced=announced))


async def held(receive, budget, **options):
    """Read a body as every service does."""
    with budget.hold() as hold:
        return await read_body(receive, 100, hold=hold, **options)


def piece(body: bytes, *, more: bool = True):
    return {"type": "http.request", "body": body, "more_body": more}


GONE = {"type": "http.disconnect"}


def test_joins_the_pieces():
    assert read(piece(b"email=bob@example.co"), piece(b"m", more=False)) == b"email=bob@example.com"


def test_a_body_of_the_announced_size_is_whole_without_another_word():
    assert read(piece(b"all of it"), announced=9) == b"all of it"


def test_a_body_that_is_shorter_than_announced_is_waited_for():
    assert read(piece(b"all "), piece(b"of it", more=False), announced=9) == b"all of it"
    with pytest.raises(MalformedInput) as refused:
        read(piece(b"all "), GONE, announced=9)
    assert refused.value.code == "body_cut"


def test_an_announced_size_does_not_widen_the_bound():
    with pytest.raises(MalformedInput) as refused:
        read(piece(b"x" * 101), announced=101)
    assert refused.value.code == "body_too_large"


@pytest.mark.parametrize(
    ("headers", "expected"),
    [([], None), ([(b"content-length", b"12")], 12), ([(b"content-length", b"-1")], None)],
)
def test_the_announced_size_is_that_of_the_header(headers, expected):
    assert content_length({"headers": headers}) == expected


@pytest.mark.parametrize("messages", [(GONE,), (piece(b"email=bob@example.co"), GONE)])
def test_what_came_before_the_client_left_is_no_request(messages):
    budget = BodyBudget(20)
    with pytest.raises(MalformedInput) as refused:
        read(*messages, budget=budget)
    assert refused.value.code == "body_cut"
    budget.take(20)


class Slow:
    """Pieces of a body, after which nothing comes."""

    def __init__(self, *pieces: bytes) -> None:
        self.pieces = list(pieces)

    async def __call__(self):
        if not self.pieces:
            await asyncio.Event().wait()
        return piece(self.pieces.pop(0))


@pytest.mark.parametrize("pieces", [(), (b"a",), (b"a", b"b")])
def test_a_body_that_stops_arriving_is_given_up(pieces):
    budget = BodyBudget(20)
    with pytest.raises(MalformedInput) as refused:
        asyncio.run(held(Slow(*pieces), budget, seconds=0.05))
    assert refused.value.code == "body_too_slow"
    assert budget.has(20)


@pytest.mark.parametrize("pieces", [(), (b"a",)])
def test_a_silent_client_is_given_up_before_the_time_for_the_whole_body_is_over(pieces, monkeypatch):
    monkeypatch.setattr(asgi, "SILENT_SECONDS", 0.05)
    with pytest.raises(MalformedInput) as refused:
        asyncio.run(read_body(Slow(*pieces), 100, seconds=3600))
    assert refused.value.code == "body_too_slow"


def test_a_call_that_is_cancelled_meanwhile_stays_cancelled():
    async def run():
        reading = asyncio.create_task(read_body(Slow(), 100, seconds=3600))
        await asyncio.sleep(0)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading

    asyncio.run(run())


def test_a_body_that_announces_too_much_is_refused_before_it_arrives():
    assert read(piece(b"x" * 100), announced=100) == b"x" * 100
    with pytest.raises(MalformedInput) as refused:
        read(announced=101)
    assert refused.value.code == "body_too_large"


def arriving(budget: BodyBudget, size: int):
    return asyncio.create_task(held(Slow(b"x" * size), budget, seconds=3600))


def test_only_so_many_bytes_are_arriving_at_a_time():
    async def run():
        budget = BodyBudget(20)
        first = arriving(budget, 15)
        await asyncio.sleep(0)
        second = arriving(budget, 5)
        with pytest.raises(Overloaded) as refused:
            await arriving(budget, 1)
        assert refused.value.code == "too_many_bodies"
        first.cancel()
        second.cancel()
        await asyncio.gather(first, second, return_exceptions=True)
        assert budget.has(20)

    asyncio.run(run())


def test_the_body_that_has_been_arriving_longest_gives_way(monkeypatch):
    monkeypatch.setattr(asgi, "GIVING_WAY_SECONDS", 0.0)

    async def run():
        budget = BodyBudget(20)
        old = [arriving(budget, 10), arriving(budget, 10)]
        await asyncio.sleep(0.01)
        new = arriving(budget, 5)
        with pytest.raises(Overloaded) as refused:
            await old[0]
        assert refused.value.code == "too_many_bodies"
        assert not old[1].done()
        assert not new.done()
        assert budget.has(5)
        assert not budget.has(6)
        old[1].cancel()
        new.cancel()

    asyncio.run(run())


def test_a_body_that_arrives_at_once_is_held_until_its_request_lets_it_go():
    async def run():
        budget = BodyBudget(20)
        with budget.hold() as hold:
            assert await read_body(Slow(b"x" * 20), 100, hold=hold, announced=20)
            with pytest.raises(Overloaded) as refused:
                await held(Slow(b"x"), budget, announced=1)
            assert refused.value.code == "too_many_bodies"
            hold.let_go()
            assert budget.has(20)
        assert budget.has(20)
        assert not budget.has(21)

    asyncio.run(run())


def test_a_body_in_pieces_is_held_until_its_request_lets_it_go():
    async def run():
        budget, left = BodyBudget(20), [piece(b"x" * 10), piece(b"x" * 10, more=False)]

        async def receive():
            return left.pop(0)

        with budget.hold() as hold:
            assert await read_body(receive, 100, hold=hold)
            assert not budget.has(1)
        assert budget.has(20)

    asyncio.run(run())
