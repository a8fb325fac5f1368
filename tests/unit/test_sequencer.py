"""What the committing thread takes, tells, and has done when it ends."""

import asyncio
import hashlib

import pytest
from tests.support.small_log import SmallLog

from hallmark.adapters.storage.memory import MemoryHeadStore, MemoryObjectStore
from hallmark.errors import Overloaded
from hallmark.tiledlog.commit import fixed_leaf
from hallmark.tiledlog.sequencer import QueueLimits, Sequencer


class Noting(MemoryHeadStore):
    """A store that notes which keys it is asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[int] = []

    def find(self, keys):
        self.asked.append(len(keys))
        return super().find(keys)


class Observer:
    def __init__(self) -> None:
        self.told: list[dict] = []

    def committed(self, **numbers) -> None:
        self.told.append(numbers)


@pytest.fixture
def log():
    return SmallLog(Noting(), MemoryObjectStore()).create()


def sequencer(log: SmallLog, **settings) -> Sequencer:
    return Sequencer(log.store, log.signer, log.clock, on_failure=log.failures.append, **settings)


def append(running: Sequencer, leaf: bytes, size: int = 10):
    return running.append(hashlib.sha256(leaf).digest(), fixed_leaf(leaf), size=size)


def test_so_many_bytes_wait_and_no_more(log):
    async def run():
        waiting = sequencer(log, limits=QueueLimits(max_bytes=100))
        with pytest.raises(Overloaded):
            append(waiting, b"too large", 101)
        append(waiting, b"1", 60)
        with pytest.raises(Overloaded) as refused:
            append(waiting, b"2", 41)
        assert refused.value.code == "queue_full"
        append(waiting, b"3", 40)
        waiting.start()
        waiting.stop()
        assert log.store.head().size == 2
        whole = sequencer(log, limits=QueueLimits(max_bytes=100))
        append(whole, b"4", 100)

    asyncio.run(run())


def test_what_waits_is_committed_when_it_has_stopped(log):
    async def run():
        running = sequencer(log)
        for number in range(50):
            append(running, b"%d" % number)
        running.start()
        running.stop()
        assert not running._thread.is_alive()
        assert log.store.head().size == 50
        with pytest.raises(Overloaded) as refused:
            append(running, b"late")
        assert refused.value.code == "stopping"

    asyncio.run(run())


def test_the_index_is_read_before_somebody_waits_for_it(log):
    running = sequencer(log)
    running.start()
    running.stop()
    assert log.store.asked == [0]


def test_the_observer_is_told_of_every_commit(log):
    async def run():
        running = sequencer(log, observer=observer)
        answers = [append(running, leaf) for leaf in (b"one", b"two", b"one")]
        running.start()
        await asyncio.gather(*answers)
        running.stop()

    observer = Observer()
    asyncio.run(run())
    (told,) = observer.told
    assert told.pop("seconds") >= 0
    assert told == {"added": 2, "duplicates": 1, "waiting": 0}


def test_a_commit_bears_the_time_of_the_clock_in_milliseconds(log):
    log.now += 5
    log.append(b"one")
    assert log.store.head().time == log.now
    assert log.store.time_of(0) == log.now


def test_whatever_stops_the_thread_is_told(log, caplog):
    def fail(_keys):
        raise OSError("the disk is gone")

    log.store.find = fail
    running = sequencer(log)
    running.start()
    running.stop()
    assert [str(error) for error in log.failures] == ["the disk is gone"]
    assert "the log log.example stops: the disk is gone" in caplog.text
