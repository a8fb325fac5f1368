"""A mirror holds nothing that its log did not sign, whatever the source shows and whenever it is cut."""

import itertools
import random

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519
from tests.support.small_log import SmallLog

from hallmark.adapters.storage.memory import MemoryHeadStore, MemoryObjectStore
from hallmark.core.merkle import leaf_hash
from hallmark.core.tiles import bundles_between, entry_bundle, tiles_between
from hallmark.errors import HallmarkError, InvalidProof, InvalidSignature, NotFound, RemoteError, TrustError
from hallmark.tiledlog import mirror
from hallmark.tiledlog.fsck import check_mirror
from hallmark.tiledlog.mirror import Mirror, MirrorUpdate
from hallmark.tiledlog.objects import tile_path
from hallmark.tiledlog.records import TLOG_TILES

KEY = ed25519.Ed25519PrivateKey.generate()


class Shown:
    """A source that shows a log's objects, some of them changed; remembers what was asked for."""

    def __init__(self, objects: MemoryObjectStore) -> None:
        self.objects = objects
        self.changed: dict[str, bytes | None] = {}
        self.asked: list[str] = []

    def get(self, path: str) -> bytes:
        self.asked.append(path)
        if path in self.changed:
            data = self.changed[path]
            if data is None:
                raise NotFound(path)
            return data
        return self.objects.get(path)


def new_log(key=KEY) -> SmallLog:
    return SmallLog(MemoryHeadStore(), MemoryObjectStore(), key=key).create()


def grow(log: SmallLog, size: int, text: bytes = b"leaf") -> None:
    """Append and publish up to this size."""
    start = log.store.head().size
    log.append(*(b"%b %d" % (text, index) for index in range(start, size)))
    while log.publisher.publish():
        pass


def update(source, target, log: SmallLog, *, seen: list | None = None) -> MirrorUpdate:
    def on_records(start: int, records) -> None:
        if seen is not None:
            seen.append((start, len(records)))

    mirror = Mirror(source, target, TLOG_TILES, log.signer.verify, on_records=on_records)
    return mirror.update(source.get("checkpoint"), lambda _done, _total: None)


def check(target: MemoryObjectStore, log: SmallLog, size: int) -> None:
    report = check_mirror(
        target,
        TLOG_TILES,
        log.signer.verify,
        progress=lambda _done, _total: None,
        check_record=lambda _index, _record: None,
    )
    assert (report.size, report.findings) == (size, ())


def same_objects(log: SmallLog, target: MemoryObjectStore, size: int) -> None:
    for tile in (*bundles_between(0, size), *tiles_between(0, size)):
        path = tile_path(tile, "entries")
        assert target.get(path) == log.objects.get(path)


@pytest.mark.parametrize("size", [0, 1, 255, 256, 257, 600, 1000])
def test_a_mirror_is_the_log(size):
    log, target, seen = new_log(), MemoryObjectStore(), []
    grow(log, size)
    log.publisher.recover()
    done = update(Shown(log.objects), target, log, seen=seen)
    assert (done.origin, done.old_size, done.size) == ("log.example", 0, size)
    assert sum(count for _, count in seen) == size
    check(target, log, size)
    same_objects(log, target, size)


def test_partial_tiles_that_a_cut_copy_left_torn_are_mended(monkeypatch):
    log, target = new_log(), MemoryObjectStore()
    grow(log, 100)
    log.publisher.recover()
    update(Shown(log.objects), target, log)
    for name in ("tile/0/000.p/150", "tile/entries/000.p/150", "tile/0/001.p/20", "tile/entries/001.p/20"):
        target.put(name, bytes(64))
    grow(log, 300)
    log.publisher.recover()
    monkeypatch.setattr(mirror, "collect_partials", lambda *_: None)  # it is cut before that
    update(Shown(log.objects), target, log)
    assert target.get("tile/0/000.p/150") == target.get("tile/0/000")[: 150 * 32]
    check(target, log, 300)


