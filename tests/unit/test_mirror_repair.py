"""A mirror is verified, and repaired, in turns: what is lost or damaged is fetched, and nothing else."""

import pytest
from tests.support.small_log import SmallLog

from hallmark.adapters.storage.memory import MemoryHeadStore, MemoryObjectStore
from hallmark.core.checkpoint import Checkpoint
from hallmark.errors import InvalidProof, TrustError
from hallmark.tiledlog.fsck import Report, check_mirror
from hallmark.tiledlog.mirror import Mirror, MirrorRepair
from hallmark.tiledlog.records import TLOG_TILES

SIZE = 600


class Source:
    """The log's read side; notes what is asked for."""

    def __init__(self, objects: MemoryObjectStore) -> None:
        self.objects = objects
        self.changed: dict[str, bytes] = {}
        self.asked: list[str] = []

    def get(self, path: str) -> bytes:
        self.asked.append(path)
        return self.changed.get(path) or self.objects.get(path)


class Copied:
    def __init__(self, size: int = SIZE) -> None:
        self.log = SmallLog(MemoryHeadStore(), MemoryObjectStore()).create()
        for start in range(0, size, 8000):
            self.log.append(*(b"leaf %d" % number for number in range(start, min(start + 8000, size))))
        self.log.publisher.recover()
        self.source, self.target = Source(self.log.objects), MemoryObjectStore()
        self.note = self.log.objects.get("checkpoint")
        self.told: list[tuple[int, int]] = []
        self.mirror().update(self.note, self._tell)
        self.source.asked.clear()

    def _tell(self, done: int, total: int) -> None:
        self.told.append((done, total))

    def mirror(self) -> Mirror:
        return Mirror(
            self.source, self.target, TLOG_TILES, self.log.signer.verify, on_records=lambda *_: None
        )

    def repair(self, **turn: int) -> MirrorRepair:
        return self.mirror().repair(self.note, self._tell, **turn)

    def report(self) -> Report:
        return check_mirror(
            self.target,
            TLOG_TILES,
            self.log.signer.verify,
            progress=lambda *_: None,
            check_record=lambda *_: None,
        )

    def is_sound(self) -> bool:
        return self.report().count == 0


@pytest.fixture
def copied():
    return Copied()


def damage(copied: Copied, *names: str) -> None:
    for name in names:
        data = copied.target.get(name)
        copied.target.put(name, data[:-1] + bytes([data[-1] ^ 1]))


DAMAGED = ("tile/entries/001", "tile/0/000")


def test_a_sound_mirror_is_asked_for_nothing(copied):
    assert copied.told == [(256, SIZE), (512, SIZE), (SIZE, SIZE)]
    assert copied.repair() == MirrorRepair(verified=3, fetched=0, next=0)
    assert copied.told == [(256, SIZE), (512, SIZE), (SIZE, SIZE)] * 2
    assert copied.source.asked == []


def test_what_is_damaged_or_lost_is_fetched_again_and_durable(copied):
    damage(copied, *DAMAGED)
    copied.target.delete("tile/entries/000")
    assert not copied.is_sound()
    copied.target = noting = Noting(copied.target)
    assert copied.repair() == MirrorRepair(verified=3, fetched=3, next=0)
    assert noting.calls[-1] == "sync"
    assert sorted(copied.source.asked) == sorted([*DAMAGED, "tile/entries/000"])
    assert copied.is_sound()


@pytest.mark.parametrize("name", ["tile/0/002.p/88", "tile/1/000.p/2"])
@pytest.mark.parametrize("how", ["damaged", "cut", "lost"])
def test_a_right_edge_that_does_not_lead_to_the_root_is_fetched(copied, name, how):
    if how == "lost":
        copied.target.delete_folder(name.rpartition("/")[0])
    elif how == "cut":
        copied.target.put(name, copied.target.get(name)[:31])
    else:
        damage(copied, name)
    assert copied.repair().fetched == 1
    assert copied.is_sound()


@pytest.mark.parametrize(
    ("first", "count", "verified", "following", "fetched"),
    [(0, 1, 1, 1, 1), (1, 1, 1, 2, 1), (2, 1, 1, 0, 0), (1, 9, 2, 0, 1), (3, 1, 1, 1, 1), (4, 1, 1, 1, 1)],
)
def test_a_turn_goes_so_far_and_says_where_the_next_begins(
    copied, first, count, verified, following, fetched
):
    damage(copied, *DAMAGED)
    done = copied.repair(first=first, count=count)
    assert (done.verified, done.next, done.fetched) == (verified, following, fetched)


