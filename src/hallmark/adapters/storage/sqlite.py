"""A log's database in SQLite: write-ahead log, one sync for each commit (`ports.HeadStore`).

Everything that a commit writes is appended, to pages that the next one goes on with; the dedup index, whose
keys are random, is kept beside the database (`key_index`).

Writers of several processes take turns on a lock file, because SQLite's own wait for a busy database
sleeps. Readers never wait. The write-ahead log is copied back into the database by `compact` alone,
which the publisher calls: a serving process that did it would make its callers wait.
"""

import fcntl
import os
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NoReturn
from urllib.parse import quote

from hallmark.adapters.storage.full_disk import refuse_full_disk, refuse_unwritten
from hallmark.adapters.storage.key_index import SCHEMA as KEY_SCHEMA
from hallmark.adapters.storage.key_index import (
    KeyIndex,
    RunChange,
    RunKeeper,
    insert_recent,
    missing_runs,
)
from hallmark.adapters.storage.private_file import create_private
from hallmark.core.merkle import HASH_SIZE
from hallmark.errors import ConfigurationError, Conflict, NotFound, Overloaded
from hallmark.ports import LogHead, Place, StagedCommit, StorageFailed

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS head (
    id INTEGER PRIMARY KEY CHECK (id = 0), size INTEGER NOT NULL, root BLOB NOT NULL, time INTEGER NOT NULL,
    edge BLOB NOT NULL, checkpoint BLOB NOT NULL, applied INTEGER NOT NULL, applied_edge BLOB NOT NULL,
    frozen INTEGER NOT NULL DEFAULT 0, runs INTEGER NOT NULL DEFAULT 0);
