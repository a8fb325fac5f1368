"""The dedup index on disk: every key is found, whatever was merged, cut short or damaged."""

import hashlib
import os
import random
import sqlite3
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.contract.test_head_store import HEAD, commit, find, key

from hallmark.adapters.storage import key_index, key_rebuild, key_run
from hallmark.adapters.storage.key_filter import KeyFilter
from hallmark.adapters.storage.key_run import (
    RECORD_SIZE,
    KeyRun,
    RunMerge,
    RunName,
    record,
)
from hallmark.adapters.storage.sqlite import SqliteHeadStore
from hallmark.errors import ConfigurationError, Overloaded
from hallmark.ports import StorageFailed


def write_run(folder, start: int, keys: list[bytes]) -> RunName:
    name = RunName(start, start + len(keys))
    key_run.write_run(folder, name, sorted(record(item, index) for index, item in enumerate(keys, start)))
    return name


keys_sets = st.lists(st.binary(min_size=32, max_size=32), unique=True, min_size=1, max_size=200)


@settings(max_examples=60, deadline=None)
@given(keys_sets, st.binary(min_size=32, max_size=32))
def test_a_run_finds_every_key_it_was_given_and_no_other(tmp_path_factory, keys, other):
    folder = tmp_path_factory.mktemp("run")
    run = KeyRun(folder, write_run(folder, 7, keys))
    assert [run.find(item) for item in keys] == list(range(7, 7 + len(keys)))
    assert (run.find(other) is None) == (other not in keys)
    assert dict(run.rows()) == {item: index for index, item in enumerate(keys, 7)}
    assert run.complaint() is None
    run.close()


def test_a_filter_lets_every_key_of_its_run_through_and_few_others():
    source = random.Random(2)
    keys, others = ([source.randbytes(32) for _ in range(2000)] for _ in range(2))
    made = KeyFilter(len(keys))
    made.add(b"".join(record(item, index) for index, item in enumerate(keys)), RECORD_SIZE)
    read = KeyFilter(len(keys), made.to_bytes())
    assert all(read.may_hold(item) for item in keys)
    assert sum(read.may_hold(item) for item in others) < len(others) // 6


def test_keys_that_begin_alike_are_told_apart(tmp_path):
    """Callers choose keys: hundreds may share the bytes by which a block is found."""
    keys = [b"\x42" * 8 + index.to_bytes(24, "big") for index in range(500)]
    keys += [bytes(32), b"\xff" * 32, b"\x42" * 7 + b"\x41" + bytes(24), b"\x42" * 7 + b"\x43" + bytes(24)]
    random.Random(1).shuffle(keys)
    run = KeyRun(tmp_path, write_run(tmp_path, 0, keys))
    assert [run.find(item) for item in keys] == list(range(len(keys)))
    assert run.find(b"\x42" * 8 + (500).to_bytes(24, "big")) is None
    assert run.find(b"\x41" * 32) is None
    run.close()


def test_a_key_across_two_records_is_none_of_theirs(tmp_path):
    """The end of one record and the beginning of the next may read like a key."""
    first, second = b"\x01" * 32, b"\x02" * 32
    across = record(first, 0)[10:] + record(second, 1)[:4]
    run = KeyRun(tmp_path, write_run(tmp_path, 0, [first, second]))
    assert len(across) == 32
    assert run.find(across) is None
    run.close()


@settings(max_examples=40, deadline=None)
@given(st.lists(keys_sets, min_size=2, max_size=5), st.integers(1, 300))
def test_merging_keeps_every_key_whatever_the_size_of_a_step(tmp_path_factory, groups, step):
    folder = tmp_path_factory.mktemp("merge")
    names, expected, start = [], {}, 0
    for group in groups:
        fresh = [item for item in group if item not in expected] or [os.urandom(32)]
        names.append(write_run(folder, start, fresh))
        expected |= {item: index for index, item in enumerate(fresh, start)}
        start += len(fresh)
    merge = RunMerge(folder, names)
    while not merge.step(step):
        pass
    run = KeyRun(folder, merge.name)
    assert list(run.rows()) == sorted(expected.items())
    assert run.complaint() is None
    assert [run.find(item) for item in expected] == list(expected.values())
    run.close()