def test_of_an_empty_log_nothing_is_asked():
    copied = Copied(0)
    assert copied.repair() == MirrorRepair(verified=0, fetched=0, next=0)
    assert copied.source.asked == []


@pytest.mark.parametrize("data", [b"x" * 31, b"x" * (32 * 88)])
def test_nothing_is_taken_from_a_source_whose_edge_is_not_the_tree_s(copied, data):
    name = "tile/0/002.p/88"
    damage(copied, name)
    copied.source.changed[name] = data
    before = copied.target.get(name)
    with pytest.raises(InvalidProof) as refused:
        copied.repair()
    assert refused.value.code == "tiles_differ"
    assert copied.target.get(name) == before


def test_a_bundle_that_the_source_has_damaged_is_fetched_once_and_not_written(copied):
    name = "tile/entries/001"
    copied.target.delete(name)
    copied.source.changed[name] = copied.log.objects.get("tile/entries/000")
    with pytest.raises(InvalidProof) as refused:
        copied.repair()
    assert (refused.value.code, copied.source.asked.count(name)) == ("tiles_differ", 1)
    assert "001" not in copied.target.names("tile/entries")


def test_a_checkpoint_of_another_history_is_told_apart(copied):
    mirror = copied.mirror()
    stated = copied.log.signer.verify(copied.note)
    mirror.check_extends(stated, copied.note)
    mirror.check_extends(Checkpoint(stated.origin, 300, copied.log.reader.root(300)), copied.note)
    for size, code in ((300, "log_inconsistent"), (SIZE, "log_inconsistent"), (SIZE + 1, "log_went_back")):
        with pytest.raises(TrustError) as refused:
            mirror.check_extends(Checkpoint(stated.origin, size, bytes(32)), copied.note)
        assert refused.value.code == code


def test_damaged_tiles_are_not_taken_for_another_history(copied):
    """A fork is an accusation: it takes a proof that the source's tree is another one."""
    root = copied.log.reader.root(300)
    tile = copied.log.objects.get("tile/0/001")
    copied.source.changed["tile/0/001"] = bytes(32) + tile[32:]
    with pytest.raises(InvalidProof) as refused:
        copied.mirror().check_extends(Checkpoint("log.example", 300, root), copied.note)
    assert refused.value.code == "tiles_differ"


class Noting:
    """Objects of which it is noted how many wait for their sync, and what else is called."""

    def __init__(self, inner: MemoryObjectStore) -> None:
        self._inner = inner
        self.calls: list[str] = []
        self.waiting = self.most = 0

    def __getattr__(self, name):
        def noted(*arguments):
            self.calls.append(name)
            self.waiting = 0 if name == "sync" else self.waiting + (name == "put")
            self.most = max(self.most, self.waiting)
            return getattr(self._inner, name)(*arguments)

        return noted


def test_what_a_copy_that_was_cut_left_unfinished_is_discarded_before_anything_is_written(copied):
    copied.target = Noting(MemoryObjectStore())
    copied.mirror().update(copied.note, copied._tell)
    calls = copied.target.calls
    assert calls.index("discard_unfinished") < calls.index("put")


@pytest.fixture(scope="module")
def large():
    """A log of three levels of tiles."""
    return Copied(66_000)


def test_so_many_objects_wait_for_their_sync(large):
    """Each holds a file descriptor."""
    noting = Noting(MemoryObjectStore())
    Mirror(large.source, noting, TLOG_TILES, large.log.signer.verify, on_records=lambda *_: None).update(
        large.note, lambda *_: None
    )
    assert noting.most == 256


def test_a_turn_verifies_the_tiles_on_the_way_to_its_bundles_and_no_others(large):
    damage(large, "tile/2/000.p/1", "tile/1/000", "tile/0/100", "tile/0/101", "tile/0/200")
    report = large.report()
    assert {(item.code, item.where) for item in report.findings} >= {
        ("tile_differs", "tile/1/000, hash 255"),
        ("tile_differs", "tile/0/100, hash 255"),
    }
    assert large.repair(first=100, count=1).fetched == 3
    left = [item.where for item in large.report().findings]
    assert left == ["tile/0/101, hash 255", "tile/0/200, hash 255"]
    assert large.repair(first=257, count=1) == MirrorRepair(verified=1, fetched=0, next=0)
    assert large.repair().fetched == 2
    assert large.is_sound()


def test_a_damaged_tile_between_two_sound_levels_is_the_one_to_blame(large):
    damage(large, "tile/1/000")
    (finding,) = large.report().findings
    assert (finding.code, finding.where) == ("tile_differs", "tile/1/000, hash 255")
    assert "neither" not in finding.what
    assert large.repair().fetched == 1
