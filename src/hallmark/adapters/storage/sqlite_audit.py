"""A log's SQLite database opened for examination: read only, in short reads (`tiledlog.fsck.LogAudit`).

The dedup index is examined as it was when head and staged commits were read: the runs that it had then stay
open, even where a running instance merges them meanwhile.
"""

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Final
from urllib.parse import quote

from hallmark.adapters.storage.full_disk import refuse_full_disk
from hallmark.adapters.storage.key_index import (
    read_recent,
    read_runs,
    runs_folder,
)
from hallmark.adapters.storage.key_run import KeyRun, RunName
from hallmark.adapters.storage.sqlite import read_head, read_staged, read_time
from hallmark.errors import ConfigurationError
from hallmark.ports import LogHead, StagedCommit, StorageFailed

_MAX_COMPLAINTS: Final = 20
_ATTEMPTS: Final = 5
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
        self._folder = runs_folder(path)
        self._keys_failure = ""
        self._runs: Sequence[KeyRun] = ()
        self._recent: Mapping[bytes, int] = {}
        try:
            self._db = sqlite3.connect(
                f"file:{quote(str(path.absolute()))}?mode=ro", uri=True, isolation_level=None, timeout=30
            )
            self._db.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        except sqlite3.DatabaseError as error:
            if path.exists():
                refuse_full_disk(error, path)
            raise ConfigurationError(
                f"the log's database {path} cannot be read: {error}",
                code="damaged_state",
                hint="restore it from its newest copy; a log must never start over under the same name",
            ) from None

    def close(self) -> None:
        """Close the database and the runs."""
        for run in self._runs:
            run.close()
        self._db.close()

    def damage(self) -> Sequence[str]:
        """Ask SQLite to walk through every page, and read every run to its end."""
        try:
            rows = self._db.execute(f"PRAGMA quick_check({_MAX_COMPLAINTS})").fetchall()
            complaints = [text for (text,) in rows if text != "ok"]
            return complaints + self._run_complaints()[:_MAX_COMPLAINTS]
        except (sqlite3.DatabaseError, StorageFailed) as error:
            return [str(error)]

    def runs(self) -> Sequence[RunName]:
        """Read which runs the dedup index has; raises `StorageFailed` where they leave a gap."""
        with self._asking():
            return read_runs(self._db)

    def run_complaint(self, name: RunName) -> str | None:
        """Read a run to its end and say what is wrong with it; None too for one that was merged meanwhile."""
        try:
            with closing(KeyRun(self._folder, name)) as run:
                return run.complaint()
        except StorageFailed as error:
            return str(error)
        except FileNotFoundError:
            merged = name not in self.runs()
            return None if merged else f"{name.file} of the dedup index is missing"

    def _run_complaints(self) -> list[str]:
        found = [self.run_complaint(name) for name in self.runs()]
        return [complaint for complaint in found if complaint is not None]

    @contextmanager
    def reading(self) -> Iterator[tuple[LogHead, Iterator[StagedCommit]]]:
        """Read head and staged commits in one read transaction; raises `NotFound` where there is no log."""
        try:
            yield self._begin(_ATTEMPTS), self._staged()
        finally:
            with suppress(sqlite3.DatabaseError):  # a damaged file may have ended it already
                self._db.execute("ROLLBACK")

    def _begin(self, attempts: int) -> LogHead:
        """Begin a read transaction, and take hold of the dedup index as it is in it."""
        with self._asking():
            self._db.execute("BEGIN")
            head = read_head(self._db)
        _check_types(head, _HEAD_TYPES)
        try:
            self._read_keys(head.size, tolerant=attempts == 1)
        except FileNotFoundError:  # merged since this transaction began; the last attempt goes on without it
            self._db.execute("ROLLBACK")
            return self._begin(attempts - 1)
        except (sqlite3.DatabaseError, StorageFailed) as error:
            self._keys_failure = str(error)  # the head can be examined all the same
        return head

    def _read_keys(self, size: int, *, tolerant: bool) -> None:
        """Take hold of every run that can be opened; `damage` complains of the others."""
        names = read_runs(self._db)
        runs: list[KeyRun] = []
        for name in names:
            try:
                runs.append(KeyRun(self._folder, name))
            except (FileNotFoundError, StorageFailed) as error:
                if isinstance(error, FileNotFoundError) and not tolerant:
                    raise
        self._runs = runs
        recent = read_recent(self._db, names[-1].end if names else 0)
        self._recent = {key: index for key, index in recent if index < size}

    def _staged(self) -> Iterator[StagedCommit]:
        commits = read_staged(self._db)
        while True:
            with self._asking():
                commit = next(commits, None)
            if commit is None:
                return
            _check_types(commit, _STAGED_TYPES)
            yield commit

    def indexes(self, entries: Mapping[bytes, int]) -> Mapping[bytes, int]:
        """Look the keys of entries up, in the runs that should hold them before all others."""
        self._check_keys()
        found = dict(self._own_rows(entries))
        for key in entries.keys() - found.keys():
            index = self._recent.get(key)
            for run in self._runs:
                index = run.find(key) if index is None else index
            if index is not None:
                found[key] = index
        return found

    def _own_rows(self, entries: Mapping[bytes, int]) -> Iterator[tuple[bytes, int]]:
        for run in self._runs:
            for key, index in entries.items():
                if run.name.start <= index < run.name.end and run.find(key) == index:
                    yield key, index

    def rows(self) -> Iterator[tuple[bytes, int]]:
        """Read every key with its index, in no order."""
        self._check_keys()
        for run in self._runs:
            yield from run.rows()
        yield from self._recent.items()

    def _check_keys(self) -> None:
        if self._keys_failure:
            raise StorageFailed(f"{self._path.name}: {self._keys_failure}")

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
