"""A file that is sure to be written before the work for it begins.

    with Outputs().reserve(path, overwrite=False) as output:
        output.write(make_what_cannot_be_unmade())

A signature stands in the log for ever, so everything that could keep its bundle from being written is tried
first: the name, the folder, the space.
"""

import contextlib
import errno
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from threading import Lock
from typing import Final, Protocol

from hallmark.client.files import file_error, refuse_existing, temporary_beside
from hallmark.client.streams import STANDARD_OUTPUT, descriptor_of
from hallmark.errors import ConfigurationError

# Bundles with ten witnesses and both kinds of log have 12 KiB; a larger one may still meet a full disk.
RESERVED_BYTES: Final = 64 << 10


class Output(Protocol):
    """Where one result goes; `write` is called once."""

    def write(self, data: bytes) -> None:
        """Write all of it; raises `ConfigurationError`."""
        ...


class Outputs:
    """The outputs of one command that are reserved now; safe to share between threads."""

    def __init__(self) -> None:
        self._temporaries: set[Path] = set()
        self._lock = Lock()
        self._ended = False

    @contextlib.contextmanager
    def reserve(self, path: Path, *, overwrite: bool) -> Iterator[Output]:
        """Open what will be written to `path`; a file appears there whole, and only once it is written.

        Raises `ConfigurationError` where it could not be written.
        """
        descriptor = descriptor_of(path, dash=STANDARD_OUTPUT)
        if descriptor is not None:
            yield _Stream(descriptor, path)
            return
        check_name(path)
        refuse_existing(path, overwrite=overwrite)
        temporary = temporary_beside(path)
        file = self._open(temporary, path)
        try:
            try:
                yield _File(file, temporary, path)
            finally:
                os.close(file)
        finally:
            self._discard(temporary)

    def discard(self) -> None:
        """Take away what is reserved and not written: the process ends before its threads do.

        Nothing can be reserved from then on, or a thread would leave a file behind that nobody takes away.
        """
        with self._lock:
            self._ended = True
            for temporary in tuple(self._temporaries):
                self._discard(temporary)

    def _open(self, temporary: Path, path: Path) -> int:
        with self._lock:
            if self._ended:
                raise ConfigurationError(f"{path} was not begun", code="interrupted")
            self._temporaries.add(temporary)
            try:
                return _open(temporary, path)
            except ConfigurationError:
                self._discard(temporary)  # it may be there, without the room that it needs
                raise

    def _discard(self, temporary: Path) -> None:
        with contextlib.suppress(OSError):
            temporary.unlink()
        self._temporaries.discard(temporary)


def check_name(path: Path) -> None:
    """Check that a file of this name could be; raises `ConfigurationError`.

    File systems count bytes; whether a name has too many, only they know.
    """
    try:
        path.lstat()
    except FileNotFoundError:
        pass
    except OSError as error:
        raise file_error(error, path, doing="write") from None


def _open(temporary: Path, path: Path) -> int:
    try:
        file = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        try:
            if hasattr(os, "posix_fallocate"):  # not on macOS
                os.posix_fallocate(file, 0, RESERVED_BYTES)
        except OSError:
            os.close(file)
            raise
    except OSError as error:
        raise file_error(error, path, doing="write") from None
    return file


class _File:
    def __init__(self, file: int, temporary: Path, path: Path) -> None:
        self._file = file
        self._temporary = temporary
        self._path = path

    def write(self, data: bytes) -> None:
        try:
            _write_all(self._file, data)
            os.ftruncate(self._file, len(data))
            os.fsync(self._file)
            self._temporary.replace(self._path)
        except OSError as error:
            raise file_error(error, self._path, doing="write") from None


class _Stream:
    def __init__(self, descriptor: int, path: Path) -> None:
        self._descriptor = descriptor
        self._name = "standard output" if descriptor == STANDARD_OUTPUT else str(path)
        try:
            mode = fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE
        except OSError as error:
            raise self._error(error) from None
        if mode == os.O_RDONLY:  # what was closed when the command began, see `cli.main`, or is an input
            raise self._error(OSError(errno.EBADF, os.strerror(errno.EBADF)))

    def write(self, data: bytes) -> None:
        try:
            _write_all(self._descriptor, data)
        except BrokenPipeError:
            raise
        except OSError as error:
            raise self._error(error) from None

    def _error(self, error: OSError) -> ConfigurationError:
        return ConfigurationError(
            f"cannot write {self._name}: {(error.strerror or '').lower()}",
            code="output_failed",
            hint="name a file with --bundle, or send the output somewhere else",
        )


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
