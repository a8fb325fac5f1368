"""Turns of the event loop, shared out: nobody waits for the work of others longer than a few milliseconds.

Everything that a request costs runs as pieces, and a turn of the loop takes as many as it has time for.
Light pieces are those of callers who have shown that they append entries (`web.standing`): they run as they
come. All else is heavy, whatever it takes: it gets through whatever comes, but where light pieces came too,
as much time is left after it as it took, for them and for the committing thread, which they wait for.

What waits among the heavy ones has the name of a flow, and every flow has its turn: a thousand requests under
one name delay each other only.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, Final, TypeVar

from hallmark.errors import Overloaded
from hallmark.web.flows import Flows

T = TypeVar("T")

TURN_SECONDS: Final = 0.004  # a commit takes about one: a caller waits a few turns and should not notice
LONGEST_REST: Final = 0.05  # between heavy pieces, while others need the processor for their commits
LIGHT_SECONDS: Final = 0.05  # after a light piece: a commit under load, with its sync of the disk
MAX_ARRIVALS: Final = 16  # a fifth of a millisecond each, before any work of ours
MAX_WAITING: Final = 12_288  # 10,000 clients may come at once; one that has gone waits on, with 12 KB
_Piece = tuple[Callable[[], Any], "asyncio.Future[Any]"]


class Turns:
    """Runs the pieces of one process's requests. Owned by its event loop; a piece must not await."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._light: deque[_Piece] = deque()
        self._began = 0.0
        self._turning = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._light_came = False
        self._rests_until = 0.0
        self._heavy: Flows[_Piece] = Flows()
        self._arriving: Flows[asyncio.Future[None]] = Flows()
        self._arrived = 0
        self._heavy_began = 0.0
        self._heavy_turning = False
        self._resting = False
        self._heavy_loop: asyncio.AbstractEventLoop | None = None

    async def arrive(self, flow: str = "") -> None:
        """Begin a request: so many in a turn, because that is work too.

        None begins while as many pieces of its flow wait. Where many wait, the newest of a flow begins in
        turn with the oldest: a caller who comes into a crowd need not wait for all of it. Raises `Overloaded`
        where too many wait.
        """
        if not self._arriving and self._heavy_has_time() and self._may_begin(flow):
            self._arrived += 1
            return
        if len(self._arriving) >= MAX_WAITING:
            raise Overloaded("too many requests wait to begin", code="too_many_calls", retry_after=1)
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._arriving.push(flow, future)
        await future

    async def light(self, work: Callable[[], T]) -> T:
        """Run a short piece: at once where this turn has time left, else in one of the next."""
        self._light_came = True
        if not self._light and self._has_time():
            return work()
        return await _wait(self._light.append, work)

    async def heavy(self, work: Callable[[], T], flow: str = "") -> T:
        """Run any other piece: at once where nothing waits, else in the turn of its flow."""
        if not self._heavy and self._heavy_has_time():
            return work()
        return await _wait(partial(self._heavy.push, flow), work)

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
        loop.call_soon(self._turn, loop)

    def _turn(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin another turn, as long as somebody waits."""
        if not self._light:
            self._turning = False
            return
        self._begin(loop)
        while self._light and self._has_time():
            _run(*self._light.popleft())

    def _heavy_has_time(self) -> bool:
        """Say the same of the time for heavy pieces, which has rests."""
        loop = asyncio.get_running_loop()
        if loop is not self._heavy_loop:
            self._heavy_loop, self._heavy_turning, self._resting = loop, False, False
        if self._resting:
            return False
        if self._heavy_turning:
            return self._clock() - self._heavy_began < TURN_SECONDS
        self._begin_heavy()
        loop.call_soon(self._end_heavy, loop)
        return True

    def _begin_heavy(self) -> None:
        self._heavy_turning, self._heavy_began, self._arrived = True, self._clock(), 0

    def _end_heavy(self, loop: asyncio.AbstractEventLoop) -> None:
        """Rest as long as it took, with all that began in it, where light pieces came lately."""
        now = self._clock()
        took, self._heavy_turning = now - self._heavy_began, False
        if self._light_came:
            self._light_came, self._rests_until = False, now + LIGHT_SECONDS
        if now < self._rests_until:
            self._resting = True
            loop.call_later(min(took, LONGEST_REST), self._next_heavy, loop)
        else:
            self._next_heavy(loop)

    def _next_heavy(self, loop: asyncio.AbstractEventLoop) -> None:
        """Run what a turn has time for, at least one piece, and let others begin."""
        self._resting = False
        if not (self._heavy or self._arriving):
            return
        self._begin_heavy()
        while self._heavy and self._clock() - self._heavy_began < TURN_SECONDS:
            _run(*self._heavy.pop())
        while (flow := next(filter(self._may_begin, self._arriving), None)) is not None:
            self._arrived += 1
            arrived = self._arriving.pop_from_either_end(flow)
            if not arrived.done():  # else the caller has gone
                arrived.set_result(None)
        loop.call_soon(self._end_heavy, loop)  # after those that begin now

    def _may_begin(self, flow: str) -> bool:
        return self._arrived < MAX_ARRIVALS and self._heavy.count(flow) < MAX_ARRIVALS


async def _wait(push: Callable[[_Piece], None], work: Callable[[], T]) -> T:
    future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
    push((work, future))
    del work
    try:
        return await future
    finally:
        del future  # what failed would hold it, and it holds what failed, until somebody collects garbage


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
