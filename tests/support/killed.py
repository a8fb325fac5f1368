"""Work that is killed just before one of its file operations."""

import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

KILLED = 9
_CHANGING = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "os.link", "sqlite3.connect"}
_WRITING = os.O_WRONLY | os.O_RDWR


def run_killed(work: Callable[[], None], folder: Path, number: int) -> bool:
    """Do the work in a process that ends before its change number `number` (from 0) to files below a folder.

    Says whether it was killed; what it raises is printed, and fails the caller.
    """
    child = os.fork()
    if child == 0:
        _become(work, folder, number)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status in {0, KILLED}, status
    return status == KILLED


def _become(work: Callable[[], None], folder: Path, number: int) -> None:
    """Work with a hook (PEP 578), which nothing can take away: the process ends here."""
    left = number

    def watch(event: str, arguments: tuple) -> None:
        nonlocal left
        if _changes(event, arguments, str(folder)):
            left -= 1
            if left < 0:
                os._exit(KILLED)

    status = 1
    try:
        sys.addaudithook(watch)
        work()
        status = 0
    except BaseException:  # noqa: BLE001  a fork must never go on as the test run
        traceback.print_exc()
    finally:
        os._exit(status)


def _changes(event: str, arguments: tuple, folder: str) -> bool:
    if event == "open":
        path, _, flags = arguments
        return (
            isinstance(path, (str, os.PathLike)) and str(path).startswith(folder) and bool(flags & _WRITING)
        )
    return event in _CHANGING and folder in str(arguments[0])
