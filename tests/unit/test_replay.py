"""A database catches up with its published entries, and with no others."""

import hashlib

import msgspec
import pytest
from tests.support.small_log import SmallLog

from hallmark.adapters.storage.memory import MemoryHeadStore, MemoryObjectStore
from hallmark.core.checkpoint import Checkpoint
from hallmark.core.tiles import entry_bundle
from hallmark.errors import InvalidProof
from hallmark.tiledlog.records import TLOG_TILES
from hallmark.tiledlog.replay import MAX_COMMIT_ENTRIES, Replay
from hallmark.wiring.entry_rules import signature_rules

SIZE = 600
NOW = 1_800_000_000_000


def leaves(size: int) -> list[bytes]:
    return [b"leaf %d" % index for index in range(size)]


def published(size: int) -> SmallLog:
    log = SmallLog(MemoryHeadStore(), MemoryObjectStore()).create()
    log.append(*leaves(size))
    log.publisher.recover()
    return log


@pytest.fixture(scope="module")
def log():
    return published(SIZE)


def older(log: SmallLog, entries: list[bytes]) -> SmallLog:
    """An older copy of the database, beside the files that were published since."""
    copy = SmallLog(MemoryHeadStore(), MemoryObjectStore(), key=log.key).create()
    copy.append(*entries)
    for path, data in log.objects._objects.items():
        copy.objects.put(path, data)
    return copy


def replay(copy: SmallLog, stated: Checkpoint, rules=None) -> list[tuple[int, int]]:
    told: list[tuple[int, int]] = []
    Replay(copy.store, copy.objects, copy.signer, TLOG_TILES).run(
        stated, rules or signature_rules(), now=NOW, progress=lambda done, total: told.append((done, total))
    )
    return told


def stated_by(log: SmallLog) -> Checkpoint:
    return log.signer.verify(log.store.head().checkpoint)


@pytest.mark.parametrize("size", [0, 1, 100, 255, 256, 300, 599, 600])
def test_a_database_of_any_size_catches_up(log, size):
    copy, head = older(log, leaves(size)), log.store.head()
    told = replay(copy, stated_by(log))
    caught = copy.store.head()
    assert (caught.size, caught.root, caught.edge) == (head.size, head.root, head.edge)
    assert copy.signer.verify(caught.checkpoint).root == head.root
    assert told == ([(SIZE, SIZE)] if size < SIZE else [])
    keys = [hashlib.sha256(leaf).digest() for leaf in leaves(SIZE)]
    assert [place.index for place in copy.store.find(keys).values()] == list(range(SIZE))
    assert size == SIZE or copy.store.time_of(SIZE - 1) == NOW


def refused(copy: SmallLog, stated: Checkpoint, size: int) -> str:
    with pytest.raises(InvalidProof) as error:
        replay(copy, stated)
    assert copy.store.head().size == size
    return error.value.code


def test_a_database_of_another_history_is_not_continued(log):
    copy = older(log, [*leaves(99), b"another"])
    assert refused(copy, stated_by(log), 100) == "log_inconsistent"


def test_files_of_another_tree_than_the_checkpoint_s_are_not_committed(log):
    stated = msgspec.structs.replace(stated_by(log), root=bytes(32))
    assert refused(older(log, leaves(100)), stated, 100) == "tiles_differ"


def test_entries_that_their_tiles_do_not_hold_are_not_committed(log):
    copy = older(log, leaves(100))
    copy.objects.put("tile/entries/001", entry_bundle([*leaves(512)[256:511], b"forged"]))
    assert refused(copy, stated_by(log), 100) == "tiles_differ"


def test_entries_of_one_time_are_committed_together(log):
    def time(record: bytes) -> int:
        return NOW + int(record.split()[1]) // 250

    copy = older(log, [])
    told = replay(copy, stated_by(log), msgspec.structs.replace(signature_rules(), time=time))
    assert told == [(250, SIZE), (500, SIZE), (SIZE, SIZE)]
    assert copy.store._times == {0: NOW, 250: NOW + 1, 500: NOW + 2}


@pytest.mark.parametrize("more", [0, 1])
def test_no_commit_is_larger_than_those_of_a_serving_log(more):
    size = MAX_COMMIT_ENTRIES + more
    log = published(size)
    ends = [MAX_COMMIT_ENTRIES, size][: 1 + more]
    assert replay(older(log, []), stated_by(log)) == [(end, size) for end in ends]
