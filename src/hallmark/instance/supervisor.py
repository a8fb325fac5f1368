"""The processes of an instance: the parent starts workers, replaces the ones that die, and ends them.

A worker learns of the parent's death by a pipe: its reading end sees the end of file when the parent is gone,
however it went, and the worker ends at once. What it was committing is committed or not; nobody is answered
who must not be.
"""

import logging
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from hallmark.errors import HallmarkError, RemoteError
from hallmark.instance.listening import Bound
from hallmark.instance.refusals import Refusal
from hallmark.web.metrics import shared_memory
from hallmark.wiring.settings import Settings

logger = logging.getLogger("hallmark.instance")

GO: Final = b"go"
BEAT: Final = b"."
BEAT_SECONDS: Final = 1.0
_SILENCE_SECONDS: Final = 15.0
_MAX_REPORT_BYTES: Final = 4000  # below what a pipe writes at once
_PATIENCE_SECONDS: Final = 4.0  # a worker serves within one: after this, say what is waited for
_START_SECONDS: Final = 60.0  # many times what a loaded machine needs: a worker that takes longer hangs
_STOP_SECONDS: Final = 15.0
_POLL_SECONDS: Final = 0.05
_LONGEST_PAUSE: Final = 5.0


class WorkerTask(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker is told: the instance's directory, its number, where to count, how and where to serve.

    `metrics_memory` is a file descriptor; `grpc_address` is `HOST:PORT`, or empty.
    """

    root: str
    number: int
    bound: Bound
    metrics_memory: int
    grpc_address: str = ""
    settings: Settings = Settings()


class Worker:
    """One worker process, its lifeline, and the pipe on which it reports that it serves and lives."""

    def __init__(self, task: WorkerTask) -> None:
        lifeline, self._lifeline = os.pipe()
        self._reports, reports = os.pipe()
        arguments = [msgspec.json.encode(task).decode(), str(lifeline), str(reports)]
        self.task = task
        self.served = False
        self._heard = time.monotonic()
        shared = () if task.bound.descriptor is None else (task.bound.descriptor,)
        # Ctrl-C reaches the whole group, this worker while it still imports too; the parent decides
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGHUP})
        try:
            self.process = subprocess.Popen(  # noqa: S603  our own module
                [sys.executable, "-m", "hallmark.instance.worker", *arguments],
                pass_fds=(lifeline, reports, task.metrics_memory, *shared),
                stdin=subprocess.DEVNULL,
            )
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        os.close(lifeline)
        os.close(reports)

    def go(self) -> None:
        """Let the worker open the directory and serve."""
        with suppress(BrokenPipeError):  # it has died already, which `poll` will tell
            os.write(self._lifeline, GO)

    def wait_until_serving(self) -> None:
        """Wait until the worker serves; raises what it could not start for."""
        if not self._wait_for_report():
            self.process.kill()
            raise RemoteError(
                f"worker {self.task.number} has not served after {_START_SECONDS:.0f} seconds",
                code="worker_failed",
                hint="its last words stand above; look for a disk or a lock that hangs",
            )
        report = os.read(self._reports, _MAX_REPORT_BYTES)
        if report[:1] == BEAT:
            self.served = True
            self._heard = time.monotonic()  # it was made before the logs were recovered, maybe long ago
            return
        status = self.process.wait(_START_SECONDS)
        if report:
            raise msgspec.json.decode(report, type=Refusal).error()
        raise RemoteError(
            f"worker {self.task.number} ended {_how(status)} before it served",
            code="worker_failed",
            hint="its reason stands above",
        )

    def _wait_for_report(self) -> bool:
        """Wait for its first word, or its end; say so when that takes long."""
        if select.select([self._reports], [], [], _PATIENCE_SECONDS)[0]:
            return True
        logger.warning(
            "worker %d (process %d) does not serve yet after %d seconds; it has %d",
            self.task.number,
            self.process.pid,
            _PATIENCE_SECONDS,
            _START_SECONDS,
        )
        return bool(select.select([self._reports], [], [], _START_SECONDS - _PATIENCE_SECONDS)[0])

    def listen(self) -> None:
        """Hear what the worker has reported since; one that has been silent for long is killed.

        A worker that hangs may hold a log's lock, and nobody else could write.
        """
        os.set_blocking(self._reports, False)
        with suppress(BlockingIOError):
            report = os.read(self._reports, _MAX_REPORT_BYTES)
            if report[:1] == BEAT:
                self.served = True
                self._heard = time.monotonic()
            elif report:
                self._log_refusal(report)
        if time.monotonic() - self._heard > _SILENCE_SECONDS:
            logger.error("worker %d has been silent for %d seconds", self.task.number, _SILENCE_SECONDS)
            self.process.kill()
            self._heard = time.monotonic()

    def _log_refusal(self, report: bytes) -> None:
        with suppress(msgspec.MsgspecError):
            logger.error("worker %d: %s", self.task.number, msgspec.json.decode(report, type=Refusal).message)

    def stop(self, deadline: float, pressed: Callable[[], bool]) -> None:
        """Wait for the worker to end, and make it end at the deadline or when it is pressed."""
        while self.process.poll() is None and time.monotonic() < deadline and not pressed():
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(_POLL_SECONDS)
        if self.process.poll() is None:
            logger.error("worker %d was not given the time to end in order", self.task.number)
            self.process.kill()
            self.process.wait()
        self.close()

    def close(self) -> None:
        """Close the pipes; a worker that still runs ends."""
        for descriptor in (self._lifeline, self._reports):
            os.close(descriptor)


class Supervisor:
    """Runs `count` workers on one directory until `stopping` says to end."""

    def __init__(
        self,
        root: Path,
        count: int,
        bound: Bound,
        *,
        grpc_address: str = "",
        settings: Settings | None = None,
    ) -> None:
        task = WorkerTask(
            root=str(root),
            number=0,
            bound=bound,
            metrics_memory=shared_memory(count + 1),
            grpc_address=grpc_address,
            settings=settings or Settings(),
        )
        self._workers = [Worker(msgspec.structs.replace(task, number=number)) for number in range(count)]
        self._failures = 0
        self._next_try = 0.0
        self._turnover = Turnover(count)

    def serve(self) -> None:
        """Let the workers serve, and wait until every one does."""
        for worker in self._workers:
            worker.go()
        for worker in self._workers:
            worker.wait_until_serving()

    def watch(self, stopping: Callable[[], bool], load: Callable[[], Settings | None]) -> None:
        """Replace workers that die or hang until it is time to stop, and all where there are new settings."""
        while not stopping():
            settings = load()
            if settings is not None:
                self._turnover.begin(self._workers, settings)
            self._turnover.go_on(self._workers)
            for worker in list(self._workers):
                worker.listen()
                if worker.process.poll() is not None and time.monotonic() >= self._next_try:
                    self._replace(worker)
            time.sleep(_POLL_SECONDS)

    def stop(self, pressed: Callable[[], bool] = lambda: False) -> None:
        """End every worker that there still is: they finish what they have accepted, for a bounded time.

        `pressed` says that they shall not have that time.
        """
        workers, self._workers = [*self._workers, *self._turnover.take_others()], []
        for worker in workers:
            worker.process.terminate()
        deadline = time.monotonic() + _STOP_SECONDS
        for worker in workers:
            worker.stop(deadline, pressed)

    def _replace(self, dead: Worker) -> None:
        """Start another worker; after several that never served, the next one has to wait ever longer."""
        logger.error("worker %d ended %s; starting another", dead.task.number, _how(dead.process.returncode))
        dead.close()
        self._failures = 0 if dead.served else self._failures + 1
        if self._failures > len(self._workers):
            self._next_try = time.monotonic() + min(0.1 * 2**self._failures, _LONGEST_PAUSE)
        replacement = Worker(dead.task)
        self._workers[self._workers.index(dead)] = replacement
        replacement.go()


class Turnover:
    """Puts workers with new settings in the places of the old ones, one after the other.

    The new one serves before the old one is told to end, so that there is always somebody. It counts in the
    slot of memory that is free, which then is that of the old one.
    """

    def __init__(self, free_slot: int) -> None:
        self._slot = free_slot
        self._due: list[tuple[Worker, Settings]] = []
        self._fresh: Worker | None = None
        self._leaving: Worker | None = None
        self._deadline = 0.0

    def begin(self, workers: list[Worker], settings: Settings) -> None:
        """Replace these, and those that are yet to be replaced."""
        self._due = [(worker, settings) for worker in workers]

    def take_others(self) -> list[Worker]:
        """Give up the workers that are coming or going to the caller, who ends them."""
        others = [worker for worker in (self._fresh, self._leaving) if worker is not None]
        self._fresh = self._leaving = None
        return others

    def go_on(self, workers: list[Worker]) -> None:
        """Do what can be done without waiting."""
        if self._leaving is not None:
            self._see_off(self._leaving)
        elif self._fresh is not None:
            self._welcome(self._fresh, workers)
        elif self._due:
            old, settings = self._due[0]
            if old not in workers:  # it has died; its heir has its old settings
                self._due[0] = (
                    next(item for item in workers if item.task.number == old.task.number),
                    settings,
                )
                return
            task = msgspec.structs.replace(old.task, number=self._slot, settings=settings)
            self._fresh = Worker(task)
            self._fresh.go()
            self._deadline = time.monotonic() + _START_SECONDS

    def _welcome(self, fresh: Worker, workers: list[Worker]) -> None:
        fresh.listen()
        late = time.monotonic() > self._deadline
        if not fresh.served and (late or fresh.process.poll() is not None):
            logger.error("a worker with the new settings does not serve; the others keep the old ones")
            self._fresh, self._due = None, []
            fresh.process.kill()
            fresh.process.wait()
            fresh.close()
        elif fresh.served:
            number = self._due.pop(0)[0].task.number
            place = next(at for at, item in enumerate(workers) if item.task.number == number)
            old, workers[place] = workers[place], fresh
            self._fresh, self._leaving = None, old
            old.process.terminate()
            self._deadline = time.monotonic() + _STOP_SECONDS

    def _see_off(self, old: Worker) -> None:
        if old.process.poll() is None:
            if time.monotonic() > self._deadline:
                old.process.kill()
            return
        old.close()
        self._leaving, self._slot = None, old.task.number


def _how(status: int) -> str:
    """Say how a process ended."""
    if status >= 0:
        return f"with status {status}"
    return f"by signal {-status} ({signal.strsignal(-status)})"


def say_alive(descriptor: int) -> None:
    """Tell the parent that this worker serves."""
    os.write(descriptor, BEAT)


def say_refused(descriptor: int, error: HallmarkError) -> None:
    """Tell the parent why this worker cannot start."""
    os.write(descriptor, msgspec.json.encode(Refusal.of(error)))
    os.close(descriptor)
