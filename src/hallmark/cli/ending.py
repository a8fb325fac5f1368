"""What ends a command from outside: Ctrl-C, and the signals of a system or a terminal that goes away."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Final

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_INTERRUPTED: Final = "interrupted"


class Ended(KeyboardInterrupt):
    """A signal ends the command; `told` says that the command has printed what came of it."""

    def __init__(self, number: int = signal.SIGINT, *, told: bool = False) -> None:
        super().__init__(number)
        self.number = number
        self.told = told

    @property
    def exit_code(self) -> int:
        """What a shell would say of a process that this signal ended."""
        return 128 + self.number


def describe_end(ended: Ended, message: str = _INTERRUPTED, hint: str = "") -> dict[str, Any]:
    """Give it as JSON values, like any other error."""
    return {"code": _INTERRUPTED, "message": message, "hint": hint, "exitCode": ended.exit_code}


@contextmanager
def ending_in_order() -> Iterator[None]:
    """Let SIGTERM and SIGHUP end what runs as Ctrl-C does, so that it clears up, unless they are ignored."""
    usual = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    heard = [number for number, handler in usual.items() if handler is signal.SIG_DFL]
    for number in heard:
        signal.signal(number, _end)
    try:
        yield
    finally:
        for number in heard:
            signal.signal(number, usual[number])


def _end(number: int, _: FrameType | None) -> None:
    raise Ended(number)