def test_a_mirror_of_three_levels_is_the_log():
    log, target = new_log(), MemoryObjectStore()
    for size in range(8_000, 72_001, 8_000):
        head = log.store.head()
        if head.size < size:
            grow_at_once(log, size)
    update(Shown(log.objects), target, log)
    check(target, log, 72_000)


def grow_at_once(log: SmallLog, size: int) -> None:
    import hashlib

    from hallmark.tiledlog.commit import Waiting, build_commit, fixed_leaf

    with log.store.transaction() as transaction:
        head = transaction.head()
        leaves = [b"leaf %d" % index for index in range(head.size, size)]
        waiting = [Waiting(hashlib.sha256(leaf).digest(), fixed_leaf(leaf)) for leaf in leaves]
        commit = build_commit(head, waiting, {}, now=log.now, signer=log.signer)
        transaction.commit(head, commit.staged, commit.edge, commit.keys)
    log.publisher.publish()


def test_an_update_fetches_only_what_is_new():
    log, target = new_log(), MemoryObjectStore()
    source = Shown(log.objects)
    for old, new in itertools.pairwise((0, 100, 600, 600, 601, 900)):
        grow(log, new)
        source.asked.clear()
        done = update(source, target, log)
        assert (done.old_size, done.size) == (old, new)
        check(target, log, new)
        assert not {"tile/entries/000", "tile/0/000"} & set(source.asked) or old < 256
    assert target.names("tile/0/002.p") == ()


def test_an_unchanged_log_costs_one_request():
    log, target = new_log(), MemoryObjectStore()
    grow(log, 300)
    source = Shown(log.objects)
    update(source, target, log)
    source.asked.clear()
    assert update(source, target, log).fetched == 0
    assert source.asked == ["checkpoint"]


def test_a_full_tile_serves_where_it_has_replaced_the_partial_one():
    log, target = new_log(), MemoryObjectStore()
    grow(log, 300)
    note = log.objects.get("checkpoint")
    grow(log, 512)
    source = Shown(log.objects)
    source.changed["checkpoint"] = note
    update(source, target, log)
    check(target, log, 300)


def refused(source, target, log, kind: type[HallmarkError], code: str) -> None:
    before = dict(target._objects)
    with pytest.raises(kind) as error:
        update(source, target, log)
    assert error.value.code == code
    assert before.get("checkpoint") == target._objects.get("checkpoint")


def test_a_source_that_went_back_is_refused():
    log, target = new_log(), MemoryObjectStore()
    grow(log, 300)
    old = log.objects.get("checkpoint")
    grow(log, 400)
    source = Shown(log.objects)
    update(source, target, log)
    source.changed["checkpoint"] = old
    refused(source, target, log, TrustError, "log_went_back")
    check(target, log, 400)


@pytest.mark.parametrize(
    ("size", "forked"), [(300, 300), (300, 301), (300, 900), (256, 700), (1, 2), (511, 513)]
)
def test_a_fork_is_refused_before_anything_of_it_is_copied(size, forked):
    log, fork, target = new_log(), new_log(), MemoryObjectStore()
    grow(log, size)
    update(Shown(log.objects), target, log)
    before = dict(target._objects)
    grow(fork, forked, b"fork")
    refused(Shown(fork.objects), target, log, TrustError, "log_inconsistent")
    assert dict(target._objects) == before


def test_a_checkpoint_of_another_key_is_refused():
    log, other, target = new_log(), new_log(ed25519.Ed25519PrivateKey.generate()), MemoryObjectStore()
    grow(other, 10)
    refused(Shown(other.objects), target, log, InvalidSignature, "unsigned_note")


OBJECTS = [
    tile_path(tile, "entries")
    for tile in (*bundles_between(0, 700), *tiles_between(0, 700))
    if tile.index < 3
]


