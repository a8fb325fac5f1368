"""When a process is told to end: at any moment, while it starts and while it stops too."""

import signal
import sys
from types import FrameType


class Stopped(BaseException):  # not an Exception: nothing on the way out may take it for a fault
    """The process was told to end before it served."""


class Stopping:
    """Hears SIGINT and SIGTERM.

    Until `serve_on` is called the first of them raises `Stopped` in the main thread, whatever that waits for:
    a start that is broken off is like one that was killed, which the next start deals with. From then on, and
    after the first, they are only counted.
    """

    def __init__(self) -> None:
        self._count = 0  # no `threading.Event`: its lock may be held by the very thread that a handler stops
        self._raising = True
        self._hung_up = False
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._hear)
        # a terminal that is closed takes the instance with it; without one SIGHUP is a request
        signal.signal(signal.SIGHUP, self._hear if sys.stderr.isatty() else self._hang_up)

    def asked(self) -> bool:
        """Say whether the process was told to end."""
        return self._count > 0

    def pressed(self) -> bool:
        """Say whether it was told more than once: whoever asks again does not want to wait."""
        return self._count > 1

    def hung_up(self) -> bool:
        """Say whether SIGHUP has come since the last time."""
        was, self._hung_up = self._hung_up, False
        return was

    def serve_on(self) -> None:
        """Raise no more."""
        self._raising = False

    def _hang_up(self, _number: int, _frame: FrameType | None) -> None:
        self._hung_up = True

    def _hear(self, _number: int, _frame: FrameType | None) -> None:
        self._count += 1
        raising, self._raising = self._raising, False
        if raising:
            raise Stopped