def test_an_abandoned_merge_leaves_nothing_but_what_was_there(tmp_path):
    names = [write_run(tmp_path, start, [os.urandom(32) for _ in range(100)]) for start in (0, 100)]
    before = sorted(path.name for path in tmp_path.iterdir())
    merge = RunMerge(tmp_path, names)
    assert not merge.step(10)
    merge.abandon()
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_a_run_made_anew_from_parts_is_the_same_file(tmp_path, monkeypatch):
    monkeypatch.setattr(key_rebuild, "PART_KEYS", 64)
    monkeypatch.setattr(key_rebuild, "_MERGE_RECORDS", 50)
    keys = [os.urandom(32) for _ in range(300)]
    name = write_run(tmp_path, 40, keys)
    path = tmp_path / name.file
    before = path.read_bytes()
    path.write_bytes(b"damaged")
    key_rebuild.rebuild_run(tmp_path, name, zip(keys, range(40, 340), strict=True))
    assert path.read_bytes() == before
    assert [item.name for item in tmp_path.iterdir()] == [name.file]


@pytest.mark.parametrize("fails_at", [0, 10, 100, 299])
def test_a_run_that_cannot_be_made_anew_stays_as_it_was(tmp_path, monkeypatch, fails_at):
    monkeypatch.setattr(key_rebuild, "PART_KEYS", 64)
    name = write_run(tmp_path, 0, [os.urandom(32) for _ in range(300)])
    before = (tmp_path / name.file).read_bytes()

    def keys():
        yield from ((os.urandom(32), index) for index in range(fails_at))
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        key_rebuild.rebuild_run(tmp_path, name, keys())
    assert [item.name for item in tmp_path.iterdir()] == [name.file]
    assert (tmp_path / name.file).read_bytes() == before


@pytest.fixture
def small_runs(monkeypatch):
    monkeypatch.setattr(key_index, "RUN_KEYS", 16)
    monkeypatch.setattr(key_index, "_MERGE_RECORDS", 5)
    monkeypatch.setattr(key_index, "_MERGES_PER_KEY", 0)


@pytest.fixture
def store(tmp_path):
    opened = SqliteHeadStore(tmp_path / "log.db", new=True)
    opened.create(HEAD)
    yield opened
    opened.close()


def names_of(store) -> list[tuple[int, int]]:
    return store._db.execute("SELECT start, end FROM key_run ORDER BY start").fetchall()


def files_of(tmp_path) -> set[str]:
    return {path.name for path in (tmp_path / "log.dedup").iterdir()}


def fill(store, size: int) -> None:
    """Commit up to `size` entries, five at a time, with passes of the publisher between and behind them."""
    while (start := store.head().size) < size:
        commit(store, start, min(start + 5, size))
        store.compact()
    settle(store)


def settle(store) -> None:
    """Let the publisher pass until it has nothing left to merge."""
    before = None
    while (names := names_of(store)) != before or store._keeper._merge is not None:
        before = names
        store.compact()


def check_keys(store, size: int) -> None:
    asked = [key(index) for index in range(size + 10)]
    found = find(store, asked)
    assert {item: place.index for item, place in found.items()} == {asked[at]: at for at in range(size)}


def test_keys_are_found_in_recent_rows_and_in_runs_of_every_size(store, tmp_path, small_runs):
    fill(store, 255)
    check_keys(store, 255)
    names = names_of(store)
    assert names[0][0] == 0
    assert max(end - start for start, end in names) >= 64  # runs were merged
    assert files_of(tmp_path) == {RunName(*name).file for name in names}
    rows = store._db.execute("SELECT start FROM recent ORDER BY start").fetchall()
    assert not rows or rows[0][0] >= names[-1][1]


