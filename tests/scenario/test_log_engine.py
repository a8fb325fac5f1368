"""The log engine as a whole: what it answers is in the tree, whatever is killed, full or late."""

import asyncio
import hashlib
import itertools
import random
import threading
from datetime import UTC, datetime

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519
from tests.support.small_log import SmallLog, tree_hash

from hallmark.adapters.storage.filesystem import FileObjectStore
from hallmark.adapters.storage.memory import MemoryHeadStore, MemoryObjectStore
from hallmark.adapters.storage.sqlite import SqliteHeadStore
from hallmark.core.merkle import leaf_hash, verify_consistency, verify_inclusion
from hallmark.core.tiles import TileId, parse_entry_bundle
from hallmark.errors import Conflict, Frozen, InvalidProof, MalformedInput, NotFound, Overloaded, TrustError
from hallmark.ports import Appended, StorageFailed
from hallmark.tiledlog import publisher
from hallmark.tiledlog.commit import fixed_leaf
from hallmark.tiledlog.log import freeze_log
from hallmark.tiledlog.objects import PublishedTiles, tile_reader
from hallmark.tiledlog.sequencer import QueueLimits


def key_of(leaf: bytes) -> bytes:
    return hashlib.sha256(leaf).digest()


def leaves_of(count: int, first: int = 0) -> list[bytes]:
    return [b"leaf %d" % index for index in range(first, first + count)]


@pytest.fixture(params=["memory", "sqlite"])
def log(request, tmp_path):
    if request.param == "memory":
        yield SmallLog(MemoryHeadStore(), MemoryObjectStore()).create()
        return
    store = SqliteHeadStore(tmp_path / "log.db", new=True)
    yield SmallLog(store, FileObjectStore(tmp_path / "public")).create()
    store.close()


def test_an_answer_proves_the_entry_against_the_checkpoint_it_carries(log):
    for size, leaf in enumerate(leaves_of(5), 1):
        (answer,) = log.append(leaf)
        stated = log.signer.verify(answer.checkpoint)
        assert (stated.size, stated.root) == (size, answer.root)
        verify_inclusion(leaf_hash(leaf), answer.index, answer.tree_size, answer.proof, stated.root)


@pytest.mark.parametrize("count", [1, 2, 255, 256, 257, 600])
def test_the_tree_is_right_before_and_after_publication(log, count):
    leaves = leaves_of(count)
    log.append(*leaves)
    log.check(leaves)
    log.publisher.publish()
    assert log.store.head().applied == count
    log.check(leaves)
    log.check(leaves, read=log.published_tile)
    assert log.objects.get("checkpoint") == log.reader.checkpoint()


def test_reads_lay_new_commits_over_published_tiles(log):
    leaves = leaves_of(300)
    log.append(*leaves[:250])
    log.publisher.publish()
    log.append(*leaves[250:])
    log.check(leaves)


def test_proofs_hold_at_any_size_and_between_any_two(log):
    leaves = leaves_of(600)
    hashes = [leaf_hash(leaf) for leaf in leaves]
    log.append(*leaves[:530])
    log.publisher.publish()
    log.append(*leaves[530:])
    chance = random.Random(600)
    pairs = [(chance.randrange(1, 601), chance.randrange(1, 601)) for _ in range(60)]
    for smaller, larger in [(1, 1), (256, 512), (512, 513), (530, 600), (600, 600), *map(sorted, pairs)]:
        root = tree_hash(hashes[:larger])
        assert log.reader.root(larger) == root
        for index in {0, smaller - 1, larger - 1, chance.randrange(larger)}:
            proof = log.reader.inclusion_proof(index, larger)
            verify_inclusion(hashes[index], index, larger, proof, root)
        proof = log.reader.consistency_proof(smaller, larger)
        verify_consistency(smaller, tree_hash(hashes[:smaller]), larger, root, proof)
    for asked in (lambda: log.reader.inclusion_proof(0, 601), lambda: log.reader.consistency_proof(1, 601)):
        with pytest.raises(NotFound):
            asked()


def test_the_memory_of_a_reader_is_bounded_in_tiles(tmp_path):
    objects = CountedObjects()
    tiles = PublishedTiles(tile_reader(objects, "entries"), max_tiles=4)
    for index in (0, 1, 2, 3, 0, 4, 0, 1):  # 1 is the one that was not asked for the longest
        tiles.read(TileId(0, index))
    assert objects.read == [f"tile/0/00{index}" for index in (0, 1, 2, 3, 4, 1)]
    assert len(tiles._known) == 4


