"""Records of entry bundles, tiles that took another's place, and what a sequencer takes."""

import asyncio

import pytest
from tests.support.small_log import SmallLog

from hallmark.adapters.storage.memory import MemoryHeadStore, MemoryObjectStore
from hallmark.core.tiles import TileId, entry_bundle
from hallmark.errors import MalformedInput, NotFound
from hallmark.tiledlog.commit import fixed_leaf
from hallmark.tiledlog.objects import tile_path, tile_reader
from hallmark.tiledlog.records import TLOG_TILES

ENTRIES = [b"one", b"", b"three"]
BUNDLE = entry_bundle(ENTRIES)


def test_a_bundle_is_cut_into_its_entries():
    records = TLOG_TILES.split(BUNDLE, 3)
    assert b"".join(records) == BUNDLE
    assert [TLOG_TILES.leaf(record) for record in records] == ENTRIES


def test_a_bundle_of_more_entries_than_asked_for_is_refused():
    with pytest.raises(MalformedInput, match="more than 2"):
        TLOG_TILES.split(BUNDLE, 2)


@pytest.mark.parametrize("cut", [1, 2, 4, 6, len(BUNDLE) - 1])
def test_a_bundle_that_ends_early_is_refused(cut):
    with pytest.raises(MalformedInput, match="ends early"):
        TLOG_TILES.split(BUNDLE[:cut])


def test_a_full_tile_stands_for_the_partial_one_that_it_replaced():
    objects = MemoryObjectStore()
    read = tile_reader(objects, "entries")
    full, partial = TileId(0, 0), TileId(0, 0, 3)
    for tile in (full, partial):
        with pytest.raises(NotFound):
            read(tile)
    objects.put(tile_path(full, "entries"), b"full")
    assert (read(full), read(partial)) == (b"full", b"full")
    objects.put(tile_path(partial, "entries"), b"partial")
    assert read(partial) == b"partial"


@pytest.mark.parametrize("size", [0, 31, 33])
def test_a_dedup_key_has_32_bytes(size):
    log = SmallLog(MemoryHeadStore(), MemoryObjectStore()).create()

    async def append():
        log.sequencer().append(bytes(size), fixed_leaf(b"one"))

    with pytest.raises(ValueError, match="has 32 bytes"):
        asyncio.run(append())


def test_between_commits_no_lock_is_held():
    assert SmallLog(MemoryHeadStore(), MemoryObjectStore()).create().sequencer().lock_held() == 0.0
