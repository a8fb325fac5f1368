"""Large answers on their way out: sent in pieces, so many at a time, and not for ever.

A reader that does not read holds what was made for it. So a large answer goes out piece by piece, each made
when the one before was taken; only so many do at once, and when another one comes, the reader that has
taken nothing for the longest time gives way. What is then left of its connection is the kernel's to end,
see `instance.serving`.
"""

import asyncio
from typing import Final

from hallmark.errors import Overloaded
from hallmark.ports import StoredBytes
from hallmark.web.asgi import Message, Send

PIECE_BYTES: Final = 32 * 1024  # of which the server holds eight; each costs a hand-over
MAX_ANSWERS: Final = 128  # in one process: 32 MiB, all in all
MAX_HELD_BYTES: Final = 64 * 1024 * 1024  # of answers that stand in no file: four of the largest bundle
SEND_SECONDS: Final = 20.0  # for a piece: 13 kbit/s
STALLED_SECONDS: Final = 1.0  # a reader that has taken nothing for so long gives way to another
ROOM_SECONDS: Final = 0.05  # between two that give way: what the server holds of one stays for some seconds


class Outgoing:
    """The large answers of one process. Owned by its event loop."""

    def __init__(
        self,
        *,
        most: int = MAX_ANSWERS,
        most_held: int = MAX_HELD_BYTES,
        seconds: float = SEND_SECONDS,
        stalled: float = STALLED_SECONDS,
    ) -> None:
        self._most = most
        self._most_held = most_held
        self._seconds = seconds
        self._stalled = stalled
        self._answers: set[_Answer] = set()
        self._room_made = 0.0

    async def send(
        self, send: Send, headers: list[tuple[bytes, bytes]], body: StoredBytes, *, held: int = 0
    ) -> None:
        """Send `body`; `held` says how many bytes of memory it keeps meanwhile.

        Raises `Overloaded` (`too_many_answers`) before anything is sent, or `TimeoutError` for a reader
        that does not read: what it has got stays a torso, which its Content-Length tells.
        """
        answer = _Answer(send, self._seconds, held)
        self._make_room(held)
        self._answers.add(answer)
        try:
            await answer.send(headers, body)
        finally:
            self._answers.discard(answer)

    def _make_room(self, held: int) -> None:
        if self._has_room(held):
            return
        now = asyncio.get_running_loop().time()
        too_many = len(self._answers) >= self._most
        able = [answer for answer in self._answers if too_many or answer.held]
        slowest = min(able, key=lambda answer: answer.taken, default=None)
        due = now - self._room_made >= ROOM_SECONDS
        if due and slowest is not None and now - slowest.taken >= self._stalled:
            self._room_made = now
            slowest.give_way()
            self._answers.discard(slowest)
        if not self._has_room(held):
            raise Overloaded("too many large answers are under way", code="too_many_answers")

    def _has_room(self, held: int) -> bool:
        holding = sum(answer.held for answer in self._answers) if held else 0
        return len(self._answers) < self._most and held + holding <= self._most_held


class _Answer:
    """One large answer; `taken` is when its reader took a piece last."""

    def __init__(self, send: Send, seconds: float, held: int) -> None:
        self._send = send
        self._seconds = seconds
        self._loop = asyncio.get_running_loop()
        self._timeout = asyncio.timeout(None)
        self.taken = self._loop.time()
        self.held = held

    async def send(self, headers: list[tuple[bytes, bytes]], body: StoredBytes) -> None:
        async with self._timeout:
            await self._next({"type": "http.response.start", "status": 200, "headers": headers})
            for start in range(0, body.size, PIECE_BYTES):
                piece, more = body.read(start, PIECE_BYTES), start + PIECE_BYTES < body.size
                await self._next({"type": "http.response.body", "body": piece, "more_body": more})

    async def _next(self, message: Message) -> None:
        self._timeout.reschedule(self.taken + self._seconds)
        await self._send(message)
        self.taken = self._loop.time()

    def give_way(self) -> None:
        """End it as if its time were over."""
        self._timeout.reschedule(self.taken)
