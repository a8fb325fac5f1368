"""A line on the terminal that says how far a long command is; nowhere else."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from hallmark.client.artifact import Watch

_SECONDS: Final = 0.1
_LARGE_BYTES: Final = 64 << 20  # hashed in a tenth of a second: nobody waits for less


class Progress:
    """Rewrites one line on standard error, but only where that is a terminal, and a few times a second."""

    def __init__(self, what: str, unit: str = "entries", *, quiet: bool) -> None:
        self._what = what
        self._unit = unit
        self._shown = not quiet and sys.stderr.isatty()
        self._next = 0.0
        self._width = 0

    def __call__(self, done: int, total: int) -> None:
        """Say that `done` of `total` units are behind us."""
        if self._shown and time.monotonic() >= self._next:
            self._next = time.monotonic() + _SECONDS
            percent = 100 * done // total if total else 100
            self._write(f"{self._what}: {done:,} of {total:,} {self._unit} ({percent} %)")

    def finish(self) -> None:
        """Clear the line."""
        if self._shown:
            self._write("")

    def _write(self, text: str) -> None:
        sys.stderr.write(f"\r{text.ljust(self._width)}" + ("" if text else "\r"))
        sys.stderr.flush()
        self._width = len(text)


@contextmanager
def hashing_progress(*, quiet: bool) -> Iterator[Watch]:
    """Show how far a large file has been hashed, until the work is done."""
    progress = Progress("hashing", "bytes", quiet=quiet)

    def watch(done: int, total: int) -> None:
        if total >= _LARGE_BYTES:
            progress(done, total)

    try:
        yield watch
    finally:
        progress.finish()
