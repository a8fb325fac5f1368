"""Turns of the event loop: how much work stands between two of them, and whose."""

import asyncio
import gc
import time
import weakref
from functools import partial

import pytest

from hallmark.errors import Overloaded
from hallmark.web.turns import LIGHT_SECONDS, LONGEST_REST, MAX_ARRIVALS, MAX_WAITING, TURN_SECONDS, Turns


class Work:
    """Pieces of work on a clock that only they move; notes how much was done in each turn of the loop."""

    def __init__(self) -> None:
        self.now = 0.0
        self.turn = 0
        self.done: list[tuple[str, int]] = []
        self.turns = Turns(lambda: self.now)

    def piece(self, name: str, seconds: float) -> str:
        self.now += seconds
        self.done.append((name, self.turn))
        return name

    def names_by_turn(self) -> list[list[str]]:
        found: dict[int, list[str]] = {}
        for name, turn in self.done:
            found.setdefault(turn, []).append(name)
        return [found[turn] for turn in sorted(found)]

    def run(self, *calls) -> list:
        async def count():
            while True:
                self.turn += 1
                await asyncio.sleep(0)

        async def everything():
            counting = asyncio.create_task(count())
            results = await asyncio.gather(*(call() for call in calls), return_exceptions=True)
            counting.cancel()
            return results

        return asyncio.run(everything())

    def light(self, name: str, seconds: float):
        return lambda: self.turns.light(partial(self.piece, name, seconds))

    def heavy(self, name: str, seconds: float):
        return lambda: self.turns.heavy(partial(self.piece, name, seconds))


def test_light_pieces_run_at_once_until_the_turn_is_over():
    work = Work()
    half = TURN_SECONDS / 2
    results = work.run(*(work.light(name, half) for name in "abcde"))
    assert results == list("abcde")
    assert work.names_by_turn() == [["a", "b"], ["c", "d"], ["e"]]


def test_a_turn_takes_one_heavy_piece_however_long_it_is():
    work = Work()
    work.run(*(work.heavy(name, 10 * TURN_SECONDS) for name in "abc"))
    assert work.names_by_turn() == [["a"], ["b"], ["c"]]


def test_short_heavy_pieces_share_a_turn():
    work = Work()
    work.run(*(work.heavy(name, TURN_SECONDS / 2) for name in "abcd"))
    assert work.names_by_turn() == [["a", "b"], ["c", "d"]]


def test_light_pieces_do_not_wait_behind_heavy_ones():
    work = Work()
    heavy = [work.heavy("heavy", 2 * TURN_SECONDS) for _ in range(100)]
    work.run(*heavy, *(work.light("light", TURN_SECONDS) for _ in range(3)))
    turns = work.names_by_turn()
    assert all(turn.count("heavy") <= 1 for turn in turns)
    last = max(number for number, turn in enumerate(turns) if "light" in turn)
    assert last <= 3


def test_heavy_pieces_get_through_however_many_light_ones_come():
    work = Work()

    async def flood():
        while not any(name == "heavy" for name, _ in work.done):
            await asyncio.gather(*(work.light("light", TURN_SECONDS)() for _ in range(5)))

    work.run(flood, work.heavy("heavy", TURN_SECONDS))
    assert len(work.done) < 20


def test_what_a_piece_raises_is_its_callers():
    work = Work()

    def fail():
        raise ValueError("of a piece")

    light, heavy, other = work.run(
        lambda: work.turns.light(fail), lambda: work.turns.heavy(fail), work.heavy("b", 0.0)
    )
    assert (str(light), str(heavy), other) == ("of a piece", "of a piece", "b")


def test_the_piece_of_a_caller_that_has_gone_is_not_run():
    work = Work()

    async def leave():
        await work.heavy("first", 2 * TURN_SECONDS)()  # the turn is over: what comes now waits
        gone = asyncio.create_task(work.heavy("gone", 0.0)())
        await asyncio.sleep(0)
        gone.cancel()

    work.run(leave, work.heavy("other", 2 * TURN_SECONDS))
    assert sorted(name for name, _ in work.done) == ["first", "other"]


def test_so_many_requests_begin_in_a_turn():
    work = Work()

    async def begin():
        await work.turns.arrive()
        work.piece("begun", 0.0)

    work.run(*[begin] * (2 * MAX_ARRIVALS + 1))
    assert [len(turn) for turn in work.names_by_turn()] == [MAX_ARRIVALS, MAX_ARRIVALS, 1]


def test_each_flow_has_its_turn():
    work = Work()
    flows = ["a"] * 4 + ["b"] * 2 + ["c"]
    pieces = [partial(work.turns.heavy, partial(work.piece, flow, TURN_SECONDS), flow) for flow in flows]
    work.run(*pieces)
    assert [name for name, _ in work.done] == list("aabcaba")  # the first one did not have to wait


