"""The first entry of a log, and the two ways in which a log ends."""

from datetime import UTC, datetime

import pytest
from tests.support.small_log import SmallLog

from hallmark.adapters.storage.memory import MemoryHeadStore, MemoryObjectStore
from hallmark.errors import Frozen
from hallmark.tiledlog.commit import Waiting, fixed_leaf
from hallmark.tiledlog.log import append_now, end_log, freeze_log

NOW = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture
def log():
    return SmallLog(MemoryHeadStore(), MemoryObjectStore()).create()


def test_a_first_entry_is_appended_once_however_often_it_is_asked_for(log):
    for _ in range(2):
        append_now(log.store, log.signer, Waiting(bytes(32), fixed_leaf(b"first")), now=log.now)
        assert log.store.head().size == 1
    log.publisher.recover()
    assert log.reader.entry(0).leaf == b"first"


def extensions(log: SmallLog) -> tuple[str, ...]:
    return log.signer.verify(log.store.head().checkpoint).extensions


def test_a_log_that_is_frozen_says_so_in_its_last_checkpoint(log):
    log.append(b"one")
    freeze_log(log.store, log.signer, NOW)
    last = log.store.head()
    assert last.frozen
    assert len(extensions(log)) == 1
    freeze_log(log.store, log.signer, NOW.replace(year=2027))
    end_log(log.store)
    assert log.store.head() == last


def test_a_log_that_is_ended_signs_nothing_more(log):
    """It may have had more entries: a last checkpoint would deny them."""
    log.append(b"one")
    before = log.store.head()
    end_log(log.store)
    assert log.store.head().frozen
    assert log.store.head().checkpoint == before.checkpoint
    assert extensions(log) == ()
    (answer,) = log.append(b"two")
    assert isinstance(answer, Frozen)
    assert log.store.head().size == 1