CREATE TABLE IF NOT EXISTS staged (
    start INTEGER PRIMARY KEY, end INTEGER NOT NULL, time INTEGER NOT NULL, hashes BLOB NOT NULL,
    records BLOB NOT NULL, root BLOB NOT NULL, checkpoint BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS commit_time (
    start INTEGER PRIMARY KEY, time INTEGER NOT NULL);
"""
_HEAD: Final = "SELECT size, root, time, edge, checkpoint, applied, applied_edge, frozen FROM head"
_STAGED: Final = "SELECT start, end, time, hashes, records, root, checkpoint FROM staged ORDER BY start"
_TIME: Final = "SELECT time FROM commit_time WHERE start <= ? ORDER BY start DESC LIMIT 1"
_CREATE: Final = (
    "INSERT INTO head (id, size, root, time, edge, checkpoint, applied, applied_edge, frozen) "
    "VALUES (0, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_CACHE_KIB: Final = 16 * 1024
_BUSY_SECONDS: Final = 30
_RESTORE: Final = (
    "restore the directory from its newest copy; a log must never start over under the same name"
)
_COMPACT_SECONDS: Final = 1.0
_RETRY_SECONDS: Final = 5.0
_RESTART_PAGES: Final = 1024
_TRUNCATE_BYTES: Final = 256 * 1024 * 1024


class SqliteHeadStore:
    """One log's database file. The owner must use it from one thread at a time.

    A missing file is made only with `new`: an instance whose database is gone must not begin another log
    under the same name. Raises `ConfigurationError` (`damaged_state`) for a missing or damaged file.
    """

    def __init__(self, path: Path, *, new: bool = False) -> None:
        self._path = path
        self._next_compact = self._next_keeping = 0.0
        self._keys, self._keeper = KeyIndex(path), RunKeeper(path)
        self._lock = os.open(path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        mode = "rwc" if new else "rw"
        try:
            if new:
                create_private(path)
            self._db = sqlite3.connect(
                f"file:{quote(str(path.absolute()))}?mode={mode}",
                uri=True,
                isolation_level=None,
                check_same_thread=False,
                timeout=_BUSY_SECONDS,
            )
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=FULL")
            self._db.execute("PRAGMA wal_autocheckpoint=0")
            self._db.execute(f"PRAGMA cache_size=-{_CACHE_KIB}")
            missing = missing_runs(self._db, path)
        except (sqlite3.DatabaseError, StorageFailed, OSError) as error:
            os.close(self._lock)
            refuse_full_disk(error, path)
            raise ConfigurationError(
                f"the log's database {path} cannot be opened: {error}",
                code="damaged_state",
                hint=_RESTORE,
            ) from None
        if missing:
            self.close()
            raise ConfigurationError(
                f"the log's dedup index lacks {missing[0]}, or it has another size",
                code="damaged_state",
                hint="`hallmark log reindex` rebuilds it from the log's entries",
            )

    def close(self) -> None:
        """Close the database, its dedup index and the lock file."""
        self._keeper.close()
        self._keys.close()
        self._db.close()
        os.close(self._lock)

    def create(self, head: LogHead) -> None:
        """Make the tables and store the first head."""
        with self._locked(), self._storing():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                for statement in (_SCHEMA + KEY_SCHEMA).split(";"):
                    self._db.execute(statement)
                self._db.execute(
                    _CREATE,
                    (
                        head.size,
                        head.root,
                        head.time,
                        b"".join(head.edge),
                        head.checkpoint,
                        head.applied,
                        b"".join(head.applied_edge),
                        head.frozen,
                    ),
                )
                self._db.execute("COMMIT")
            except sqlite3.IntegrityError:
                raise Conflict(f"{self._path} holds a log already") from None
            finally:
                self._roll_back()

    @contextmanager
    def transaction(self) -> Iterator["_SqliteTransaction"]:
        """Hold the lock file and a write transaction for one commit."""
        with self._locked(), self._storing():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield _SqliteTransaction(self._db, self._keys)
            finally:
                self._roll_back()

    def head(self) -> LogHead:
        """Read the committed head."""
        return read_head(self._db)

    def snapshot(self, max_entries: int | None = None) -> tuple[LogHead, tuple[StagedCommit, ...]]:
        """Read head and staged commits in one read transaction."""
        self._db.execute("BEGIN")
        try:
            head = read_head(self._db)
            staged: list[StagedCommit] = []
            for commit in read_staged(self._db):
                staged.append(commit)
                if max_entries is not None and staged[-1].end - head.applied >= max_entries:
                    break
            return head, tuple(staged)
        finally:
            self._roll_back()

    def time_of(self, index: int) -> int:
        """Tell the time of an entry's commit."""
        return read_time(self._db, index)

    def set_applied(self, size: int, edge: tuple[bytes, ...]) -> None:
        """Note what is published and drop its staged commits."""
        with self.transaction() as transaction:
            transaction.set_applied(size, edge)

    def compact(self) -> None:
        """Copy the write-ahead log into the database about once a second, and keep the dedup index in order.

        Raises `Overloaded` or `OSError` where there is no room for it now.
        """
        if time.monotonic() >= self._next_compact:
            self._next_compact = time.monotonic() + _COMPACT_SECONDS
            self._copy_wal()
        if time.monotonic() >= self._next_keeping:
            try:
                self._keep_runs()
            except (OSError, Overloaded):
                self._next_keeping = time.monotonic() + _RETRY_SECONDS
                raise

    def _keep_runs(self) -> None:
        with self._storing():
            change = self._keeper.advance(self._db)
        if change is not None:
            with self.transaction() as transaction:
                transaction.change_runs(change)
            change.clean()

    def _copy_wal(self) -> None:
        """Copy the write-ahead log beside the writers, then let it start over.

        Only the second step, which has little left to copy, holds the lock. It waits for no reader: an
        examination of the whole log reads for minutes. The file keeps its size, because a commit that
        overwrites what is there is synced faster than one that makes the file longer, and because to cut it
        takes tens of milliseconds.
        """
        with self._storing():
            _, pages, _ = self._db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        if pages >= _RESTART_PAGES:
            size = Path(f"{self._path}-wal").stat().st_size
            self._begin_anew("TRUNCATE" if size > _TRUNCATE_BYTES else "RESTART")

    def _begin_anew(self, mode: str) -> None:
        with self._locked(), self._storing():
            self._db.execute("PRAGMA busy_timeout=0")
            try:
                self._db.execute(f"PRAGMA wal_checkpoint({mode})").fetchone()
            finally:
                self._db.execute(f"PRAGMA busy_timeout={1000 * _BUSY_SECONDS}")

    @contextmanager
    def _locked(self) -> Iterator[None]:
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(self._lock, fcntl.LOCK_UN)

    @contextmanager
    def _storing(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.IntegrityError):
                raise  # a programmer's error: keys and indexes are unique by construction
            _raise_for(error, self._path)

    def _roll_back(self) -> None:
        if self._db.in_transaction:
            self._db.execute("ROLLBACK")


class _SqliteTransaction:
    """A write transaction under the lock file (`ports.CommitTransaction`)."""

    def __init__(self, db: sqlite3.Connection, keys: KeyIndex) -> None:
        self._db = db
        self._keys = keys

    def head(self) -> LogHead:
        """Read the committed head."""
        return read_head(self._db)

    def find(self, keys: Sequence[bytes]) -> Mapping[bytes, Place]:
        """Find which of these dedup keys the log has."""
        self._keys.refresh(self._db)
        return _places(self._db, self._keys.find(keys))

    def commit(
        self, old: LogHead, staged: StagedCommit, edge: tuple[bytes, ...], keys: Sequence[tuple[bytes, int]]
    ) -> None:
        """Write everything in one transaction; its COMMIT is the only sync."""
        moved = self._db.execute(
            "UPDATE head SET size = ?, root = ?, time = ?, edge = ?, checkpoint = ? "
            "WHERE size = ? AND root = ? AND frozen = 0",
            (staged.end, staged.root, staged.time, b"".join(edge), staged.checkpoint, old.size, old.root),
        )
        if moved.rowcount != 1:
            raise Conflict("the log's head has moved")
        self._db.execute(
            "INSERT INTO staged VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                staged.start,
                staged.end,
                staged.time,
                staged.hashes,
                staged.records,
                staged.root,
                staged.checkpoint,
            ),
        )
        insert_recent(self._db, staged.start, keys)
        self._db.execute("INSERT INTO commit_time VALUES (?, ?)", (staged.start, staged.time))
        self._db.execute("COMMIT")

    def set_applied(self, size: int, edge: tuple[bytes, ...]) -> None:
        """See `HeadStore.set_applied`."""
        self._db.execute(
            "UPDATE head SET applied = ?, applied_edge = ? WHERE applied < ?", (size, b"".join(edge), size)
        )
        self._db.execute("DELETE FROM staged WHERE end <= ?", (size,))
        self._db.execute("COMMIT")

    def change_runs(self, change: RunChange) -> None:
        """Put a new run of the dedup index in its place."""
        change.apply(self._db)
        self._db.execute("COMMIT")

    def freeze(self, checkpoint: bytes) -> None:
        """Set the mark that every later commit looks at."""
        self._db.execute("UPDATE head SET frozen = 1, checkpoint = ?", (checkpoint,))
        self._db.execute("COMMIT")


