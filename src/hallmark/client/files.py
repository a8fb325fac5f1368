"""Files of the user: bounded reads, whole writes, and errors that say what to do."""

import contextlib
import errno
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from hallmark.errors import ConfigurationError, HallmarkError

TEMPORARY_PREFIX: Final = ".hallmark-"

_CODES: Final = {
    errno.ENOENT: ("file_not_found", "check the path"),
    errno.ENOTDIR: ("file_not_found", "check the path"),
    errno.EISDIR: ("is_a_directory", "name a file in it"),
    errno.EACCES: ("permission_denied", "check the permissions of the file and its folders"),
    errno.EPERM: ("permission_denied", "check the permissions of the file and its folders"),
    errno.EROFS: ("permission_denied", "choose a folder that can be written"),
    errno.ENOSPC: ("disk_full", "free some space and run the command again"),
    errno.EDQUOT: ("disk_full", "free some space and run the command again"),
    errno.EBADF: ("input_closed", "pipe the data in, or name a file"),
    errno.ENAMETOOLONG: ("name_too_long", "choose a shorter name"),
}


def file_error(error: OSError, path: Path, *, doing: str) -> HallmarkError:
    """Turn an operating system's error about `path` into ours; `doing` is a word such as `read`."""
    code, hint = _CODES.get(error.errno or 0, ("file_error", "check the file and its folder"))
    if code == "disk_full":
        return ConfigurationError(
            f"cannot {doing} {path}: the disk of {path.parent} is full", code=code, hint=hint
        )
    reason = (error.strerror or type(error).__name__).lower()
    return ConfigurationError(f"cannot {doing} {path}: {reason}", code=code, hint=hint)


def read_file(path: Path, *, max_bytes: int) -> bytes:
    """Read a small file whole; raises `ConfigurationError`, also for one of more than `max_bytes`."""
    try:
        with path.open("rb") as file:
            data = file.read(max_bytes + 1)
    except OSError as error:
        raise file_error(error, path, doing="read") from None
    if len(data) > max_bytes:
        raise ConfigurationError(
            f"{path} has more than {max_bytes} bytes", code="file_too_large", hint="check the path"
        )
    return data


def write_file(path: Path, data: bytes, *, mode: int = 0o644, overwrite: bool = True) -> None:
    """Write a file so that a reader, or a crash, sees the old content or the new one whole.

    Without `overwrite` an existing file stays as it is. Raises `ConfigurationError`.
    """
    refuse_existing(path, overwrite=overwrite)
    temporary = temporary_beside(path)
    try:
        _write_new(temporary, data, mode)
        temporary.replace(path)
    except OSError as error:
        raise file_error(error, path, doing="write") from None
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def temporary_beside(path: Path) -> Path:
    """Name a new file in the same folder, to be moved to `path` once it is whole.

    Its name is short, however long the one of `path`: file systems count bytes, and refuse a few too many.
    """
    return path.with_name(TEMPORARY_PREFIX + os.urandom(6).hex())


def refuse_existing(path: Path, *, overwrite: bool) -> None:
    """Check that writing `path` would replace nothing, unless that is wanted; raises `ConfigurationError`."""
    if not overwrite and os.path.lexists(path):
        raise ConfigurationError(
            f"{path} exists already", code="file_exists", hint="pass --overwrite to replace it"
        )


def make_folder(folder: Path) -> None:
    """Make a folder of the user's own (0700) with its parents; raises `ConfigurationError`."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise file_error(error, folder, doing="make the folder") from None


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock of an empty file, alone among all processes; raises `ConfigurationError`.

    The file stays: whoever removed it could let two in.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise file_error(error, path, doing="write") from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _write_new(path: Path, data: bytes, mode: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
