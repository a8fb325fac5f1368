"""Work in forks of this process: some at a time, each with its own group, folder and bounds."""

import os
import resource
import shutil
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import Any

AT_ONCE = 2
CPU_SECONDS = 15
"""A change that loops for ever is noticed by this: the judges of one take a few seconds."""

SECONDS = 120
"""A change that waits for ever is noticed by this."""

MEMORY_BYTES = 8 << 30
"""A change that lets something grow for ever is noticed by this."""


def each_in_a_fork(
    items: Iterable[Any], work: Callable[[Any], int], cpu_seconds: int = CPU_SECONDS
) -> Iterator[tuple[Any, int]]:
    """Yield every item with the exit status of its fork, as they end."""
    running: dict[int, tuple[Any, str]] = {}
    for item in items:
        if len(running) == AT_ONCE:
            yield _ended(running)
        folder = tempfile.mkdtemp(prefix="mutant-")
        running[_forked(item, work, folder, cpu_seconds)] = (item, folder)
    while running:
        yield _ended(running)


def _forked(item: Any, work: Callable[[Any], int], folder: str, cpu_seconds: int) -> int:
    sys.stdout.flush()
    if pid := os.fork():
        return pid
    status = 1
    try:
        _alone(folder, cpu_seconds)
        status = work(item)
    except BaseException:  # noqa: BLE001 - a fork must not go on with its parent's work
        traceback.print_exc()
    os._exit(status)


def _alone(folder: str, cpu_seconds: int) -> None:
    os.setsid()
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_seconds, cpu_seconds))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    if cpu_seconds == CPU_SECONDS:
        signal.alarm(SECONDS)
    log = os.open(os.path.join(folder, "log"), os.O_CREAT | os.O_WRONLY)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.environ["TMPDIR"] = tempfile.tempdir = folder


def _ended(running: dict[int, tuple[Any, str]]) -> tuple[Any, int]:
    pid, status = os.wait()
    item, folder = running.pop(pid)
    with suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)
    shutil.rmtree(folder, ignore_errors=True)
    return item, status
