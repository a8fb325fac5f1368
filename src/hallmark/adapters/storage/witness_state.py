"""What a witness remembers, in a small SQLite file: synced before any cosignature leaves."""

import sqlite3
from pathlib import Path
from typing import Final

from hallmark.adapters.storage.full_disk import refuse_full_disk, refuse_unwritten
from hallmark.adapters.storage.private_file import create_private
from hallmark.errors import ConfigurationError
from hallmark.ports import CosignedHead, StorageFailed

_BUSY_SECONDS: Final = 5.0
_RETRY_SECONDS: Final = 5  # a log asks for its next checkpoint within seconds
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS heads (
    origin TEXT PRIMARY KEY, size INTEGER NOT NULL, root BLOB NOT NULL, time INTEGER NOT NULL,
    note BLOB NOT NULL) WITHOUT ROWID
"""
_GET: Final = "SELECT size, root, time, note FROM heads WHERE origin = ?"
_PUT: Final = (
    "INSERT INTO heads (origin, size, root, time, note) VALUES (?, ?, ?, ?, ?) "
    "ON CONFLICT (origin) DO UPDATE SET size = excluded.size, root = excluded.root, "
    "time = excluded.time, note = excluded.note"
)


class SqliteWitnessState:
    """The heads of the witnessed logs (`ports.WitnessState`). One thread at a time may use it."""

    def __init__(self, path: Path) -> None:
        try:
            create_private(path)
            self._db = sqlite3.connect(
                path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
            )
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=FULL")
            self._db.execute(_SCHEMA)
        except (sqlite3.Error, OSError) as error:
            refuse_full_disk(error, path)
            raise ConfigurationError(
                f"{path} cannot be opened: {error}",
                code="damaged_state",
                hint="a witness that has lost its state must not go on: give it a new name and new keys",
            ) from None

    def head(self, origin: str) -> CosignedHead | None:
        """Read the head of a log."""
        row = self._db.execute(_GET, (origin,)).fetchone()
        return None if row is None else CosignedHead(*row)

    def advance(self, origin: str, old: CosignedHead | None, new: CosignedHead) -> bool:
        """Compare and put in one write transaction; its COMMIT is synced."""
        try:
            self._db.execute("BEGIN IMMEDIATE")
            if _place(self.head(origin)) != _place(old):
                return False
            self._db.execute(_PUT, (origin, new.size, new.root, new.time, new.note))
            self._db.execute("COMMIT")
        except sqlite3.OperationalError as error:
            refuse_unwritten(error, "the state of the witness", retry_after=_RETRY_SECONDS)
            raise StorageFailed(f"the state of the witness: {error}") from error
        finally:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
        return True

    def close(self) -> None:
        """Close the file."""
        self._db.close()


def _place(head: CosignedHead | None) -> tuple[int, bytes] | None:
    return None if head is None else (head.size, head.root)
