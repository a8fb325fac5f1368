"""Objects as files below one directory, as any static web server can serve them (`ports.ObjectStore`)."""

import os
from pathlib import Path

from hallmark.errors import NotFound
from hallmark.ports import StorageFailed


class FileObjectStore:
    """Files below `root`. A new object appears under its name at once and whole; `sync` makes it durable."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._unsynced: dict[Path, int] = {}
        self._folders: set[Path] = set()

    def get(self, path: str) -> bytes:
        """Read a file."""
        try:
            return (self._root / path).read_bytes()
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            raise NotFound(f"there is no object {path}") from None

    def put(self, path: str, data: bytes) -> None:
        """Write a file beside its place and rename it; its descriptor stays open for the sync.

        One descriptor for each object: on a full disk the same objects are tried again and again.
        """
        target = self._root / path
        self._make_folder(target.parent)
        beside = target.with_name(f".{target.name}.{os.getpid()}")
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        try:
            _write_all(descriptor, data)
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
                _sync_folder(folder)
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

    def names(self, folder: str) -> tuple[str, ...]:
        """List the files of a folder."""
        try:
            return tuple(sorted(item.name for item in (self._root / folder).iterdir() if item.is_file()))
        except (FileNotFoundError, NotADirectoryError):
            return ()

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


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
