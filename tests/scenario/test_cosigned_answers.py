"""A strict log answers once witnesses stand behind the answer, and says so where they do not."""

import asyncio
import hashlib
import inspect
import threading
from typing import Self

import pytest
from tests.support.witnessed_log import Setting

from hallmark.client.http import HttpClient
from hallmark.core.merkle import leaf_hash, verify_inclusion
from hallmark.core.note import parse_note
from hallmark.errors import InvalidProof, Overloaded
from hallmark.ports import Appended
from hallmark.tiledlog.commit import fixed_leaf
from hallmark.tiledlog.cosigned_answers import MAX_WAIT_SECONDS, CosignedAnswers
from hallmark.tiledlog.sequencer import QueueLimits
from hallmark.witness.config import WitnessMode


class Running:
    """A log with witnesses, its committing thread, and a publisher that passes again and again."""

    def __init__(self, setting: Setting, *, seconds: float = 20.0, limits: QueueLimits | None = None) -> None:
        self.setting = setting
        self.sequencer = setting.log.sequencer()
        self.answers = CosignedAnswers(
            self.sequencer, setting.reader, seconds=seconds, limits=limits or QueueLimits()
        )
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._publish)

    def _publish(self) -> None:
        while not self._stopping.wait(0.02):
            self.setting.publish()

    def append(self, leaf: bytes):
        return self.answers.append(hashlib.sha256(leaf).digest(), fixed_leaf(leaf))

    def __enter__(self) -> Self:
        self.sequencer.start()
        self._thread.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._stopping.set()
        self._thread.join()
        self.sequencer.stop()


async def until(condition) -> None:
    """Let the event loop turn until something holds."""
    for _ in range(2000):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError


@pytest.fixture
def setting(tmp_path):
    made = Setting(tmp_path, WitnessMode.STRICT)
    yield made
    made.close()


def test_no_answer_waits_longer_than_clients_do(setting):
    patience = inspect.signature(HttpClient).parameters["timeout_seconds"].default
    assert patience - MAX_WAIT_SECONDS >= 2
    with Running(setting, seconds=600) as running:
        assert running.answers._seconds == MAX_WAIT_SECONDS
    with Running(setting, seconds=1) as running:
        assert running.answers._seconds == 1


def check_cosigned(setting: Setting, leaf: bytes, answer: Appended) -> None:
    """The answer's proof holds against a checkpoint that the policy's quorum has signed."""
    setting.policy.verify_witnessed(parse_note(answer.checkpoint))
    stated = setting.log.signer.verify(answer.checkpoint)
    assert (stated.size, stated.root) == (answer.tree_size, answer.root)
    verify_inclusion(leaf_hash(leaf), answer.index, answer.tree_size, answer.proof, stated.root)


def test_every_answer_carries_a_quorum(setting):
    leaves = [b"leaf %d" % number for number in range(300)]

    async def run(log):
        first = await log.append(leaves[0])
        return [first, *await asyncio.gather(*(log.append(leaf) for leaf in leaves[1:]))]

    with Running(setting) as running:
        answers = asyncio.run(run(running))
    for leaf, answer in zip(leaves, answers, strict=True):
        check_cosigned(setting, leaf, answer)
    assert sorted(answer.index for answer in answers) == list(range(300))


def test_one_witness_of_three_may_be_away(setting):
    setting.unavailable(1)

    async def run(log):
        return await log.append(b"one")

    with Running(setting) as running:
        check_cosigned(setting, b"one", asyncio.run(run(running)))


def test_without_a_quorum_it_says_what_is_missing_and_the_entry_is_found_again(setting):
    setting.unavailable(0, 1)

    async def alone(log):
        with pytest.raises(Overloaded) as refused:
            await log.append(b"one")
        assert (refused.value.code, refused.value.retry_after) == ("witnesses_missing", 5)

    async def again(log):
        return await log.append(b"one"), await log.append(b"two")

    with Running(setting, seconds=0.3) as running:
        asyncio.run(alone(running))
    setting.available()
    with Running(setting) as running:
        duplicate, fresh = asyncio.run(again(running))
    assert (duplicate.index, duplicate.duplicate) == (0, True)
    check_cosigned(setting, b"two", fresh)
    check_cosigned(setting, b"one", setting.reader.entry(0))  # where a duplicate's Location leads


def test_a_duplicate_waits_for_the_witnesses_of_its_original(setting):
    setting.unavailable(0, 1)

    async def run(log):
        original, duplicate = log.append(b"one"), log.append(b"one")
        done, waiting = await asyncio.wait([original, duplicate], timeout=0.3)
        assert (len(done), len(waiting)) == (0, 2)
        setting.available()
        return await asyncio.gather(original, duplicate)

    with Running(setting) as running:
        original, duplicate = asyncio.run(run(running))
    assert (original.duplicate, duplicate.duplicate) == (False, True)


def test_only_so_many_wait_for_witnesses_and_others_are_told_at_once(setting):
    setting.unavailable(0, 1, 2)

    async def run(log):
        waiting = [log.append(b"%d" % number) for number in range(3)]
        await until(lambda: len(log.answers._callers) == 3)
        size = setting.log.store.head().size
        with pytest.raises(Overloaded) as refused:
            log.append(b"one too many")
        assert refused.value.code == "witnesses_missing"
        setting.available()
        await asyncio.gather(*waiting)
        assert setting.log.store.head().size == size
        await log.append(b"now")

    with Running(setting, limits=QueueLimits(max_entries=3)) as running:
        asyncio.run(run(running))


def test_who_gives_up_is_forgotten(setting):
    setting.unavailable(0, 1, 2)

    async def run(log):
        gone = log.append(b"gone")
        await until(lambda: log.answers._callers)
        gone.cancel()
        await until(lambda: not log.answers._callers)
        assert log.answers._bytes == 0

    with Running(setting) as running:
        asyncio.run(run(running))


def test_nobody_waits_long_once_the_process_is_to_end(setting):
    setting.unavailable(0, 1, 2)

    async def run(log):
        waiting = log.append(b"one")
        await until(lambda: log.answers._callers)
        log.answers.hurry(0.05)
        later = log.append(b"two")
        for future in (waiting, later):
            with pytest.raises(Overloaded):
                await asyncio.wait_for(future, 10)

    with Running(setting, seconds=600.0) as running:
        asyncio.run(run(running))


def test_a_proof_that_does_not_hold_is_nobodys_answer(setting):
    async def run(log):
        with pytest.raises(InvalidProof):
            await log.append(b"one")

    with Running(setting) as running:
        setting.reader.prove_all = _refuse
        asyncio.run(run(running))


def _refuse(*_arguments):
    raise InvalidProof("the tiles are damaged")
