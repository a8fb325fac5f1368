"""Turns of the event loop, shared out: nobody waits for the work of others longer than a few milliseconds.

Everything that a request costs runs as pieces, and a turn of the loop takes as many as it has time for.
What does not fit waits for the next one, in two queues: the light pieces of ordinary requests, and the
heavy ones of requests that take many or long pieces. A heavy piece gets through whatever comes, but where
light ones came too, as much time is left after it as it took: the committing thread, which they wait for,
needs the interpreter again and again.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Final, TypeVar

T = TypeVar("T")

TURN_SECONDS: Final = 0.004  # a commit takes about one: a caller waits a few turns and should not notice
LONGEST_REST: Final = 0.05  # between heavy pieces, while others need the processor for their commits
MAX_ARRIVALS: Final = 32  # a tenth of a millisecond each, before any work of ours
_Queue = deque[tuple[Callable[[], Any], "asyncio.Future[Any]"]]


class Turns:
    """Runs the pieces of one process's requests. Owned by its event loop; a piece must not await."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._light: _Queue = deque()
        self._heavy: _Queue = deque()
        self._began = 0.0
        self._turning = False
        self._heavy_due = False
        self._heavy_loop: asyncio.AbstractEventLoop | None = None
        self._light_came = False
        self._arriving: deque[asyncio.Future[None]] = deque()
        self._arrived = 0
        self._loop: asyncio.AbstractEventLoop | None = None

    async def arrive(self) -> None:
        """Begin a request that goes through routing: so many in a turn, because that is work too."""
        if not self._arriving and self._has_time() and self._arrived < MAX_ARRIVALS:
            self._arrived += 1
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._arriving.append(future)
        await future

    async def light(self, work: Callable[[], T]) -> T:
        """Run a short piece: at once where this turn has time left, else in one of the next."""
        self._light_came = True
        if not self._light and self._has_time():
            return work()
        return await self._wait(self._light, work)

    async def heavy(self, work: Callable[[], T]) -> T:
        """Run a piece of a request that has many, or a long one: after those that came before it."""
        loop = asyncio.get_running_loop()
        if not self._heavy_due or loop is not self._heavy_loop:
            self._heavy_due, self._heavy_loop = True, loop
            loop.call_soon(self._heavy_turn, loop)
        return await self._wait(self._heavy, work)

    def _has_time(self) -> bool:
        """Say whether this turn has time left; the first piece of a turn notes when it began."""
        loop = asyncio.get_running_loop()
        if self._turning and loop is self._loop:
            return self._clock() - self._began < TURN_SECONDS
        self._loop = loop
        self._begin(loop)
        return True

    def _begin(self, loop: asyncio.AbstractEventLoop) -> None:
        self._turning = True
        self._began = self._clock()
        self._arrived = 0
        loop.call_soon(self._turn, loop)

    async def _wait(self, queue: _Queue, work: Callable[[], T]) -> T:
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        queue.append((work, future))
        del work
        try:
            return await future
        finally:
            del future  # what failed would hold it, and it holds what failed, until somebody collects garbage

    def _turn(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin another turn, as long as somebody waits."""
        if not (self._arriving or self._light):
            self._turning = False
            return
        self._begin(loop)
        while self._arriving and self._arrived < MAX_ARRIVALS:
            self._arrived += 1
            arrived = self._arriving.popleft()
            if not arrived.done():  # else the caller has gone
                arrived.set_result(None)
        while self._light and self._has_time():
            _run(*self._light.popleft())

    def _heavy_turn(self, loop: asyncio.AbstractEventLoop) -> None:
        """Run what a turn has time for, at least one piece, and rest as long where light ones came."""
        began, took = self._clock(), 0.0
        while self._heavy and took < TURN_SECONDS:
            _run(*self._heavy.popleft())
            took = self._clock() - began
        self._heavy_due = bool(self._heavy)
        if self._heavy and self._light_came:
            loop.call_later(min(took, LONGEST_REST), self._heavy_turn, loop)
        elif self._heavy:
            loop.call_soon(self._heavy_turn, loop)
        self._light_came = False


def _run(work: Callable[[], Any], future: "asyncio.Future[Any]") -> None:
    if future.done():  # the caller has gone
        return
    try:
        result = work()
    except Exception as error:  # noqa: BLE001  it is the caller's
        future.set_exception(error)
    else:
        future.set_result(result)
    finally:
        del work, future  # as in `_wait`: a body of megabytes may hang on them
