"""A log's SQLite database opened for examination: read only, in short reads (`tiledlog.fsck.LogAudit`)."""

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final
from urllib.parse import quote

from hallmark.adapters.storage.sqlite import read_head, read_staged, read_time
from hallmark.errors import ConfigurationError
from hallmark.ports import LogHead, StagedCommit, StorageFailed

_MAX_COMPLAINTS: Final = 20
_CACHE_KIB: Final = 64 * 1024  # holds the inner pages of the index over tens of millions of keys
_FIND: Final = "SELECT idx FROM dedup WHERE key = ?"
_COUNT: Final = (
    "SELECT count(*) FILTER (WHERE idx < ?), "
    "count(*) FILTER (WHERE idx >= (SELECT size FROM head) OR idx < 0) FROM dedup"
)
_KEYS: Final = "SELECT key, idx FROM dedup WHERE key > ? ORDER BY key LIMIT ?"
_TIMES: Final = "SELECT start, time FROM commit_time WHERE start > ? ORDER BY start LIMIT ?"
_HEAD_TYPES: Final = {"size": int, "root": bytes, "time": int, "checkpoint": bytes, "applied": int}
_STAGED_TYPES: Final = {
    "start": int,
    "end": int,
    "time": int,
    "hashes": bytes,
    "records": bytes,
    "root": bytes,
    "checkpoint": bytes,
}


class SqliteAudit:
    """The database of one log. Works on a stopped instance and beside a running one.

    Raises `ConfigurationError` (`damaged_state`) for a file that is missing or is no database at all, and
    `StorageFailed` for pages that do not hold what they must.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._db = sqlite3.connect(
                f"file:{quote(str(path.absolute()))}?mode=ro", uri=True, isolation_level=None, timeout=30
            )
            self._db.execute(f"PRAGMA cache_size=-{_CACHE_KIB}")
            self._db.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        except sqlite3.DatabaseError as error:
            raise ConfigurationError(
                f"the log's database {path} cannot be read: {error}",
                code="damaged_state",
                hint="restore it from its newest copy; a log must not begin anew under its name",
            ) from None

    def close(self) -> None:
        """Close the database."""
        self._db.close()

    def damage(self) -> Sequence[str]:
        """Ask SQLite to walk through every page."""
        try:
            rows = self._db.execute(f"PRAGMA quick_check({_MAX_COMPLAINTS})").fetchall()
        except sqlite3.DatabaseError as error:
            return [str(error)]
        return [text for (text,) in rows if text != "ok"]

    @contextmanager
    def reading(self) -> Iterator[tuple[LogHead, Iterator[StagedCommit]]]:
        """Read head and staged commits in one read transaction; raises `NotFound` where there is no log."""
        with self._asking():
            self._db.execute("BEGIN")
        try:
            with self._asking():
                head = read_head(self._db)
            _check_types(head, _HEAD_TYPES)
            yield head, self._staged()
        finally:
            with suppress(sqlite3.DatabaseError):  # a damaged file may have ended it already
                self._db.execute("ROLLBACK")

    def _staged(self) -> Iterator[StagedCommit]:
        commits = read_staged(self._db)
        while True:
            with self._asking():
                commit = next(commits, None)
            if commit is None:
                return
            _check_types(commit, _STAGED_TYPES)
            yield commit

    def indexes(self, keys: Sequence[bytes]) -> Mapping[bytes, int]:
        """Look keys up."""
        found: dict[bytes, int] = {}
        with self._asking():
            for key in keys:
                row = self._db.execute(_FIND, (key,)).fetchone()
                if row is not None:
                    found[key] = row[0]
        return found

    def count_keys(self, size: int) -> tuple[int, int]:
        """Count the rows below `size`, and those beyond the head of this very moment."""
        with self._asking():
            below, beyond = self._db.execute(_COUNT, (size,)).fetchone()
        return below, beyond

    def keys_after(self, key: bytes, limit: int) -> Sequence[tuple[bytes, int]]:
        """Read rows in the order of their keys."""
        with self._asking():
            return self._db.execute(_KEYS, (key, limit)).fetchall()

    def time_of(self, index: int) -> int:
        """Tell the time of an entry's commit; raises `NotFound`."""
        with self._asking():
            return read_time(self._db, index)

    def commit_times(self, after: int, limit: int) -> Sequence[tuple[int, int]]:
        """Read the rows behind index `after`."""
        with self._asking():
            return self._db.execute(_TIMES, (after, limit)).fetchall()

    @contextmanager
    def _asking(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.DatabaseError as error:
            raise StorageFailed(f"{self._path.name}: {error}") from error


def _check_types(row: LogHead | StagedCommit, types: Mapping[str, type]) -> None:
    """A damaged row may give text where bytes belong."""
    for name, kind in types.items():
        if not isinstance(getattr(row, name), kind):
            raise StorageFailed(f"a column {name} holds a value of another kind")
