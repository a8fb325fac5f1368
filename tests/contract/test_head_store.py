"""Every head store keeps the contract of `ports.HeadStore`."""

import hashlib
import os
import sqlite3
import subprocess
import sys
import threading
from contextlib import suppress

import msgspec
import pytest

from hallmark.adapters.storage import sqlite as sqlite_store
from hallmark.adapters.storage.memory import MemoryHeadStore
from hallmark.adapters.storage.sqlite import SqliteHeadStore
from hallmark.core.merkle import EMPTY_ROOT
from hallmark.errors import Conflict, NotFound, Overloaded
from hallmark.ports import LogHead, Place, StagedCommit, StorageFailed

HEAD = LogHead(0, EMPTY_ROOT, 1000, (), b"note 0", 0, ())


@pytest.fixture(params=["memory", "sqlite"])
def store(request, tmp_path):
    if request.param == "memory":
        yield MemoryHeadStore()
        return
    opened = SqliteHeadStore(tmp_path / "log.db", new=True)
    yield opened
    opened.close()


def staged(start: int, end: int) -> StagedCommit:
    hashes = b"".join(root(index) for index in range(start, end))
    return StagedCommit(start, end, 2000 + start, hashes, b"records", root(end), b"note %d" % end)


def root(size: int) -> bytes:
    return size.to_bytes(1 if size < 256 else 2, "big") * (32 if size < 256 else 16)


def key(index: int) -> bytes:
    return hashlib.sha256(b"key %d" % index).digest()


def commit(store, start: int, end: int) -> None:
    keys = [(key(index), index) for index in range(start, end)]
    with store.transaction() as transaction:
        transaction.commit(transaction.head(), staged(start, end), (root(end),), keys)


def find(store, keys):
    with store.transaction() as transaction:
        return transaction.find(keys)


def test_a_new_store_has_no_log(store):
    with pytest.raises(NotFound):
        store.head()


def test_a_log_is_created_once(store):
    store.create(HEAD)
    assert store.head() == HEAD
    with pytest.raises(Conflict):
        store.create(HEAD)


def test_a_commit_moves_head_staged_bytes_and_dedup_keys_together(store):
    store.create(HEAD)
    commit(store, 0, 3)
    head, rows = store.snapshot()
    assert (head.size, head.root, head.time, head.checkpoint) == (3, b"\x03" * 32, 2000, b"note 3")
    assert rows == (staged(0, 3),)
    assert find(store, [key(1), key(9)]) == {key(1): Place(1, 2000)}


def test_a_commit_on_a_moved_head_is_refused_and_leaves_nothing(store):
    store.create(HEAD)
    commit(store, 0, 3)
    with store.transaction() as transaction, pytest.raises(Conflict):
        transaction.commit(HEAD, staged(0, 5), (b"\x05" * 32,), [(key(100), 0)])
    assert store.head().size == 3
    assert find(store, [key(100)]) == {}


def test_an_abandoned_transaction_leaves_nothing(store):
    store.create(HEAD)
    with suppress(RuntimeError), store.transaction():
        raise RuntimeError
    commit(store, 0, 1)
    assert store.head().size == 1


def test_times_are_those_of_the_commit_of_an_entry(store):
    store.create(HEAD)
    commit(store, 0, 3)
    commit(store, 3, 5)
    assert [store.time_of(index) for index in range(5)] == [2000, 2000, 2000, 2003, 2003]


def test_applied_commits_are_dropped_and_others_stay(store):
    store.create(HEAD)
    commit(store, 0, 3)
    commit(store, 3, 5)
    store.set_applied(3, (b"e" * 32,))
    head, rows = store.snapshot()
    assert (head.applied, head.applied_edge) == (3, (b"e" * 32,))
    assert rows == (staged(3, 5),)
    assert find(store, [key(0)]) == {key(0): Place(0, 2000)}


def test_a_bounded_snapshot_takes_the_oldest_commits(store):
    store.create(HEAD)
    for start in range(0, 8, 2):
        commit(store, start, start + 2)
    _, rows = store.snapshot(3)
    assert [(row.start, row.end) for row in rows] == [(0, 2), (2, 4)]


def test_a_frozen_log_takes_no_commit(store):
    store.create(HEAD)
    commit(store, 0, 2)
    with store.transaction() as transaction:
        transaction.freeze(b"last note")
    assert store.head() == msgspec.structs.replace(store.head(), frozen=True, checkpoint=b"last note")
    with pytest.raises(Conflict):
        commit(store, 2, 3)
    assert store.head().size == 2


def test_threads_take_turns_on_memory():
    store = MemoryHeadStore()
    store.create(HEAD)

    def write():
        for _ in range(20):
            with store.transaction() as transaction:
                head = transaction.head()
                new = StagedCommit(
                    head.size, head.size + 1, head.time + 1, b"h" * 32, b"r", os.urandom(32), b"n"
                )
                transaction.commit(head, new, (), [(os.urandom(32), head.size)])

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.head().size == 80


_WRITER = """
import os, sys
from pathlib import Path
from hallmark.adapters.storage.sqlite import SqliteHeadStore
from hallmark.ports import StagedCommit
store = SqliteHeadStore(Path(sys.argv[1]))
for _ in range(25):
    with store.transaction() as transaction:
        head = transaction.head()
        new = StagedCommit(head.size, head.size + 1, head.time + 1, b"h" * 32, b"r", os.urandom(32), b"n")
        transaction.commit(head, new, (), [(os.urandom(32), head.size)])
store.close()
"""


