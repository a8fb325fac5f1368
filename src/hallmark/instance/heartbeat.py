"""The heartbeat of a worker: told by a thread of its own, as long as the worker gets on with something.

A beat from the event loop itself would wait behind whatever fills the loop, and the parent would take a
busy worker for a hung one. So a thread looks whether anything has moved since the last time: a turn of the
loop, or a call that came in. It falls silent for a loop that does neither, and for a commit that keeps a
log's lock, which no other worker could take meanwhile.
"""

import asyncio
import threading
from collections.abc import Callable
from typing import Final

from hallmark.instance.supervisor import BEAT_SECONDS

LOCK_SECONDS: Final = (
    15.0  # a commit takes milliseconds; on a disk that hangs no restart helps, nor does it harm
)
_TURN_SECONDS: Final = 0.25


class Heartbeat:
    """Says that the worker lives.

    `say` tells the parent; `calls` counts the calls that came in; `lock_held` says for how many seconds a
    commit has held a log's lock.
    """

    def __init__(
        self, say: Callable[[], None], calls: Callable[[], int], lock_held: Callable[[], float]
    ) -> None:
        self._say = say
        self._calls = calls
        self._lock_held = lock_held
        self._turns = 0
        self._seen = (-1, -1)
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="heartbeat", daemon=True)

    async def run(self) -> None:
        """Say so at once, then watch until this is cancelled."""
        self._thread.start()
        try:
            while True:
                self._turns += 1
                await asyncio.sleep(_TURN_SECONDS)
        finally:
            self._ending.set()

    def _watch(self) -> None:
        while True:
            self.look()
            if self._ending.wait(BEAT_SECONDS):
                return

    def look(self) -> None:
        """Tell the parent, where anything has moved since the last look."""
        seen = (self._turns, self._calls())
        if seen != self._seen and self._lock_held() < LOCK_SECONDS:
            self._say()
        self._seen = seen