class CountedObjects:
    """Full tiles without end, which tell what was read."""

    def __init__(self) -> None:
        self.read: list[str] = []

    def get(self, path: str) -> bytes:
        self.read.append(path)
        return bytes(8192)


def test_a_duplicate_is_answered_with_its_first_place_across_restarts(log):
    first = log.append(*leaves_of(3))
    again = log.append(*leaves_of(3))
    assert [(item.index, item.time, item.duplicate) for item in again] == [
        (item.index, item.time, True) for item in first
    ]
    log.check(leaves_of(3))


def test_equal_entries_of_one_batch_are_one_entry(log):
    answers = log.append(b"same", b"other", b"same")
    assert sorted((item.index, item.duplicate) for item in answers) == [(0, False), (0, True), (1, False)]


def test_time_never_runs_backwards_with_the_clock(log):
    (first,) = log.append(b"one")
    log.now -= 3_600_000
    (second,) = log.append(b"two")
    assert second.time == first.time + 1


def test_partial_tiles_of_every_published_size_stand_until_the_full_tile_replaces_them(log):
    leaves = leaves_of(300)
    for start, end in itertools.pairwise((0, 10, 200, 255)):
        log.append(*leaves[start:end])
        log.publisher.publish()
    for width in (10, 200, 255):
        assert len(log.published_tile(TileId(0, 0, width))) == 32 * width
    log.append(*leaves[255:])
    log.publisher.publish()
    assert log.objects.names("tile/0/000.p") == ()
    assert log.objects.names("tile/entries/000.p") == ()
    assert len(log.published_tile(TileId(0, 0))) == 32 * 256
    assert len(log.reader.tile(TileId(0, 0, 10))) == 320


def test_tiles_beyond_the_tree_are_not_found(log):
    log.append(*leaves_of(5))
    for tile in (TileId(0, 0, 6), TileId(0, 0), TileId(0, 1, 1), TileId(1, 0, 1), TileId(None, 0, 6)):
        with pytest.raises(NotFound):
            log.reader.tile(tile)
    with pytest.raises(NotFound):
        log.reader.entry(5)


def test_a_leaf_that_cannot_be_finalised_takes_no_index(log):
    def refuse(_index, _time):
        raise MalformedInput("no")

    async def run():
        sequencer = log.sequencer()
        sequencer.start()
        waiting = [
            sequencer.append(b"1" * 32, fixed_leaf(b"one")),
            sequencer.append(b"2" * 32, refuse),
            sequencer.append(b"3" * 32, fixed_leaf(b"three")),
        ]
        answers = await asyncio.gather(*waiting, return_exceptions=True)
        sequencer.stop()
        return answers

    first, refused, third = asyncio.run(run())
    assert (first.index, third.index) == (0, 1)
    assert isinstance(refused, MalformedInput)
    log.check([b"one", b"three"])


def test_the_queue_is_bounded_in_entries_and_in_bytes():
    log = SmallLog(
        MemoryHeadStore(), MemoryObjectStore(), limits=QueueLimits(max_entries=3, max_bytes=1000)
    ).create()

    async def run():
        sequencer = log.sequencer()  # not started: everything waits
        for index in range(3):
            sequencer.append(key_of(b"%d" % index), fixed_leaf(b"x"), size=10)
        with pytest.raises(Overloaded) as full:
            sequencer.append(key_of(b"3"), fixed_leaf(b"x"), size=10)
        assert full.value.code == "queue_full"
        other = log.sequencer()
        with pytest.raises(Overloaded):
            other.append(key_of(b"4"), fixed_leaf(b"x"), size=1001)

    asyncio.run(run())


def test_stopping_commits_what_waits_and_refuses_more(log):
    async def run():
        sequencer = log.sequencer()
        waiting = [sequencer.append(key_of(leaf), fixed_leaf(leaf)) for leaf in leaves_of(20)]
        sequencer.start()
        await asyncio.to_thread(sequencer.stop)
        with pytest.raises(Overloaded):
            sequencer.append(key_of(b"late"), fixed_leaf(b"late"))
        return await asyncio.gather(*waiting)

    assert len(asyncio.run(run())) == 20
    log.check(leaves_of(20))


