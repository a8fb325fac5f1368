"""Grants of the identity provider in a small SQLite file, shared by the processes of one machine."""

import sqlite3
from pathlib import Path
from typing import Final

from hallmark.errors import Overloaded

MAX_GRANTS: Final = 10_000
BUSY_TIMEOUT_SECONDS: Final = 5.0

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS grants (
    key BLOB PRIMARY KEY,
    value BLOB NOT NULL,
    expires_at INTEGER NOT NULL
) WITHOUT ROWID
"""
_ADD: Final = "INSERT INTO grants (key, value, expires_at) VALUES (?, ?, ?)"
_GET: Final = "SELECT value FROM grants WHERE key = ? AND expires_at > ?"
_REPLACE: Final = "UPDATE grants SET value = ? WHERE key = ? AND value = ? AND expires_at > ?"
_TAKE: Final = "DELETE FROM grants WHERE key = ? AND expires_at > ? RETURNING value"
_SWEEP: Final = "DELETE FROM grants WHERE expires_at <= ?"


class SqliteGrants:
    """Grants in SQLite. They live for minutes, so the file is synced no more than WAL asks for."""

    def __init__(self, path: Path) -> None:
        self._database = sqlite3.connect(path, timeout=BUSY_TIMEOUT_SECONDS, isolation_level=None)
        self._database.execute("PRAGMA journal_mode=WAL")
        self._database.execute("PRAGMA synchronous=NORMAL")
        self._database.execute(_SCHEMA)

    def add(self, key: bytes, value: bytes, *, expires_at: int, now: int) -> None:
        """Store a grant, after sweeping out what has expired; raises `Overloaded`."""
        database = self._database
        database.execute("BEGIN IMMEDIATE")
        with database:
            database.execute(_SWEEP, (now,))
            (count,) = database.execute("SELECT count(*) FROM grants").fetchone()
            if count >= MAX_GRANTS:
                raise Overloaded(f"more than {MAX_GRANTS} logins are under way", retry_after=60)
            database.execute(_ADD, (key, value, expires_at))

    def get(self, key: bytes, *, now: int) -> bytes | None:
        """Find a grant."""
        return _first(self._database.execute(_GET, (key, now)))

    def replace(self, key: bytes, old: bytes, new: bytes, *, now: int) -> bool:
        """Put `new` in the place of `old`; says whether `old` was there."""
        return self._database.execute(_REPLACE, (new, key, old, now)).rowcount == 1

    def take(self, key: bytes, *, now: int) -> bytes | None:
        """Remove a grant and return it."""
        return _first(self._database.execute(_TAKE, (key, now)))

    def close(self) -> None:
        """Close the file."""
        self._database.close()


def _first(cursor: sqlite3.Cursor) -> bytes | None:
    rows = cursor.fetchall()  # RETURNING commits when the last row is read
    return rows[0][0] if rows else None
