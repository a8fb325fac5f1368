"""Answers that wait for witnesses: an entry is answered once a cosigned checkpoint covers it.

For logs whose operator demands cosignatures: whoever appends then gets a proof that witnesses stand behind,
and needs to know nothing of them. The commit is as fast as ever and does not wait; what waits is the
caller's future. While somebody does, one timer of the event loop looks whether the publisher has put another
checkpoint in place; all whom it covers are answered in one go.
"""

import asyncio
from functools import partial
from typing import Final, Protocol

import msgspec

from hallmark.core.checkpoint import Checkpoint
from hallmark.errors import HallmarkError, Overloaded
from hallmark.ports import Appended, Finalize, LogAppender
from hallmark.tiledlog.sequencer import QueueLimits

MAX_WAIT_SECONDS: Final = 7.0  # clients wait 10 s for an answer: the reason must reach them before that
_LOOK_SECONDS: Final = 0.01
_RETRY_SECONDS: Final = 5


class CosignedReads(Protocol):
    """The published checkpoint with its quorum, and proofs of entries against it."""

    def cosigned(self) -> tuple[bytes, Checkpoint] | None:
        """Give the newest note that a quorum has signed, and what it states; None where there is none."""
        ...

    def prove_all(self, entries: list[Appended], note: bytes, stated: Checkpoint) -> list[Appended]:
        """Prove each entry against a checkpoint that covers it; raises `HallmarkError`."""
        ...


class _Caller(msgspec.Struct, frozen=True):
    """Somebody whose entry is durable, and who waits for witnesses."""

    entry: Appended
    size: int
    deadline: float
    future: "asyncio.Future[Appended]"


class CosignedAnswers:
    """The writing side of a log whose answers wait (`ports.LogAppender`).

    `seconds` bounds a wait, and `MAX_WAIT_SECONDS` does; what waits longer is told to come back: its entry
    stands in the log, and sending it again finds it. Owned by one event loop.
    """

    def __init__(
        self, log: LogAppender, reads: CosignedReads, *, seconds: float, limits: QueueLimits
    ) -> None:
        self._log = log
        self._reads = reads
        self._seconds = min(seconds, MAX_WAIT_SECONDS)
        self._limits = limits
        self._callers: list[_Caller] = []
        self._bytes = 0
        self._timer: asyncio.TimerHandle | None = None

    def append(self, dedup_key: bytes, finalize: Finalize, *, size: int = 4096) -> "asyncio.Future[Appended]":
        """Append an entry, and give its answer once witnesses stand behind it; see `ports.LogAppender`."""
        if len(self._callers) >= self._limits.max_entries or self._bytes + size > self._limits.max_bytes:
            raise _missing(f"{len(self._callers)} entries wait for a quorum of witnesses already")
        appending = self._log.append(dedup_key, finalize, size=size)
        loop = appending.get_loop()
        answer: asyncio.Future[Appended] = loop.create_future()
        appending.add_done_callback(partial(self._committed, answer, size, loop.time() + self._seconds))
        return answer

    def hurry(self, seconds: float) -> None:
        """Let nobody wait longer than this: the process is about to end."""
        self._seconds = min(self._seconds, seconds)
        for caller in self._callers:
            latest = caller.future.get_loop().time() + seconds
            if caller.deadline > latest:
                caller.future.get_loop().call_later(seconds, _give_up, caller.future)

    def _committed(
        self,
        answer: "asyncio.Future[Appended]",
        size: int,
        deadline: float,
        appending: "asyncio.Future[Appended]",
    ) -> None:
        error = None if appending.cancelled() else appending.exception()
        if answer.done():
            return  # the caller has given up
        if error is not None:
            answer.set_exception(error)
        else:
            self._callers.append(_Caller(appending.result(), size, deadline, answer))
            self._bytes += size
            self._look_later()

    def _look_later(self) -> None:
        if self._timer is None and self._callers:
            self._timer = asyncio.get_running_loop().call_later(_LOOK_SECONDS, self._look)

    def _look(self) -> None:
        """Answer whom the newest cosigned checkpoint covers, and whose time is up."""
        self._timer = None
        try:
            found = self._reads.cosigned()
        except OSError:  # a disk that cannot be read now: those who wait may still be told what is missing
            found = None
        if found is not None:
            self._answer(*found)
        now = asyncio.get_running_loop().time()
        for caller in self._callers:
            if caller.deadline <= now:
                _give_up(caller.future)
        self._callers = [caller for caller in self._callers if not caller.future.done()]
        self._bytes = sum(caller.size for caller in self._callers)
        self._look_later()

    def _answer(self, note: bytes, stated: Checkpoint) -> None:
        """Answer all whom this checkpoint covers; who has given up meanwhile is left out."""
        waiting = [caller for caller in self._callers if not caller.future.done()]
        ready = [caller for caller in waiting if caller.entry.index < stated.size]
        for caller in ready:
            if caller.entry.duplicate:
                caller.future.set_result(caller.entry)
        fresh = [caller for caller in ready if not caller.entry.duplicate]
        if not fresh:
            return
        try:
            proved = self._reads.prove_all([caller.entry for caller in fresh], note, stated)
        except HallmarkError as error:
            for caller in fresh:
                caller.future.set_exception(error)
        else:
            for caller, entry in zip(fresh, proved, strict=True):
                caller.future.set_result(entry)


def _missing(message: str) -> Overloaded:
    hint = "try again later; if it stays so, the operator of the log must see to its witnesses"
    return Overloaded(message, code="witnesses_missing", retry_after=_RETRY_SECONDS, hint=hint)


def _give_up(future: "asyncio.Future[Appended]") -> None:
    if not future.done():
        what = (
            "the entry is in the log, but no quorum of witnesses has signed a checkpoint that covers it yet"
        )
        future.set_exception(_missing(what))