def test_a_caller_that_goes_away_does_not_disturb_the_others(log):
    async def run():
        sequencer = log.sequencer()
        gone = sequencer.append(key_of(b"gone"), fixed_leaf(b"gone"))
        stays = sequencer.append(key_of(b"stays"), fixed_leaf(b"stays"))
        gone.cancel()
        sequencer.start()
        answer = await stays
        sequencer.stop()
        return answer

    assert asyncio.run(run()).index == 1
    log.check([b"gone", b"stays"])


def test_a_frozen_log_refuses_entries(log):
    log.append(b"one")
    freeze_log(log.store, log.signer, datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))
    (answer,) = log.append(b"two")
    assert isinstance(answer, Frozen)
    while log.publisher.publish():
        pass
    last = log.signer.verify(log.objects.get("checkpoint"))
    assert last.extensions == ("Log frozen \u2014 Fri Jan  2 03:04:05 UTC 2026",)
    log.check([b"one"])


def test_freezing_twice_changes_nothing(log):
    log.append(b"one")
    freeze_log(log.store, log.signer, datetime(2026, 1, 2, tzinfo=UTC))
    first = log.store.head()
    freeze_log(log.store, log.signer, datetime(2026, 1, 3, tzinfo=UTC))
    assert log.store.head() == first


def test_a_damaged_edge_stops_the_log_before_it_signs_anything():
    log = SmallLog(MemoryHeadStore(), MemoryObjectStore()).create()
    log.append(*leaves_of(3))
    head = log.store.head()
    log.store._head = msgspec.structs.replace(head, edge=(b"x" * 32, *head.edge[1:]))
    sequencer = log.sequencer()

    async def run():
        sequencer.append(key_of(b"k"), fixed_leaf(b"k"))
        sequencer.start()
        await asyncio.to_thread(sequencer._thread.join, 10)

    asyncio.run(run())
    assert [type(failure) for failure in log.failures] == [InvalidProof]
    assert log.store.head().size == 3