def read_head(db: sqlite3.Connection) -> LogHead:
    """Read the head; raises `NotFound` where no log was created."""
    try:
        row = db.execute(_HEAD).fetchone()
    except sqlite3.OperationalError as error:
        if "no such table" not in str(error):
            raise
        row = None
    if row is None:
        raise NotFound("no log was created here", code="no_log")
    size, root, time, edge, checkpoint, applied, applied_edge, frozen = row
    return LogHead(
        size=size,
        root=root,
        time=time,
        edge=_split(edge),
        checkpoint=checkpoint,
        applied=applied,
        applied_edge=_split(applied_edge),
        frozen=bool(frozen),
    )


def read_staged(db: sqlite3.Connection) -> Iterator[StagedCommit]:
    """Read the staged commits, the oldest first, one at a time."""
    for row in db.execute(_STAGED):
        yield StagedCommit(*row)


def _split(edge: bytes) -> tuple[bytes, ...]:
    return tuple(edge[start : start + HASH_SIZE] for start in range(0, len(edge), HASH_SIZE))


def _places(db: sqlite3.Connection, found: Mapping[bytes, int]) -> Mapping[bytes, Place]:
    return {key: Place(index, read_time(db, index)) for key, index in found.items()}


def read_time(db: sqlite3.Connection, index: int) -> int:
    """Read the time of an entry's commit; raises `NotFound`."""
    row = db.execute(_TIME, (index,)).fetchone()
    if row is None:
        raise NotFound(f"the log has no entry {index}")
    time: int = row[0]
    return time


def _raise_for(error: sqlite3.DatabaseError, path: Path) -> NoReturn:
    """Tell a database that could not take the bytes from one that may or may not have taken them."""
    refuse_unwritten(error, f"the log's database {path.name}")
    raise StorageFailed(f"{path}: {error}") from error
