"""The lock on an instance's directory, and the discarding of what a killed first start left."""

import errno
import fcntl
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from hallmark.client.files import file_error
from hallmark.durable_files import sync_path
from hallmark.errors import ConfigurationError
from hallmark.instance.ownership import check_owner, close_to_others, shut_out_others
from hallmark.wiring.layout import DIRECTORIES, Layout
from hallmark.wiring.place import is_noted, note_place


@contextmanager
def locked_directory(root: Path) -> Iterator[Layout]:
    """Hold the directory for this process; made where it is missing.

    What other users could write in it is closed to them. A failure before there is an instance leaves nothing
    that was not there before. Raises `ConfigurationError`: `instance_running` where another process holds it,
    `not_the_owner` where it is another user's, `unwritable_directory` or `disk_full` where it cannot be used.
    """
    shut_out_others()
    layout = Layout(root)
    missing = _missing(layout)
    try:
        descriptor = _open_lock(layout)
        try:
            _hold(layout, descriptor)
            try:
                _close_to_others(layout)
                yield layout
            except BaseException:
                _discard_first_start(layout, missing)
                raise
        finally:
            os.close(descriptor)
    except BaseException:
        _remove_folders(missing)
        raise


def _missing(layout: Layout) -> tuple[Path, ...]:
    """List what taking hold of the directory will make: the lock file, the folder, and those above it."""
    paths = (layout.lock, layout.root, *layout.root.parents)
    return tuple(path for path in paths if not os.path.lexists(path))


def _close_to_others(layout: Layout) -> None:
    """Close what is open, which must not make the directory look like a copy of itself."""
    noted = is_noted(layout)
    if close_to_others(layout.root) and noted:
        note_place(layout)


def _open_lock(layout: Layout) -> int:
    try:
        layout.root.mkdir(parents=True, exist_ok=True, mode=0o700)
        check_owner(layout.root)
        return os.open(layout.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise file_error(error, layout.root, doing="use") from None
        raise ConfigurationError(
            f"the directory {layout.root} cannot be used: {error.strerror}",
            code="unwritable_directory",
            hint="give a directory that you may write to with --data",
        ) from None


def _hold(layout: Layout, descriptor: int) -> None:
    """Take the lock; a file that its last holder has taken away meanwhile locks nobody out."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(descriptor), layout.lock.stat()):
            return
    except (BlockingIOError, FileNotFoundError):
        pass
    raise ConfigurationError(
        f"another process runs the instance in {layout.root}",
        code="instance_running",
        hint="stop it first, or give this one a directory of its own with --data",
    )


def _discard_first_start(layout: Layout, missing: Sequence[Path]) -> None:
    """Take away what a first start has made, while the lock is held; an instance that is whole stays."""
    if layout.lock not in missing or layout.instance_file.exists():
        return
    with suppress(OSError):  # what cannot be taken away now, the next start discards
        _discard_half_made(layout)
        layout.lock.unlink()


def _remove_folders(missing: Sequence[Path]) -> None:
    """Remove the folders that were made, the innermost first; one that holds something stays."""
    with suppress(OSError):
        for path in missing:
            if path.is_dir():
                path.rmdir()


def is_new(layout: Layout) -> bool:
    """Say whether the directory holds no instance yet, after discarding a half-made one.

    Only what a first start makes is ever deleted, and only where `.new` shows that one was under way.
    Raises `ConfigurationError` (`not_an_instance`) for a directory with other things in it.
    """
    if layout.instance_file.exists():
        shutil.rmtree(layout.new, ignore_errors=True)
        return False
    _discard_half_made(layout)
    others = sorted(item.name for item in layout.root.iterdir() if item.name != layout.lock.name)
    if others:
        raise ConfigurationError(
            f"{layout.root} is not empty and holds no instance: {', '.join(others[:3])}",
            code="not_an_instance",
            hint="give an empty or a new directory with --data",
        )
    return True


def _discard_half_made(layout: Layout) -> None:
    if layout.new.exists():
        for name in DIRECTORIES:
            shutil.rmtree(layout.root / name, ignore_errors=True)
        shutil.rmtree(layout.new)


def install(layout: Layout) -> None:
    """Move a finished `.new` into place, `instance.json` last: from then on the instance exists."""
    for folder, _, files in os.walk(layout.new):
        for name in files:
            sync_path(Path(folder) / name)
        sync_path(Path(folder))
    for name in (*DIRECTORIES, layout.instance_file.name):
        (layout.new / name).rename(layout.root / name)
        sync_path(layout.root)
    layout.new.rmdir()
    sync_path(layout.root)
