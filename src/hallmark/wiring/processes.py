"""What the processes of an instance use, read from /proc (Linux, proc(5))."""

import os
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from hallmark.web.metrics import Sample

_TICKS: Final = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")
_UTIME, _STIME, _START, _RSS = 11, 12, 19, 21  # fields of /proc/PID/stat, counted after the name


def family_of(parent: int) -> tuple[int, ...]:
    """List a process and its children; the process alone where the system does not tell."""
    with suppress(OSError):
        children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
        return (parent, *(int(child) for child in children))
    return (parent,)


def process_samples(processes: Iterable[int]) -> Iterator[Sample]:
    """Sum up what they use, under the names that Prometheus has for processes; nothing without /proc."""
    cpu = memory = files = 0.0
    starts: list[float] = []
    for process in processes:
        with suppress(OSError, ValueError, IndexError):  # one that has just ended
            fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
            cpu += (int(fields[_UTIME]) + int(fields[_STIME])) / _TICKS
            memory += int(fields[_RSS]) * _PAGE_BYTES
            starts.append(int(fields[_START]) / _TICKS)
            files += len(os.listdir(f"/proc/{process}/fd"))
    if not starts:
        return
    booted = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
    yield Sample("process_cpu_seconds_total", "CPU of all processes.", {}, cpu, "counter")
    yield Sample("process_resident_memory_bytes", "Memory of all processes.", {}, memory)
    yield Sample("process_open_fds", "Open files of all processes.", {}, files)
    yield Sample("process_start_time_seconds", "When the first of them started.", {}, booted + min(starts))
    yield Sample("hallmark_processes", "Processes that there are now.", {}, float(len(starts)))
