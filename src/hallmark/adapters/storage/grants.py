"""Grants of the identity provider in a small SQLite file, shared by the processes of one machine."""

import sqlite3
from pathlib import Path
from typing import Final

from hallmark.adapters.storage.full_disk import refuse_full_disk, refusing_unwritten
from hallmark.adapters.storage.private_file import create_private
from hallmark.errors import ConfigurationError

BUSY_TIMEOUT_SECONDS: Final = 5.0

_SCHEMA: Final = """
DROP TABLE IF EXISTS grants;
CREATE TABLE IF NOT EXISTS login (
    key BLOB PRIMARY KEY,
    kind TEXT NOT NULL,
    value BLOB NOT NULL,
    expires_at INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS login_by_end ON login (kind, expires_at)
"""
_ADD: Final = "INSERT INTO login (key, kind, value, expires_at) VALUES (?, ?, ?, ?)"
_GET: Final = "SELECT value FROM login WHERE key = ? AND expires_at > ?"
_REPLACE: Final = "UPDATE login SET value = ? WHERE key = ? AND value = ? AND expires_at > ?"
_EXTEND: Final = "UPDATE login SET expires_at = max(expires_at, ?) WHERE key = ? AND expires_at > ?"
_TAKE: Final = "DELETE FROM login WHERE key = ? AND expires_at > ? RETURNING value"
_SWEEP: Final = "DELETE FROM login WHERE expires_at <= ?"
_COUNT: Final = "SELECT count(*) FROM login WHERE kind = ?"
_DROP_FIRST: Final = (
    "DELETE FROM login WHERE key IN (SELECT key FROM login WHERE kind = ? ORDER BY expires_at, rowid LIMIT ?)"
)


_WHAT: Final = "the logins under way"


class SqliteGrants:
    """Grants in SQLite. They live for minutes, so the file is synced no more than WAL asks for.

    Raises `ConfigurationError` (`disk_full`, `damaged_state`) for a file that cannot be opened. What writes
    raises `Overloaded` where nothing was written.
    """

    def __init__(self, path: Path) -> None:
        try:
            create_private(path)
            self._database = sqlite3.connect(path, timeout=BUSY_TIMEOUT_SECONDS, isolation_level=None)
            self._database.execute("PRAGMA journal_mode=WAL")
            self._database.execute("PRAGMA synchronous=NORMAL")
            for statement in _SCHEMA.split(";"):
                self._database.execute(statement)
        except (sqlite3.DatabaseError, OSError) as error:
            refuse_full_disk(error, path)
            raise ConfigurationError(
                f"{path} cannot be opened: {error}",
                code="damaged_state",
                hint="delete it: it holds nothing but the logins of the last minutes",
            ) from None

    def add(self, key: bytes, value: bytes, *, kind: str, most: int, expires_at: int, now: int) -> None:
        """Store a grant, after sweeping out what has expired and what is too much of its kind."""
        database = self._database
        with refusing_unwritten(_WHAT):
            database.execute("BEGIN IMMEDIATE")
            with database:
                database.execute(_SWEEP, (now,))
                (count,) = database.execute(_COUNT, (kind,)).fetchone()
                if count >= most:
                    database.execute(_DROP_FIRST, (kind, count - most + 1))
                database.execute(_ADD, (key, kind, value, expires_at))

    def get(self, key: bytes, *, now: int) -> bytes | None:
        """Find a grant."""
        return _first(self._database.execute(_GET, (key, now)))

    def extend(self, key: bytes, *, expires_at: int, now: int) -> None:
        """Let a grant live until then, if that is later."""
        with refusing_unwritten(_WHAT):
            self._database.execute(_EXTEND, (expires_at, key, now))

    def replace(self, key: bytes, old: bytes, new: bytes, *, now: int) -> bool:
        """Put `new` in the place of `old`; says whether `old` was there."""
        with refusing_unwritten(_WHAT):
            return self._database.execute(_REPLACE, (new, key, old, now)).rowcount == 1

    def take(self, key: bytes, *, now: int) -> bytes | None:
        """Remove a grant and return it."""
        with refusing_unwritten(_WHAT):
            return _first(self._database.execute(_TAKE, (key, now)))

    def close(self) -> None:
        """Close the file."""
        self._database.close()


def _first(cursor: sqlite3.Cursor) -> bytes | None:
    rows = cursor.fetchall()  # RETURNING commits when the last row is read
    return rows[0][0] if rows else None
