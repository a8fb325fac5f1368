"""Database files that only their owner may open."""

import os
from contextlib import suppress
from pathlib import Path
from typing import Final

PRIVATE: Final = 0o600


def create_private(path: Path) -> None:
    """Make an empty file that nobody else may read, where there is none yet.

    A user who may read a file may lock it, and a read lock on SQLite's shared memory stops every writer.
    SQLite gives its other files the mode of the database. A file that is there stays unopened: closing it
    would end the locks that this process may hold on it.
    """
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, PRIVATE))
