"""A full disk, told from a damaged file: SQLite says of both that it cannot read or write."""

import os
import sqlite3
from pathlib import Path
from typing import Final

from hallmark.errors import ConfigurationError

_ROOM_BYTES: Final = 64 * 1024  # SQLite's shared memory and its first pages


def refuse_full_disk(error: Exception, path: Path) -> None:
    """Raise `ConfigurationError` (`disk_full`) where there is no room beside `path`, else do nothing."""
    found = os.statvfs(path.parent)
    full = isinstance(error, sqlite3.Error) and error.sqlite_errorcode == sqlite3.SQLITE_FULL
    if full or found.f_bavail * found.f_frsize < _ROOM_BYTES:
        raise ConfigurationError(
            f"the disk of {path} is full", code="disk_full", hint="free some space and run the command again"
        ) from None