def test_several_writers_on_one_file_make_one_tree(tmp_path):
    key = ed25519.Ed25519PrivateKey.generate()
    stores = [SqliteHeadStore(tmp_path / "log.db", new=True) for _ in range(3)]
    logs = [SmallLog(store, FileObjectStore(tmp_path / "public"), key=key) for store in stores]
    logs[0].create()
    answers: list[Appended] = []

    def write(number: int) -> None:
        for step in range(5):
            answers.extend(logs[number].append(*(b"%d-%d-%d" % (number, step, item) for item in range(7))))

    threads = [threading.Thread(target=write, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    leaves = {answer.index: answer.leaf for answer in answers}
    logs[0].check([leaves[index] for index in range(105)])
    for store in stores:
        store.close()


class _PowerCut(Exception):
    pass


class _CutObjects:
    """An object store that loses power before the step with a given number."""

    def __init__(self, inner: MemoryObjectStore, steps: list[int]) -> None:
        self._inner = inner
        self._steps = steps

    def __getattr__(self, name):
        method = getattr(self._inner, name)
        if name in {"put", "sync", "replace", "delete_folder"}:

            def step(*arguments):
                _count_down(self._steps)
                return method(*arguments)

            return step
        return method


def _count_down(steps: list[int]) -> None:
    if steps[0] == 0:
        raise _PowerCut
    steps[0] -= 1


class _CutStore:
    """A head store that loses power before `set_applied`."""

    def __init__(self, inner: MemoryHeadStore, steps: list[int]) -> None:
        self._inner = inner
        self._steps = steps

    def __getattr__(self, name):
        method = getattr(self._inner, name)
        if name == "set_applied":

            def step(*arguments):
                _count_down(self._steps)
                return method(*arguments)

            return step
        return method


@pytest.mark.parametrize("cut", range(24))
def test_power_loss_at_any_step_of_publication_loses_nothing_and_needs_no_hand(cut):
    key = ed25519.Ed25519PrivateKey.generate()
    store, objects = MemoryHeadStore(), MemoryObjectStore()
    log = SmallLog(store, objects, key=key).create()
    leaves = leaves_of(540)
    steps = [cut]
    cutting = SmallLog(_CutStore(store, steps), _CutObjects(objects, steps), key=key)
    try:
        for start, end in itertools.pairwise((0, 3, 250, 256, 300, 540)):
            log.append(*leaves[start:end])
            cutting.publisher.publish()
        done = 540
    except _PowerCut:
        done = end
    objects.lose_power()
    restarted = SmallLog(store, objects, key=key)
    restarted.publisher.recover()
    restarted.check(leaves[:done])
    restarted.check(leaves[:done], read=restarted.published_tile)
    assert restarted.objects.get("checkpoint") == restarted.reader.checkpoint()


def test_partial_tiles_of_a_pass_that_the_power_cut_are_mended_though_their_size_is_not_published(
    log, monkeypatch
):
    leaves = leaves_of(600)
    for start, end in ((0, 20), (20, 300), (300, 600)):
        log.append(*leaves[start:end])
        if end == 20:
            log.publisher.publish()
    torn = ("tile/0/000.p/30", "tile/entries/000.p/30", "tile/0/001.p/44", "tile/1/000.p/1", "tile/0/002.p/9")
    for name in torn:
        log.objects.put(name, bytes(64))
    sound = log.objects.get("tile/0/000.p/20")
    monkeypatch.setattr(publisher, "collect_partials", lambda *_: None)  # it dies before that
    log.publisher.recover()
    hashes = [leaf_hash(leaf) for leaf in leaves]
    assert log.objects.get("tile/0/000.p/20") == sound
    assert log.objects.get("tile/0/000.p/30") == b"".join(hashes[:30])
    assert parse_entry_bundle(log.objects.get("tile/entries/000.p/30")) == leaves[:30]
    assert log.objects.get("tile/0/001.p/44") == b"".join(hashes[256:300])
    assert log.objects.get("tile/1/000.p/1") == tree_hash(hashes[:256])
    assert log.objects.get("tile/0/002.p/9") == b"".join(hashes[512:521])


def test_an_unknown_outcome_of_the_commit_ends_the_process_and_answers_nobody():
    log = SmallLog(MemoryHeadStore(), MemoryObjectStore()).create()
    real = log.store.commit

    def commit_then_fail(*arguments):
        real(*arguments)
        raise StorageFailed("the sync failed")

    log.store.commit = commit_then_fail
    sequencer = log.sequencer()

    async def run():
        future = sequencer.append(hashlib.sha256(b"k").digest(), fixed_leaf(b"k"))
        sequencer.start()
        await asyncio.to_thread(sequencer._thread.join, 10)
        assert not future.done()

    asyncio.run(run())
    assert [type(failure) for failure in log.failures] == [StorageFailed]
    del log.store.commit
    (again,) = log.append(b"k")
    assert (again.index, again.duplicate) == (0, True)


def test_a_head_that_moved_is_read_again():
    log = SmallLog(MemoryHeadStore(), MemoryObjectStore()).create()
    real, refusals = log.store.commit, [2]

    def commit(*arguments):
        if refusals[0]:
            refusals[0] -= 1
            raise Conflict("moved")
        real(*arguments)

    log.store.commit = commit
    (answer,) = log.append(b"one")
    assert answer.index == 0


def test_a_log_behind_its_published_checkpoint_does_not_start(log):
    log.append(*leaves_of(3))
    log.publisher.publish()
    ahead = log.signer.sign(9, b"r" * 32, 0)
    log.objects.replace("checkpoint", ahead)
    with pytest.raises(TrustError) as refused:
        log.publisher.recover()
    assert refused.value.code == "log_behind_its_checkpoint"


def test_a_log_that_disagrees_with_its_published_checkpoint_does_not_start(log):
    log.append(*leaves_of(5))
    log.publisher.publish()
    log.objects.replace("checkpoint", log.signer.sign(3, b"r" * 32, 0))
    with pytest.raises(TrustError) as refused:
        log.publisher.recover()
    assert refused.value.code == "log_inconsistent"


def test_a_publisher_overtaken_by_another_writes_the_same_bytes(log):
    leaves = leaves_of(300)
    log.append(*leaves)
    old = log.store.snapshot()
    log.publisher.publish()
    before = log.objects.get("tile/0/000"), log.objects.get("tile/entries/000")
    log.append(b"later")
    log.publisher.publish()
    slow = log.publisher
    slow._store = _Frozen(log.store, old)
    slow.publish()
    assert log.signer.verify(log.objects.get("checkpoint")).size == 301
    assert log.store.head().applied == 301
    assert (log.objects.get("tile/0/000"), log.objects.get("tile/entries/000")) == before
    log.check([*leaves, b"later"])


class _Frozen:
    """A store whose snapshot is an old one."""

    def __init__(self, inner, snapshot) -> None:
        self._inner = inner
        self._snapshot = snapshot

    def snapshot(self, _max_entries=None):
        return self._snapshot

    def __getattr__(self, name):
        return getattr(self._inner, name)
