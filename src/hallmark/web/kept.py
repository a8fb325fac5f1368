"""What costs more to look up than to send is looked up once in a while, however often it is asked for."""

import asyncio
from collections.abc import Callable
from time import monotonic
from typing import Final, Generic, TypeVar

T = TypeVar("T")

KEPT_SECONDS: Final = 1.0  # nobody scrapes more often, and nobody notices so short a delay


class Kept(Generic[T]):
    """What was found last, looked up again when that is older than `seconds`.

    `look_up` runs in another thread, never twice at a time; what it raises is not kept.
    """

    def __init__(self, look_up: Callable[[], T], seconds: float = KEPT_SECONDS) -> None:
        self._look_up = look_up
        self._seconds = seconds
        self._turn = asyncio.Lock()
        self._found: tuple[T, float] | None = None

    async def read(self) -> T:
        """Give what was found, waiting where another call is looking it up."""
        async with self._turn:
            if self._found is None or monotonic() >= self._found[1]:
                value = await asyncio.to_thread(self._look_up)
                self._found = value, monotonic() + self._seconds
            return self._found[0]
