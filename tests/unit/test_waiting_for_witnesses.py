"""Who waits for witnesses: how many, how much, how long, and what becomes of each of them."""

import asyncio

import pytest

from hallmark.core.checkpoint import Checkpoint
from hallmark.errors import Overloaded
from hallmark.ports import Appended
from hallmark.tiledlog.cosigned_answers import CosignedAnswers
from hallmark.tiledlog.sequencer import QueueLimits


def place(index: int, *, duplicate: bool = False) -> Appended:
    return Appended(index=index, time=0, duplicate=duplicate)


class Commits:
    """A log that commits what it is told to."""

    def __init__(self) -> None:
        self.futures: list[asyncio.Future[Appended]] = []

    def append(self, _key, _finalize, *, size):
        self.futures.append(asyncio.get_running_loop().create_future())
        return self.futures[-1]


class Cosigned:
    """The newest cosigned checkpoint, and proofs against it."""

    def __init__(self) -> None:
        self.size: int | None = None
        self.asked = 0
        self.proved: list[list[int]] = []

    def cosigned(self):
        self.asked += 1
        return None if self.size is None else (b"note", Checkpoint("log.example", self.size, bytes(32)))

    def prove_all(self, entries, _note, stated):
        assert all(entry.index < stated.size for entry in entries)
        self.proved.append([entry.index for entry in entries])
        return entries


class Waiting:
    def __init__(self, limits: QueueLimits | None = None, seconds: float = 7) -> None:
        self.log, self.reads = Commits(), Cosigned()
        self.answers = CosignedAnswers(self.log, self.reads, seconds=seconds, limits=limits or QueueLimits())

    async def append(self, committed: Appended | None = None, size: int = 10) -> "asyncio.Future[Appended]":
        """Append an entry, which is committed at once, and give its answer."""
        answer = self.answers.append(b"key", lambda *_: None, size=size)
        self.log.futures[-1].set_result(committed or place(len(self.log.futures) - 1))
        await asyncio.sleep(0)  # where the log's answer arrives
        return answer


def run(work) -> None:
    async def bounded() -> None:
        await asyncio.wait_for(work(), 60)

    asyncio.run(bounded())


def test_so_many_bytes_wait_and_no_more():
    async def work():
        waiting = Waiting(QueueLimits(max_bytes=100))
        with pytest.raises(Overloaded):
            await waiting.append(size=101)
        await waiting.append(size=60)
        with pytest.raises(Overloaded) as refused:
            await waiting.append(size=41)
        assert refused.value.code == "witnesses_missing"
        await waiting.append(size=40)
        assert len(waiting.log.futures) == 2  # what was refused was not appended
        await_all = Waiting(QueueLimits(max_bytes=100))
        await await_all.append(size=100)

    run(work)


def test_what_the_log_refuses_is_refused():
    async def work():
        waiting = Waiting()
        answer = waiting.answers.append(b"key", lambda *_: None)
        waiting.log.futures[0].set_exception(Overloaded("the queue is full", code="queue_full"))
        with pytest.raises(Overloaded, match="the queue is full"):
            await answer

    run(work)


def test_one_timer_looks_for_all_and_none_while_nobody_waits():
    async def work():
        waiting, timers = Waiting(), []
        loop = asyncio.get_running_loop()
        true = loop.call_later
        loop.call_later = lambda *arguments: timers.append(arguments) or true(*arguments)
        answers = [await waiting.append() for _ in range(5)]
        assert len(timers) == 1
        waiting.reads.size = 5
        assert [(await answer).index for answer in answers] == list(range(5))
        await asyncio.sleep(0)
        assert waiting.answers._timer is None
        assert len(timers) == waiting.reads.asked
        assert waiting.answers._bytes == 0

    run(work)


def test_a_checkpoint_answers_whom_it_covers_and_nobody_else():
    async def work():
        waiting = Waiting()
        first, second = await waiting.append(place(0)), await waiting.append(place(1))
        waiting.reads.size = 1
        assert (await first).index == 0
        waiting.answers._look()  # it covers nobody who still waits
        assert not second.done()
        waiting.reads.size = 2
        assert (await second).index == 1
        assert waiting.reads.proved == [[0], [1]]

    run(work)


@pytest.mark.parametrize("duplicate", [False, True])
def test_who_has_given_up_keeps_nobody_from_being_answered(duplicate):
    async def work():
        waiting = Waiting()
        gone = await waiting.append(place(0, duplicate=duplicate))
        other = await waiting.append(place(0, duplicate=duplicate))
        gone.cancel()
        waiting.reads.size = 1
        assert (await other).duplicate == duplicate
        assert waiting.reads.proved == ([] if duplicate else [[0]])

    run(work)


def test_before_the_process_ends_who_waits_is_told_and_nobody_waits_long():
    async def work():
        waiting = Waiting()
        answer = await waiting.append()
        waiting.answers.hurry(0)
        with pytest.raises(Overloaded):
            await asyncio.wait_for(answer, 5)
        await waiting.append()
        (caller,) = (item for item in waiting.answers._callers if not item.future.done())
        assert caller.deadline <= asyncio.get_running_loop().time()

    run(work)


def test_whose_time_is_short_waits_no_longer_because_the_process_ends():
    async def work():
        waiting = Waiting(seconds=0.01)
        answer = await waiting.append()
        waiting.answers.hurry(5)
        assert waiting.answers._seconds == 0.01
        with pytest.raises(Overloaded):
            await answer

    run(work)
