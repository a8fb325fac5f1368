"""The writing side of a log: entries wait in a bounded queue, one thread of the process commits them.

Entries that arrive while a commit is under way form the next batch. There is no timer: an idle log answers
one entry after one commit, and under load the batches grow by themselves. Callers wait on futures of their
event loop, never on threads.
"""

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final, Protocol

import msgspec

from hallmark.errors import Conflict, Frozen, HallmarkError, Overloaded
from hallmark.ports import (
    DEDUP_KEY_SIZE,
    Appended,
    CheckpointSigner,
    Clock,
    CommitTransaction,
    Finalize,
    HeadStore,
)
from hallmark.tiledlog.commit import Commit, Waiting, build_commit

logger = logging.getLogger("hallmark.tiledlog")

_ATTEMPTS: Final = 5


class QueueLimits(msgspec.Struct, frozen=True, kw_only=True):
    """How much may wait, and how many entries one commit takes at most."""

    max_entries: int = 8192
    max_bytes: int = 64 * 1024 * 1024
    max_batch: int = 1024


class _Caller(msgspec.Struct, frozen=True):
    entry: Waiting
    size: int
    future: "asyncio.Future[Appended]"
    loop: asyncio.AbstractEventLoop


Outcome = Appended | HallmarkError


class CommitObserver(Protocol):
    """Told of every commit, by the committing thread; must be quick."""

    def committed(self, *, seconds: float, added: int, duplicates: int, waiting: int) -> None:
        """One batch was committed in so many seconds; `waiting` entries have come since it was taken."""
        ...


class _Nobody:
    """Watches nothing."""

    def committed(self, *, seconds: float, added: int, duplicates: int, waiting: int) -> None:
        """Do nothing."""


class Sequencer:
    """Appends entries to one log (`ports.LogAppender`).

    `on_failure` is called with the exception when the storage fails so that nobody can know what is durable,
    or when the log is found damaged; it must end the process. Owned by the event loop: `_queue` and `_bytes`
    change under `_lock` only; everything of a commit belongs to the committing thread.
    """

    def __init__(
        self,
        store: HeadStore,
        signer: CheckpointSigner,
        clock: Clock,
        *,
        on_failure: Callable[[BaseException], None],
        limits: QueueLimits | None = None,
        observer: CommitObserver | None = None,
    ) -> None:
        self._observer = observer or _Nobody()
        self._store = store
        self._signer = signer
        self._clock = clock
        self._on_failure = on_failure
        self._limits = limits or QueueLimits()
        self._queue: deque[_Caller] = deque()
        self._bytes = 0
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._stopping = False
        self._locked_at: float | None = None
        self._thread = threading.Thread(target=self._run, name=f"commit {signer.origin}", daemon=True)

    def start(self) -> None:
        """Start the committing thread."""
        self._thread.start()

    def stop(self) -> None:
        """Commit what waits, then end the thread; further entries are refused."""
        with self._lock:
            self._stopping = True
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join()

    def lock_held(self) -> float:
        """Tell for how many seconds the commit under way has held the log's lock; zero between commits."""
        began = self._locked_at
        return 0.0 if began is None else time.monotonic() - began

    def append(self, dedup_key: bytes, finalize: Finalize, *, size: int = 4096) -> "asyncio.Future[Appended]":
        """Queue an entry; see `ports.LogAppender`. Called on an event loop, which sets the future."""
        if len(dedup_key) != DEDUP_KEY_SIZE:
            raise ValueError(f"a dedup key has {DEDUP_KEY_SIZE} bytes, not {len(dedup_key)}")
        loop = asyncio.get_running_loop()
        caller = _Caller(Waiting(dedup_key, finalize), size, loop.create_future(), loop)
        with self._lock:
            if self._stopping:
                raise Overloaded("the log is stopping", code="stopping", retry_after=5)
            if len(self._queue) >= self._limits.max_entries or self._bytes + size > self._limits.max_bytes:
                raise Overloaded(f"{len(self._queue)} entries wait for the log already", code="queue_full")
            self._queue.append(caller)
            self._bytes += size
        self._wake.set()
        return caller.future

    def _run(self) -> None:
        try:
            self._prepare()
            while batch := self._next_batch():
                began = time.perf_counter()
                outcomes = self._commit([caller.entry for caller in batch])
                self._answer(batch, outcomes)
                self._observe(time.perf_counter() - began, outcomes)
        except BaseException as error:  # whatever it was, the process must not go on
            logger.critical("the log %s stops: %s", self._signer.origin, error, exc_info=error)
            self._on_failure(error)

    def _prepare(self) -> None:
        """Let the store read its dedup index now, and not while the first caller waits."""
        with suppress(Overloaded), self._store.transaction() as transaction:
            transaction.find(())

    def _observe(self, seconds: float, outcomes: Sequence[Outcome]) -> None:
        answered = [outcome for outcome in outcomes if isinstance(outcome, Appended)]
        duplicates = sum(outcome.duplicate for outcome in answered)
        self._observer.committed(
            seconds=seconds,
            added=len(answered) - duplicates,
            duplicates=duplicates,
            waiting=len(self._queue),
        )

    def _next_batch(self) -> list[_Caller]:
        """Wait for entries; an empty batch means that the sequencer was stopped and nothing waits."""
        while True:
            with self._lock:
                count = min(len(self._queue), self._limits.max_batch)
                batch = [self._queue.popleft() for _ in range(count)]
                self._bytes -= sum(caller.size for caller in batch)
                if batch or self._stopping:
                    return batch
                self._wake.clear()
            self._wake.wait()

    def _commit(self, waiting: Sequence[Waiting]) -> Sequence[Outcome]:
        """Commit one batch; what cannot be stored now is every caller's answer, not the end of the log."""
        for _attempt in range(_ATTEMPTS):
            try:
                return self._try_commit(waiting)
            except Conflict:
                continue  # another machine was first; the head has moved, so build on the new one
            except (Overloaded, Frozen) as error:
                return [error] * len(waiting)
        return [Overloaded("other writers were always first", code="contended")] * len(waiting)

    def _try_commit(self, waiting: Sequence[Waiting]) -> Sequence[Outcome]:
        try:
            with self._store.transaction() as transaction:
                self._locked_at = time.monotonic()
                return self._write(transaction, waiting)
        finally:
            self._locked_at = None

    def _write(self, transaction: CommitTransaction, waiting: Sequence[Waiting]) -> Sequence[Outcome]:
        head = transaction.head()
        if head.frozen:
            raise Frozen("the log is frozen")
        known = transaction.find([entry.dedup_key for entry in waiting])
        now = int(self._clock().timestamp() * 1000)
        commit: Commit = build_commit(head, waiting, known, now=now, signer=self._signer)
        if commit.staged is not None:
            transaction.commit(head, commit.staged, commit.edge, commit.keys)
        return commit.answers

    def _answer(self, batch: Sequence[_Caller], outcomes: Sequence[Outcome]) -> None:
        """Set the futures, with one hand-over per event loop."""
        by_loop: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[Appended], Outcome]]] = {}
        for caller, outcome in zip(batch, outcomes, strict=True):
            by_loop.setdefault(caller.loop, []).append((caller.future, outcome))
        for loop, answers in by_loop.items():
            with suppress(RuntimeError):  # the loop was closed: nobody waits any more
                loop.call_soon_threadsafe(_resolve, answers)


def _resolve(answers: Sequence[tuple["asyncio.Future[Appended]", Outcome]]) -> None:
    for future, outcome in answers:
        if future.done():  # the caller has gone; the entry stands in the log all the same
            continue
        if isinstance(outcome, HallmarkError):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)
