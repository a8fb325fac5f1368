"""The heartbeat of a worker: whom the parent hears of, and of whom not."""

import asyncio
import threading

import pytest
from tests.support.small_log import SmallLog

from hallmark.adapters.storage.memory import MemoryHeadStore, MemoryObjectStore
from hallmark.instance.heartbeat import LOCK_SECONDS, Heartbeat
from hallmark.tiledlog.commit import fixed_leaf


class Worker:
    """What a heartbeat looks at, and how often it has beaten."""

    def __init__(self) -> None:
        self.beats = 0
        self.calls = 0
        self.lock = 0.0
        self.heartbeat = Heartbeat(self._say, lambda: self.calls, lambda: self.lock)

    def _say(self) -> None:
        self.beats += 1

    def looks(self, count: int = 3) -> int:
        """Look so often; gives how many beats that made."""
        before = self.beats
        for _ in range(count):
            self.heartbeat.look()
        return self.beats - before


def test_a_worker_in_which_nothing_moves_is_silent():
    worker = Worker()
    assert worker.looks(1) == 1
    assert worker.looks() == 0


def test_a_loop_that_is_full_of_calls_is_no_hung_one():
    worker = Worker()
    worker.looks()
    worker.calls += 1
    assert worker.looks() == 1


@pytest.mark.parametrize(("seconds", "beats"), [(LOCK_SECONDS - 0.01, 1), (LOCK_SECONDS, 0)])
def test_a_commit_that_keeps_the_lock_is_one(seconds, beats):
    worker = Worker()
    worker.lock = seconds
    assert worker.looks() == beats


def test_a_beat_waits_for_nothing_that_the_loop_does():
    worker, beaten = Worker(), threading.Event()

    def say() -> None:
        worker.beats += 1
        if worker.beats == 3:
            beaten.set()

    worker.heartbeat = Heartbeat(say, lambda: worker.calls, lambda: 0.0)

    async def run():
        beating = asyncio.create_task(worker.heartbeat.run())
        await asyncio.sleep(0)

        def flood() -> bool:  # calls that the loop has begun and does not come back from
            while not beaten.wait(0.05):
                worker.calls += 1
            return True

        assert flood()
        beating.cancel()

    asyncio.run(run())


def test_a_commit_tells_how_long_it_has_held_the_lock():
    log = SmallLog(MemoryHeadStore(), MemoryObjectStore()).create()
    inside, leave = threading.Event(), threading.Event()
    sequencer = log.sequencer()

    async def run():
        def finalize(_index, _time):
            inside.set()
            leave.wait(60)
            return finalized

        finalized = fixed_leaf(b"leaf")(0, 0)
        assert sequencer.lock_held() == 0
        sequencer.start()
        waiting = sequencer.append(bytes(32), finalize)
        await asyncio.to_thread(inside.wait, 60)
        first = sequencer.lock_held()
        assert 0 <= first < sequencer.lock_held()
        leave.set()
        await waiting
        sequencer.stop()
        assert sequencer.lock_held() == 0

    asyncio.run(run())


def test_a_sequencer_that_waits_for_the_lock_of_another_does_not_hold_it():
    log = SmallLog(MemoryHeadStore(), MemoryObjectStore()).create()

    async def run():
        sequencer = log.sequencer()
        with log.store.transaction():
            sequencer.start()
            waiting = sequencer.append(bytes(32), fixed_leaf(b"leaf"))
            await asyncio.sleep(0.05)
            assert sequencer.lock_held() == 0
        await waiting
        sequencer.stop()

    asyncio.run(run())
