"""The places in which large gRPC messages are received: who waits for one, and who gives way."""

import asyncio
from functools import partial

import pytest

from hallmark.errors import MalformedInput, Overloaded

pytest.importorskip("grpc_reflection", reason="the grpc extra is not installed")

from hallmark.tlog.grpc.receiving import Places


async def forever() -> bytes:
    return await asyncio.get_running_loop().create_future()


async def at_once(name: str = "message") -> str:
    return name


def receive(places: Places, connection: str, read, *, seconds: float = 60.0, patience: float = 60.0):
    return asyncio.create_task(places.receive(connection, read, seconds=seconds, patience=patience))


def test_calls_that_send_nothing_give_way_to_one_that_waits():
    async def run():
        places = Places(2, giving_way=0.0)
        silent = [receive(places, "silent", forever) for _ in range(2)]
        await asyncio.sleep(0)
        assert await receive(places, "other", at_once) == "message"
        for task in silent[1:]:
            task.cancel()
        return await asyncio.gather(*silent, return_exceptions=True)

    error, *_ = asyncio.run(run())
    assert (type(error), error.code) == (Overloaded, "too_many_bodies")


def test_nobody_gives_way_before_the_time():
    async def run():
        places = Places(1, giving_way=3600.0)
        silent = receive(places, "silent", forever)
        await asyncio.sleep(0)
        with pytest.raises(Overloaded):
            await receive(places, "other", at_once, patience=0.0)
        return silent.done()

    assert asyncio.run(run()) is False


def test_a_call_that_sends_nothing_has_its_time_where_nobody_waits():
    async def run():
        places = Places(1, giving_way=0.0)
        with pytest.raises(MalformedInput) as slow:
            await receive(places, "silent", forever, seconds=0.0)
        assert await receive(places, "other", at_once) == "message"
        return slow.value.code

    assert asyncio.run(run()) == "body_too_slow"


def test_places_are_given_by_turns_of_connections():
    async def run():
        places, order = Places(1, giving_way=3600.0), []

        async def noted(name: str) -> None:
            order.append(name)

        async def last() -> None:
            await asyncio.sleep(0)  # until the others wait

        first = receive(places, "first", last)
        names = ("crowd", "crowd", "crowd", "other")
        await asyncio.gather(first, *(receive(places, name, partial(noted, name)) for name in names))
        return order

    assert asyncio.run(run()) == ["crowd", "other", "crowd", "crowd"]


@pytest.mark.parametrize("most", [1, 2])
def test_so_many_receive_at_once(most):
    async def run():
        places = Places(most, giving_way=3600.0)
        silent = [receive(places, "silent", forever) for _ in range(most - 1)]
        await asyncio.sleep(0)
        assert await receive(places, "within", at_once, patience=0.0) == "message"
        silent.append(receive(places, "silent", forever))
        await asyncio.sleep(0)
        with pytest.raises(Overloaded):
            await receive(places, "beyond", at_once, patience=0.0)

    asyncio.run(run())


@pytest.mark.parametrize("given", [False, True])
def test_a_caller_that_leaves_while_it_waits_leaves_its_place(given):
    async def run():
        places = Places(1, giving_way=3600.0)
        holding = receive(places, "holding", forever)
        await asyncio.sleep(0)
        waiting = receive(places, "gone", at_once)
        await asyncio.sleep(0)
        holding.cancel()
        if given:
            await asyncio.gather(holding, return_exceptions=True)
        waiting.cancel()
        await asyncio.gather(holding, waiting, return_exceptions=True)
        return await receive(places, "other", at_once, patience=0.0)

    assert asyncio.run(run()) == "message"


def test_a_place_that_comes_as_patience_ends_is_not_lost():
    async def run():
        places, done = Places(1, giving_way=3600.0), asyncio.get_running_loop().create_future()

        async def until_done() -> None:
            await done

        holding = receive(places, "holding", until_done)
        await asyncio.sleep(0)
        waiting = receive(places, "waiting", at_once, patience=0.0)
        done.set_result(None)  # in the turn in which the other begins to wait, and waits no longer
        results = await asyncio.gather(holding, waiting, return_exceptions=True)
        assert isinstance(results[1], Overloaded)
        return await receive(places, "other", at_once, patience=0.0)

    assert asyncio.run(run()) == "message"


def test_nobody_gives_way_to_callers_that_have_gone():
    async def run():
        places = Places(1, giving_way=0.05)
        holding = receive(places, "holding", forever)
        await asyncio.sleep(0)
        with pytest.raises(Overloaded):
            await receive(places, "gone", at_once, patience=0.0)
        await asyncio.sleep(0.2)
        return holding.done()

    assert asyncio.run(run()) is False