def test_processes_take_turns_on_one_sqlite_file(tmp_path):
    store = SqliteHeadStore(tmp_path / "log.db", new=True)
    store.create(HEAD)
    command = [sys.executable, "-c", _WRITER, str(tmp_path / "log.db")]
    writers = [subprocess.Popen(command) for _ in range(3)]
    assert [writer.wait(60) for writer in writers] == [0, 0, 0]
    head, rows = store.snapshot()
    store.close()
    assert head.size == 75
    assert [(row.start, row.end) for row in rows] == [(index, index + 1) for index in range(75)]


def test_a_full_sqlite_database_says_so_and_goes_on_when_mended(tmp_path):
    store = SqliteHeadStore(tmp_path / "log.db", new=True)
    store.create(HEAD)
    pages = store._db.execute("PRAGMA page_count").fetchone()[0]
    store._db.execute(f"PRAGMA max_page_count={pages}")
    big = msgspec.structs.replace(staged(0, 1), records=b"x" * 100_000)
    with pytest.raises(Overloaded, match="cannot be written") as refused, store.transaction() as transaction:
        transaction.commit(HEAD, big, (b"\x01" * 32,), [(key(0), 0)])
    assert refused.value.code == "storage_full"
    store._db.execute("PRAGMA max_page_count=1000000")
    commit(store, 0, 1)
    assert store.head().size == 1
    store.close()


def test_a_read_only_sqlite_database_says_so_and_goes_on_when_mended(tmp_path):
    store = SqliteHeadStore(tmp_path / "log.db", new=True)
    store.create(HEAD)
    store._db.execute("PRAGMA query_only=1")
    with pytest.raises(Overloaded) as refused:
        commit(store, 0, 1)
    assert refused.value.code == "storage_read_only"
    store._db.execute("PRAGMA query_only=0")
    commit(store, 0, 1)
    store.close()


def test_a_sqlite_database_that_another_program_holds_says_so_and_goes_on(tmp_path):
    store = SqliteHeadStore(tmp_path / "log.db", new=True)
    store.create(HEAD)
    store._db.execute("PRAGMA busy_timeout=10")
    other = sqlite3.connect(tmp_path / "log.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(Overloaded) as refused:
        commit(store, 0, 1)
    assert refused.value.code == "storage_busy"
    other.execute("ROLLBACK")
    other.close()
    commit(store, 0, 1)
    store.close()


def test_tidying_up_a_large_sqlite_database_waits_for_no_reader(tmp_path, monkeypatch):
    """It holds the log's lock meanwhile: an examination would stop every writer."""
    monkeypatch.setattr(sqlite_store, "_RESTART_PAGES", 1)
    monkeypatch.setattr(sqlite_store, "_TRUNCATE_BYTES", 0)
    store = SqliteHeadStore(tmp_path / "log.db", new=True)
    store.create(HEAD)
    reader = sqlite3.connect(tmp_path / "log.db", isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT * FROM head").fetchall()
    commit(store, 0, 1)
    tidying = threading.Thread(target=store.compact, daemon=True)
    tidying.start()
    tidying.join(15)
    assert not tidying.is_alive()
    reader.close()
    store._next_compact = 0.0
    store.compact()
    assert (tmp_path / "log.db-wal").stat().st_size == 0
    assert store._db.execute("PRAGMA busy_timeout").fetchone() == (30_000,)
    store.close()


def test_the_write_ahead_log_begins_anew_and_keeps_its_size(tmp_path, monkeypatch):
    monkeypatch.setattr(sqlite_store, "_RESTART_PAGES", 16)
    store = SqliteHeadStore(tmp_path / "log.db", new=True)
    store.create(HEAD)
    sizes = []
    for size in range(0, 200, 10):
        for index in range(size, size + 10):
            commit(store, index, index + 1)
        store._next_compact = 0.0
        store.compact()
        sizes.append((tmp_path / "log.db-wal").stat().st_size)
    assert 0 < min(sizes[1:]) == max(sizes[1:]) < 2 * sizes[0]
    assert find(store, [key(199)])[key(199)].index == 199
    store.close()


def test_a_sqlite_database_without_room_to_tidy_up_says_so(tmp_path):
    store = SqliteHeadStore(tmp_path / "log.db", new=True)
    store.create(HEAD)
    error = sqlite3.OperationalError("database or disk is full")
    error.sqlite_errorcode = sqlite3.SQLITE_FULL
    database, store._db = store._db, Failing(error)
    with pytest.raises(Overloaded, match="disk is full"):
        store.compact()
    store._db = database
    store.close()


class Failing:
    """A connection whose every statement fails."""

    def __init__(self, error: sqlite3.Error) -> None:
        self._error = error

    def execute(self, _statement: str) -> None:
        raise self._error


def test_an_input_output_error_leaves_unknown_what_is_durable(tmp_path):
    store = SqliteHeadStore(tmp_path / "log.db", new=True)
    store.create(HEAD)
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorcode = sqlite3.SQLITE_IOERR_FSYNC
    with pytest.raises(StorageFailed), store.transaction():
        raise error
    store.close()
