"""Dedup keys are taken from entries that stand in the log's tree, and from no others."""

import hashlib

import pytest
from tests.support.small_log import SmallLog

from hallmark.adapters.storage.memory import MemoryHeadStore, MemoryObjectStore
from hallmark.core.merkle import leaf_hash
from hallmark.core.tiles import entry_bundle
from hallmark.errors import InvalidEntry
from hallmark.tiledlog.entry_keys import EntryKeys
from hallmark.tiledlog.records import TLOG_TILES

SIZE = 600


def key(leaf: bytes) -> bytes:
    return hashlib.sha256(leaf).digest()


@pytest.fixture
def log():
    made = SmallLog(MemoryHeadStore(), MemoryObjectStore()).create()
    made.append(*(b"leaf %d" % number for number in range(SIZE)))
    made.publisher.recover()
    return made


def read(log: SmallLog, start: int, end: int) -> list[tuple[bytes, int]]:
    keys = EntryKeys(
        log.store.head(), (), log.objects, TLOG_TILES, lambda record: key(TLOG_TILES.entry(record))
    )
    return list(keys.read(start, end))


@pytest.mark.parametrize(("start", "end"), [(0, SIZE), (3, 5), (255, 257), (256, 512), (100, 599)])
def test_each_key_comes_with_its_index(log, start, end):
    assert read(log, start, end) == [(key(b"leaf %d" % index), index) for index in range(start, end)]


def refused(log: SmallLog, start: int = 0, end: int = SIZE) -> str:
    with pytest.raises(InvalidEntry) as error:
        read(log, start, end)
    assert error.value.code == "damaged_log"
    return error.value.message


def forged(index: int) -> list[bytes]:
    leaves = [b"leaf %d" % number for number in range(256)]
    leaves[index] = b"forged"
    return leaves


def test_entries_that_their_tile_does_not_hold_give_no_key(log):
    log.objects.put("tile/entries/000", entry_bundle(forged(255)))
    assert "entries [0, 256)" in refused(log)
    assert "do not agree" in refused(log)
    assert len(read(log, 256, SIZE)) == SIZE - 256


@pytest.mark.parametrize("index", [0, 255])
def test_entries_forged_together_with_their_tile_give_no_key(log, index):
    log.objects.put("tile/entries/000", entry_bundle(forged(index)))
    log.objects.put("tile/0/000", b"".join(map(leaf_hash, forged(index))))
    assert "entries [0, 256)" in refused(log)


@pytest.mark.parametrize("name", ["tile/entries/001", "tile/0/001"])
def test_entries_that_are_gone_give_no_key(log, name):
    log.objects.delete(name)
    assert "entries [256, 300)" in refused(log, 256, 300)