@pytest.mark.parametrize("path", OBJECTS)
@pytest.mark.parametrize("old", [0, 300])
def test_a_tampered_object_is_refused_and_the_mirror_stays_sound(path, old):
    log, target = new_log(), MemoryObjectStore()
    grow(log, old)
    log.publisher.recover()
    source = Shown(log.objects)
    update(source, target, log)
    grow(log, 700)
    data = log.objects.get(path)
    at = random.Random(path).randrange(len(data))
    source.changed[path] = data[:at] + bytes([data[at] ^ 4]) + data[at + 1 :]
    if path in {"tile/entries/000", "tile/0/000"} and old == 300:
        update(source, target, log)  # the mirror has them already, and never asks again
        check(target, log, 700)
        return
    refused(source, target, log, InvalidProof, "tiles_differ")
    check(target, log, old)
    source.changed.clear()
    update(source, target, log)
    check(target, log, 700)


@pytest.mark.parametrize("path", OBJECTS)
def test_a_missing_object_is_the_source_s_fault(path):
    log, target = new_log(), MemoryObjectStore()
    grow(log, 700)
    source = Shown(log.objects)
    source.changed[path] = None
    with pytest.raises(RemoteError) as error:
        update(source, target, log)
    assert error.value.code == "object_missing"
    assert path in error.value.message


@pytest.mark.parametrize("data", [b"", b"x" * 31, b"x" * 32])
def test_a_tile_that_was_cut_is_refused(data):
    log, target = new_log(), MemoryObjectStore()
    grow(log, 700)
    source = Shown(log.objects)
    source.changed["tile/0/000"] = data
    refused(source, target, log, InvalidProof, "tiles_differ")


def test_a_bundle_of_more_entries_than_a_tile_has_is_refused():
    log, target = new_log(), MemoryObjectStore()
    grow(log, 256)
    source = Shown(log.objects)
    source.changed["tile/entries/000"] = bytes(2 * 1_000_000)
    refused(source, target, log, InvalidProof, "tiles_differ")


def test_entries_forged_together_with_their_tile_are_refused():
    log, target = new_log(), MemoryObjectStore()
    grow(log, 700)
    leaves = [b"leaf %d" % index for index in range(256)]
    leaves[9] = b"forged"
    source = Shown(log.objects)
    source.changed["tile/entries/000"] = entry_bundle(leaves)
    source.changed["tile/0/000"] = b"".join(map(leaf_hash, leaves))
    refused(source, target, log, InvalidProof, "tiles_differ")


class _Cut(Exception):
    pass


class _CutObjects:
    """A mirror's folder whose machine loses power before the step with a given number."""

    def __init__(self, inner: MemoryObjectStore, steps: int) -> None:
        self._inner = inner
        self._steps = steps

    def __getattr__(self, name):
        method = getattr(self._inner, name)
        if name not in {"put", "sync", "replace", "delete_folder"}:
            return method

        def step(*arguments):
            if self._steps == 0:
                raise _Cut
            self._steps -= 1
            return method(*arguments)

        return step


@pytest.mark.parametrize("cut", range(18))
def test_a_copy_that_was_cut_at_any_step_is_sound_and_goes_on(cut):
    log, target = new_log(), MemoryObjectStore()
    grow(log, 300)
    source = Shown(log.objects)
    update(source, target, log)
    grow(log, 1100)
    finished = True
    try:
        update(source, _CutObjects(target, cut), log)
    except _Cut:
        finished = False
    target.lose_power()
    check(target, log, 1100 if finished or target.get("checkpoint") == log.objects.get("checkpoint") else 300)
    update(source, target, log)
    check(target, log, 1100)
    same_objects(log, target, 1100)


def test_what_was_copied_before_a_cut_is_not_fetched_again():
    log, target = new_log(), MemoryObjectStore()
    grow(log, 1100)
    source = Shown(log.objects)
    with pytest.raises(_Cut):
        update(source, _CutObjects(target, 8), log)
    source.asked.clear()
    update(source, target, log)
    assert "tile/0/000" not in source.asked
    check(target, log, 1100)


def test_a_torn_object_of_the_mirror_is_fetched_again():
    log, target = new_log(), MemoryObjectStore()
    grow(log, 1100)
    source = Shown(log.objects)
    with pytest.raises(_Cut):
        update(source, _CutObjects(target, 12), log)
    for path in [path for path in target._objects if path.startswith("tile/")]:
        target.put(path, target.get(path)[:40])
    update(source, target, log)
    check(target, log, 1100)
