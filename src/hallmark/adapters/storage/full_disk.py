"""A full disk, told from a damaged file: SQLite says of both that it cannot read or write."""

import errno
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from hallmark.errors import ConfigurationError, Overloaded

_ROOM_BYTES: Final = 64 * 1024  # SQLite's shared memory and its first pages
_RETRY_SECONDS: Final = 30  # a disk is not made larger in less
_FULL: Final = "storage_full"
_READ_ONLY: Final = "storage_read_only"
_DATABASE_CODES: Final = {
    sqlite3.SQLITE_FULL: _FULL,
    sqlite3.SQLITE_READONLY: _READ_ONLY,
    sqlite3.SQLITE_CANTOPEN: _READ_ONLY,
    sqlite3.SQLITE_BUSY: "storage_busy",
}
_FILE_CODES: Final = {errno.ENOSPC: _FULL, errno.EDQUOT: _FULL, errno.EROFS: _READ_ONLY}


def refuse_full_disk(error: Exception, path: Path) -> None:
    """Raise `ConfigurationError` (`disk_full`) where there is no room beside `path`, else do nothing."""
    found = os.statvfs(path.parent)
    full = isinstance(error, OSError) and _FILE_CODES.get(error.errno or 0) == _FULL
    full = full or getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_FULL
    if full or found.f_bavail * found.f_frsize < _ROOM_BYTES:
        raise ConfigurationError(
            f"the disk of {path} is full", code="disk_full", hint="free some space and run the command again"
        ) from None


@contextmanager
def refusing_unwritten(what: str, *, retry_after: int = _RETRY_SECONDS) -> Iterator[None]:
    """Raise `Overloaded` for a write that failed with nothing written; every other error passes."""
    try:
        yield
    except (sqlite3.DatabaseError, OSError) as error:
        refuse_unwritten(error, what, retry_after=retry_after)
        raise


def refuse_unwritten(error: Exception, what: str, *, retry_after: int = _RETRY_SECONDS) -> None:
    """Raise `Overloaded` where the error says that nothing of `what` was written, else do nothing."""
    if isinstance(error, OSError):
        code = _FILE_CODES.get(error.errno or 0)
    else:
        code = _DATABASE_CODES.get(getattr(error, "sqlite_errorcode", 0) & 0xFF)
    if code is not None:
        raise Overloaded(
            f"{what} cannot be written: {_reason(error)}",
            code=code,
            retry_after=retry_after,
            hint="free space on the disk, make it writable, or end what holds the file; nothing was lost",
        ) from error


def _reason(error: Exception) -> str:
    """Callers are told: no path of this machine."""
    return (error.strerror or "").lower() if isinstance(error, OSError) else str(error)
