"""Partial bundles of large entries: how much is written and kept of them, and that nothing is lost."""

import os

import pytest
from tests.support.small_log import SmallLog

from hallmark.adapters.storage.filesystem import FileObjectStore
from hallmark.adapters.storage.memory import MemoryHeadStore, MemoryObjectStore
from hallmark.core.tiles import TILE_WIDTH, TileId
from hallmark.ports import LogHead
from hallmark.tiledlog import partials
from hallmark.tiledlog.partials import (
    BYTES_PER_SECOND,
    FREE_BYTES,
    KEPT_PARTIALS,
    LONGEST_WAIT,
    MAX_PARTIAL_BYTES,
    Pace,
    bound_partials,
    bundle_partial,
)
from hallmark.tiledlog.publisher import Publisher
from hallmark.tiledlog.records import TLOG_TILES

FOLDER = "tile/entries/000.p"


def head(size: int, applied: int) -> LogHead:
    return LogHead(size=size, root=b"", time=0, edge=(), checkpoint=b"", applied=applied, applied_edge=())


class Watch:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class CountingObjects(MemoryObjectStore):
    """Objects in memory that count the bytes which were written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = 0

    def put(self, path, data):
        self.written += len(data)
        super().put(path, data)


@pytest.mark.parametrize(
    ("size", "wait"),
    [
        (FREE_BYTES, 0.0),
        (FREE_BYTES + 1, (FREE_BYTES + 1) / BYTES_PER_SECOND),
        (BYTES_PER_SECOND, 1.0),
        (6 * BYTES_PER_SECOND, LONGEST_WAIT),
    ],
)
def test_the_next_pass_waits_as_long_as_the_bundle_was_large(size, wait):
    watch = Watch()
    pace = Pace(watch, paced=True)
    assert not pace.must_wait(head(2, 1))
    pace.wrote(size)
    watch.now = 100.0 + wait * 0.999
    assert pace.must_wait(head(2, 1)) is (wait > 0)
    watch.now = 100.0 + wait
    assert not pace.must_wait(head(2, 1))


def test_what_fills_a_bundle_does_not_wait():
    pace = Pace(Watch(), paced=True)
    pace.wrote(10 * BYTES_PER_SECOND)
    assert pace.must_wait(head(TILE_WIDTH - 1, 9))
    assert not pace.must_wait(head(TILE_WIDTH, 9))
    assert not pace.must_wait(head(9, 9))


def test_where_witnesses_sign_nothing_waits():
    pace = Pace(Watch(), paced=False)
    pace.wrote(10 * BYTES_PER_SECOND)
    assert not pace.must_wait(head(2, 1))


def test_commits_of_large_entries_write_little_more_than_was_sent():
    """One commit every tenth of a second, as a caller makes who waits for each answer."""
    watch, objects = Watch(), CountingObjects()
    log = SmallLog(MemoryHeadStore(), objects).create()
    log.publisher = Publisher(log.store, objects, log.signer, TLOG_TILES, clock=watch)
    leaves = [bytes([number]) * 50_000 for number in range(TILE_WIDTH)]
    for number, leaf in enumerate(leaves):
        log.append(leaf)
        log.publisher.publish()
        watch.now += 0.1
        newest = TileId(None, 0, number + 1)
        assert len(log.reader.tile(newest)) == 50_002 * (number + 1)
    assert objects.written < 10 * len(leaves) * 50_000
    assert log.store.head().applied == TILE_WIDTH
    log.check(leaves)


def test_what_waits_is_published_within_the_longest_wait_and_at_the_end(tmp_path):
    watch, objects = Watch(), FileObjectStore(tmp_path)
    log = SmallLog(MemoryHeadStore(), objects).create()
    log.publisher = Publisher(log.store, objects, log.signer, TLOG_TILES, clock=watch)
    leaves = [*(os.urandom(60_000) for _ in range(200)), b"one more", b"the last", b"after a crash"]
    log.append(*leaves[:200])
    log.publisher.publish()
    log.append(b"one more")
    assert not log.publisher.publish()
    assert log.store.head().applied == 200
    watch.now += LONGEST_WAIT
    log.publisher.publish()
    assert log.store.head().applied == 201
    log.append(b"the last")
    log.publisher.publish(at_once=True)
    assert log.store.head().applied == 202
    log.append(b"after a crash")
    Publisher(log.store, objects, log.signer, TLOG_TILES, clock=watch).recover()
    assert log.store.head().applied == 203
    log.check(leaves)


@pytest.mark.parametrize(
    ("sizes", "kept"),
    [
        ([30, 30, 40], [1, 2, 3]),
        ([31, 30, 40], [2, 3]),
        ([1, 1, 1, 200, 300], [4, 5]),
        ([100], [1]),
        ([200], [1]),
    ],
)
def test_of_large_versions_of_a_bundle_the_narrowest_go(sizes, kept, monkeypatch):
    monkeypatch.setattr(partials, "MAX_PARTIAL_BYTES", 100)
    objects = MemoryObjectStore()
    for width, size in enumerate(sizes, 1):
        objects.put(f"{FOLDER}/{width}", bytes(size))
    objects.put(f"{FOLDER}/200", bytes(1000))  # of a pass that was cut off
    bound_partials(objects, "entries", TileId(None, 0, len(sizes)))
    assert sorted(map(int, objects.names(FOLDER))) == [*kept, 200]


def test_the_bound_is_above_what_usual_entries_take():
    assert KEPT_PARTIALS * TILE_WIDTH * 65_537 < MAX_PARTIAL_BYTES
    assert sum(width * 3_500 for width in range(TILE_WIDTH)) < MAX_PARTIAL_BYTES


@pytest.mark.parametrize(("size", "expected"), [(0, None), (256, None), (257, TileId(None, 1, 1))])
def test_the_partial_bundle_is_the_last_one(size, expected):
    assert bundle_partial(size) == expected


def test_a_log_whose_narrow_partials_went_reads_and_examines_well(monkeypatch):
    monkeypatch.setattr(partials, "MAX_PARTIAL_BYTES", 2000)
    objects = MemoryObjectStore()
    log = SmallLog(MemoryHeadStore(), objects).create()
    for number in range(30):
        log.append(b"%d" % number * 50)
        log.publisher.publish()
        reader_sees = [log.reader.tile(TileId(None, 0, width)) for width in (1, number + 1)]
        assert reader_sees[1].startswith(reader_sees[0])
    assert len(objects.names(FOLDER)) < 30
    log.check([b"%d" % number * 50 for number in range(30)])
