"""Objects as files below one directory, as any static web server can serve them (`ports.ObjectStore`).

What is being written stands in a folder of its own, `.unfinished`, so that nothing has to be searched for
what a writer that died has left.
"""

import os
import stat
import threading
from pathlib import Path
from typing import Final

from hallmark.durable_files import naming, sync_folder, write_all
from hallmark.errors import NotFound
from hallmark.ports import StorageFailed

_UNFINISHED: Final = ".unfinished"


class FileObjectStore:
    """Files below `root`. A new object appears under its name at once and whole; `sync` makes it durable."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._unfinished = root / _UNFINISHED
        self._unsynced: dict[Path, int] = {}
        self._folders: set[Path] = set()

    def get(self, path: str) -> bytes:
        """Read a file."""
        try:
            return (self._root / path).read_bytes()
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            raise NotFound(f"there is no object {path}") from None

    def size(self, path: str) -> int:
        """Tell the size of a file."""
        try:
            found = (self._root / path).stat()
        except (FileNotFoundError, NotADirectoryError):
            raise NotFound(f"there is no object {path}") from None
        if not stat.S_ISREG(found.st_mode):
            raise NotFound(f"there is no object {path}")
        return found.st_size

    def read(self, path: str, start: int, count: int) -> bytes:
        """Read a piece of a file."""
        try:
            with (self._root / path).open("rb", buffering=0) as file:
                return os.pread(file.fileno(), count, start)
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            raise NotFound(f"there is no object {path}") from None

    def put(self, path: str, data: bytes) -> None:
        """Write a file elsewhere and rename it; its descriptor stays open for the sync.

        One descriptor for each object: on a full disk the same objects are tried again and again.
        """
        target = self._root / path
        self._make_folder(target.parent)
        self._unfinished.mkdir(exist_ok=True)
        beside = self._unfinished / f"{os.getpid()}-{threading.get_ident()}"
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        try:
            with naming(target):
                write_all(descriptor, data)
            beside.rename(target)
        except BaseException:
            os.close(descriptor)
            beside.unlink(missing_ok=True)
            raise
        replaced = self._unsynced.get(target)
        self._unsynced[target] = descriptor
        if replaced is not None:
            os.close(replaced)
        self._folders.add(target.parent)

    def sync(self) -> None:
        """Sync the files written since the last time, then the folders that name them."""
        try:
            for descriptor in self._unsynced.values():
                os.fsync(descriptor)
            for folder in self._folders:
                sync_folder(folder)
        except OSError as error:
            raise StorageFailed(f"{self._root}: {error}") from error
        finally:
            for descriptor in self._unsynced.values():
                os.close(descriptor)
            self._unsynced.clear()
            self._folders.clear()

    def replace(self, path: str, data: bytes) -> None:
        """Replace a file, durably."""
        self.put(path, data)
        self.sync()

    def discard_unfinished(self) -> None:
        """Delete files that were not given their names by a process that is gone."""
        if self._unfinished.is_dir():
            for path in self._unfinished.iterdir():
                if not _is_other_process(path.name.partition("-")[0]):
                    path.unlink(missing_ok=True)

    def names(self, folder: str) -> tuple[str, ...]:
        """List the files of a folder."""
        try:
            return tuple(sorted(item.name for item in (self._root / folder).iterdir() if item.is_file()))
        except (FileNotFoundError, NotADirectoryError):
            return ()

    def delete(self, path: str) -> None:
        """Delete a file."""
        (self._root / path).unlink(missing_ok=True)

    def delete_folder(self, folder: str) -> None:
        """Delete a folder and its files."""
        target = self._root / folder
        for name in self.names(folder):
            (target / name).unlink(missing_ok=True)
        if target.is_dir():
            target.rmdir()

    def _make_folder(self, folder: Path) -> None:
        missing = folder
        while not missing.exists():
            missing = missing.parent
            self._folders.add(missing)
        folder.mkdir(parents=True, exist_ok=True)


def _is_other_process(number: str) -> bool:
    """Say whether another process of this number runs: two may copy one log to one place."""
    return number.isdigit() and int(number) != os.getpid() and Path(f"/proc/{number}").exists()