def test_of_those_that_wait_to_begin_the_newest_goes_in_turn_with_the_oldest():
    work = Work()
    order: list[int] = []

    async def begin(number: int):
        await work.turns.arrive()
        order.append(number)

    waiting = range(MAX_ARRIVALS, 4 * MAX_ARRIVALS)
    work.run(*(partial(begin, number) for number in range(4 * MAX_ARRIVALS)))
    assert order[:MAX_ARRIVALS] == list(range(MAX_ARRIVALS))
    assert order[MAX_ARRIVALS : MAX_ARRIVALS + 4] == [waiting[0], waiting[-1], waiting[1], waiting[-2]]
    assert sorted(order) == list(range(4 * MAX_ARRIVALS))


def test_those_that_wait_to_begin_have_their_turn_by_flow():
    work = Work()
    order: list[str] = []

    async def begin(flow: str):
        await work.turns.arrive(flow)
        order.append(flow)

    work.run(*(partial(begin, flow) for flow in ["crowd"] * 20 * MAX_ARRIVALS + ["other"]))
    assert order.index("other") <= MAX_ARRIVALS + 1


@pytest.mark.parametrize(("waiting", "begins"), [(MAX_ARRIVALS - 1, True), (MAX_ARRIVALS, False)])
def test_nobody_begins_while_so_many_pieces_of_the_same_flow_wait(waiting, begins):
    work = Work()
    seen: list[tuple[str, int]] = []

    async def begin(flow: str):
        await work.turns.arrive(flow)
        seen.append((flow, len(work.done)))

    piece = partial(work.turns.heavy, partial(work.piece, "crowd", TURN_SECONDS), "crowd")
    # one runs at once, and one before anybody begins
    work.run(*[piece] * (waiting + 2), partial(begin, "crowd"), partial(begin, "other"))
    crowd, other = dict(seen)["crowd"], dict(seen)["other"]
    assert other == 2  # in the first turn after that
    assert (crowd == other) is begins


def test_turns_go_on_in_another_loop():
    work = Work()
    assert work.run(work.light("a", 2 * TURN_SECONDS)) == ["a"]
    assert work.run(work.light("b", 0.0), work.heavy("c", 0.0)) == ["b", "c"]


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (LIGHT_SECONDS / 4, [LIGHT_SECONDS / 4] * 3),
        (LONGEST_REST, [LONGEST_REST]),
        (4 * LONGEST_REST, [LONGEST_REST]),
    ],
)
@pytest.mark.parametrize("light", [True, False])
def test_heavy_pieces_rest_while_light_ones_wait_for_their_commit(seconds, expected, light):
    """The thread that commits needs the interpreter too: half of the time is left to it."""
    work = Work()
    rests: list[float] = []

    async def both():
        loop = asyncio.get_running_loop()
        later = loop.call_later
        loop.call_later = lambda delay, *call: rests.append(delay) or later(0, *call)
        heavy = [asyncio.create_task(work.heavy("heavy", seconds)()) for _ in range(3)]
        if light:
            await work.light("light", 0.0)()
        await asyncio.gather(*heavy)

    work.run(both)
    assert rests == (pytest.approx(expected) if light else [])


@pytest.mark.parametrize("kind", ["light", "heavy"])
def test_what_a_failed_piece_held_is_free_at_once(kind):
    """No cycle keeps it until garbage is collected: it may be a body of megabytes."""

    class Body:
        def parse(self):
            raise ValueError("no request")

    async def fail(turns):
        body = Body()
        held.append(weakref.ref(body))
        await getattr(turns, kind)(partial(Body.parse, body))

    async def fail_late():
        turns = Turns()
        await turns.light(partial(time.sleep, TURN_SECONDS))  # the turn is over: it waits for the next
        with pytest.raises(ValueError, match="no request"):
            await fail(turns)

    held: list[weakref.ref[Body]] = []
    gc.disable()
    try:
        asyncio.run(fail_late())
        assert held[0]() is None
    finally:
        gc.enable()


def test_so_many_wait_to_begin_and_no_more(monkeypatch):
    monkeypatch.setattr("hallmark.web.turns.MAX_WAITING", 3)
    work = Work()
    results = work.run(*[work.turns.arrive] * (MAX_ARRIVALS + 5))
    refused = [item for item in results if item is not None]
    assert [(type(item), item.code) for item in refused] == [(Overloaded, "too_many_calls")] * 2
    assert MAX_WAITING == 12_288


def test_two_flows_that_wait_to_begin_are_both_served_from_both_ends():
    work = Work()

    async def begin(flow: str, number: int) -> None:
        await work.turns.arrive(flow)
        work.piece(f"{flow}{number}", 0.0)

    work.run(*(partial(begin, flow, number) for number in range(100) for flow in "ab"))
    order = [name for turn in work.names_by_turn() for name in turn]
    for flow in "ab":
        served = [int(name[1:]) for name in order if name[0] == flow][MAX_ARRIVALS:]
        assert served[:2] != sorted(served)[:2]
        assert sorted(served)[0] in served[:2]