def test_the_number_of_runs_grows_with_the_logarithm_of_the_log(store, small_runs):
    for size in (200, 1000, 2000):
        fill(store, size)
        assert len(names_of(store)) <= 3 * (size // 16).bit_length() / 2 + 4


def test_another_process_sees_runs_that_were_merged_meanwhile(store, tmp_path, small_runs):
    other = SqliteHeadStore(tmp_path / "log.db")
    fill(store, 30)
    check_keys(other, 30)
    fill(store, 300)
    check_keys(other, 300)
    check_keys(store, 300)
    other.close()


def test_writers_and_the_publisher_do_not_disturb_each_other(store, tmp_path, small_runs):
    stop = threading.Event()
    failures: list[BaseException] = []

    def publish() -> None:
        tidying = SqliteHeadStore(tmp_path / "log.db")
        try:
            while not stop.is_set():
                tidying.compact()
        except Exception as error:  # noqa: BLE001  the test tells of it
            failures.append(error)
        tidying.close()

    thread = threading.Thread(target=publish)
    thread.start()
    other = SqliteHeadStore(tmp_path / "log.db")
    for start in range(0, 600, 3):
        with store.transaction() as transaction:
            assert transaction.find([key(start), key(start + 1)]) == {}
        commit(store, start, start + 3)
        found = find(other, [key(start), key(start // 2)])
        assert {place.index for place in found.values()} == {start, start // 2}
    stop.set()
    thread.join()
    assert failures == []
    check_keys(store, 600)
    other.close()


@pytest.mark.parametrize("passes", range(0, 60, 3))
def test_a_publisher_that_dies_at_any_pass_leaves_nothing_in_the_way(store, tmp_path, small_runs, passes):
    for start in range(0, 150, 5):
        commit(store, start, start + 5)
    dying = SqliteHeadStore(tmp_path / "log.db")
    for _ in range(passes):
        dying.compact()
    # It ends here, with a merge under way: its unfinished file stays.
    fill(store, 200)
    check_keys(store, 200)
    assert files_of(tmp_path) == {RunName(*name).file for name in names_of(store)}
    dying.close()


def test_a_run_whose_transaction_was_lost_is_made_again(store, tmp_path, small_runs):
    for start in range(0, 20, 5):
        commit(store, start, start + 5)
    keeper = key_index.RunKeeper(tmp_path / "log.db")
    assert keeper.advance(store._db) is not None  # durable, and never put in its place
    assert names_of(store) == []
    fill(store, 40)
    check_keys(store, 40)
    assert files_of(tmp_path) == {RunName(*name).file for name in names_of(store)}


def test_files_that_were_replaced_and_not_deleted_are_deleted_later(store, tmp_path, small_runs):
    fill(store, 40)
    stray = tmp_path / "log.dedup" / "keys-900-950.run"
    stray.write_bytes(b"left by a process that died")
    again = SqliteHeadStore(tmp_path / "log.db")
    again.compact()
    assert not stray.exists()
    check_keys(again, 40)
    again.close()


def test_a_disk_that_takes_no_run_costs_no_key_and_no_open_file(store, tmp_path, small_runs):
    for start in range(0, 40, 5):
        commit(store, start, start + 5)
    (tmp_path / "log.dedup").write_bytes(b"in the way of the folder")
    descriptors = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        store._next_keeping = 0.0
        with pytest.raises(OSError, match=r"log\.dedup"):
            store.compact()
    assert len(os.listdir("/proc/self/fd")) == descriptors
    check_keys(store, 40)
    (tmp_path / "log.dedup").unlink()
    store._next_keeping = 0.0
    fill(store, 60)
    check_keys(store, 60)
    assert names_of(store)


def test_a_database_that_takes_no_change_of_runs_goes_on_when_mended(store, tmp_path, small_runs):
    for start in range(0, 20, 5):
        commit(store, start, start + 5)
    store._db.execute("PRAGMA query_only=1")
    store._next_compact = float("inf")
    with pytest.raises(Overloaded):
        store.compact()
    store._db.execute("PRAGMA query_only=0")
    store._next_keeping = 0.0
    fill(store, 40)
    check_keys(store, 40)


@pytest.mark.parametrize("damage", ["missing", "cut", "empty"])
def test_a_log_whose_index_has_lost_a_file_does_not_start(store, tmp_path, small_runs, damage):
    fill(store, 60)
    path = tmp_path / "log.dedup" / RunName(*names_of(store)[0]).file
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-1] if damage == "cut" else b"")
    with pytest.raises(ConfigurationError, match=path.name) as refused:
        SqliteHeadStore(tmp_path / "log.db")
    assert refused.value.code == "damaged_state"
    assert "log reindex" in refused.value.hint


def test_a_file_of_other_entries_is_not_taken_for_a_run(store, tmp_path, small_runs):
    fill(store, 60)
    name = RunName(*names_of(store)[0])
    path = tmp_path / "log.dedup" / name.file
    data = bytearray(path.read_bytes())
    data[8:16] = (1).to_bytes(8, "big")
    path.write_bytes(data)
    with pytest.raises(StorageFailed, match="does not begin"):
        KeyRun(path.parent, name)


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM recent WHERE start = (SELECT min(start) FROM recent)",
        "DELETE FROM recent WHERE start = (SELECT max(start) FROM recent)",
        "UPDATE recent SET keys = x'00' WHERE start = (SELECT max(start) FROM recent)",
        "UPDATE recent SET keys = 'text' WHERE start = (SELECT max(start) FROM recent)",
    ],
)
def test_an_index_that_does_not_reach_to_the_head_is_not_used(store, tmp_path, statement):
    for start in (0, 5, 10):
        commit(store, start, start + 5)
    with sqlite3.connect(tmp_path / "log.db") as db:
        assert db.execute(statement).rowcount == 1
    db.close()
    with pytest.raises(StorageFailed), store.transaction() as transaction:
        transaction.find([key(1)])


def test_a_commit_has_one_key_of_the_right_size_for_each_entry(store):
    for keys in ([(b"short", 0)], [(hashlib.sha256().digest(), 1)]):
        with pytest.raises(ValueError, match="one key of 32 bytes"):
            key_index.insert_recent(store._db, 0, keys)
