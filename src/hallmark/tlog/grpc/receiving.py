"""Places in which a process receives messages that may be large: so many, by turns of connections.

grpcio does not tell how much of a message has come. So a call that has had its place for a while gives way
where others wait, whatever it has sent; without that a few calls that send nothing would shut out all.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from hallmark.errors import MalformedInput, Overloaded
from hallmark.web.flows import Flows

T = TypeVar("T")

GIVING_WAY_SECONDS: Final = 1.0  # a message of ordinary size comes with its call, or a moment later


class Places:
    """The places of one process. Owned by its event loop."""

    def __init__(self, most: int, giving_way: float = GIVING_WAY_SECONDS) -> None:
        self._free = most
        self._giving_way = giving_way
        self._waiting: Flows[asyncio.Future[None]] = Flows()
        self._held: dict[asyncio.Timeout, float] = {}  # in the order in which they began
        self._looking = False

    async def receive(
        self, connection: str, read: Callable[[], Awaitable[T]], *, seconds: float, patience: float
    ) -> T:
        """Read in a place, for so many seconds; `patience` is how long to wait for one.

        Raises `Overloaded` (`too_many_bodies`) where there was no place or it had to give way, and
        `MalformedInput` (`body_too_slow`).
        """
        await self._enter(connection, patience)
        loop = asyncio.get_running_loop()
        timeout = asyncio.timeout(seconds)
        self._held[timeout] = loop.time()
        try:
            async with timeout:
                return await read()
        except TimeoutError:
            if timeout not in self._held:
                raise _too_many() from None
            raise MalformedInput(
                f"the message did not arrive within {seconds:g} seconds", code="body_too_slow"
            ) from None
        finally:
            self._held.pop(timeout, None)
            self._leave()

    async def _enter(self, connection: str, patience: float) -> None:
        if self._free:
            self._free -= 1
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.push(connection, future)
        self._look()
        try:
            async with asyncio.timeout(patience):
                await future
        except (TimeoutError, asyncio.CancelledError) as ended:
            if future.done() and not future.cancelled():  # the place came, a moment too late
                self._leave()
            self._waiting.remove(connection, future)
            if isinstance(ended, TimeoutError):
                raise _too_many() from None
            raise

    def _leave(self) -> None:
        while self._waiting:
            future = self._waiting.pop()
            if not future.done():
                future.set_result(None)
                return
        self._free += 1

    def _look(self) -> None:
        """Let the oldest give way once it is due, as long as others wait."""
        if self._looking or not self._waiting or not self._held:
            return
        self._looking = True
        loop = asyncio.get_running_loop()
        oldest = next(iter(self._held.values()))
        loop.call_at(oldest + self._giving_way, self._give_way)

    def _give_way(self) -> None:
        self._looking = False
        now = asyncio.get_running_loop().time()
        for timeout, began in list(self._held.items()):
            if not self._waiting or now < began + self._giving_way:
                break
            del self._held[timeout]
            timeout.reschedule(now)
        self._look()


def _too_many() -> Overloaded:
    return Overloaded("too many requests are still arriving", code="too_many_bodies")
