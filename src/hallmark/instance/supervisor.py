"""The processes of an instance: the parent starts workers, replaces the ones that die, and ends them.

A worker learns of the parent's death by a pipe: its reading end sees the end of file when the parent is gone,
however it went, and the worker ends at once. What it was committing is committed or not; nobody is answered
who must not be.
"""

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from hallmark.errors import ConfigurationError, HallmarkError, RemoteError
from hallmark.web.metrics import shared_memory
from hallmark.wiring.settings import Settings

logger = logging.getLogger("hallmark.instance")

GO: Final = b"go"
BEAT: Final = b"."
BEAT_SECONDS: Final = 1.0
_SILENCE_SECONDS: Final = 15.0
_MAX_REPORT_BYTES: Final = 4000  # below what a pipe writes at once
_START_SECONDS: Final = 60.0
_STOP_SECONDS: Final = 15.0
_POLL_SECONDS: Final = 0.05
_LONGEST_PAUSE: Final = 5.0


class WorkerTask(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker is told: the instance's directory, its number, where to count, how and where to serve.

    `metrics_memory` is a file descriptor; `grpc_address` is `HOST:PORT`, or empty.
    """

    root: str
    number: int
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
        # Ctrl-C reaches the whole group, this worker while it still imports too; the parent decides
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            self.process = subprocess.Popen(  # noqa: S603  our own module
                [sys.executable, "-m", "hallmark.instance.worker", *arguments],
                pass_fds=(lifeline, reports, task.metrics_memory),
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
        report = os.read(self._reports, _MAX_REPORT_BYTES)
        if report[:1] == BEAT:
            self.served = True
            self._heard = time.monotonic()  # it was made before the logs were recovered, maybe long ago
            return
        status = self.process.wait(_START_SECONDS)
        if report:
            refusal = msgspec.json.decode(report, type=Refusal)
            raise ConfigurationError(refusal.message, code=refusal.code, hint=refusal.hint)
        raise RemoteError(
            f"worker {self.task.number} ended with status {status} before it served",
            code="worker_failed",
            hint="its reason stands above",
        )

    def listen(self) -> None:
        """Hear what the worker has reported since; one that has been silent for long is killed.

        A worker that hangs may hold a log's lock, and nobody else could write.
        """
        os.set_blocking(self._reports, False)
        with suppress(BlockingIOError):
            if os.read(self._reports, _MAX_REPORT_BYTES):
                self.served = True
                self._heard = time.monotonic()
        if time.monotonic() - self._heard > _SILENCE_SECONDS:
            logger.error("worker %d has been silent for %d seconds", self.task.number, _SILENCE_SECONDS)
            self.process.kill()
            self._heard = time.monotonic()

    def stop(self, deadline: float) -> None:
        """Wait for the worker to end, and make it end at the deadline."""
        try:
            self.process.wait(max(deadline - time.monotonic(), 0))
        except subprocess.TimeoutExpired:
            logger.error("worker %d has not ended in %d seconds", self.task.number, _STOP_SECONDS)
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
        self, root: Path, count: int, *, grpc_address: str = "", settings: Settings | None = None
    ) -> None:
        task = WorkerTask(
            root=str(root),
            number=0,
            metrics_memory=shared_memory(count),
            grpc_address=grpc_address,
            settings=settings or Settings(),
        )
        self._workers = [Worker(msgspec.structs.replace(task, number=number)) for number in range(count)]
        self._failures = 0

    def serve(self) -> None:
        """Let the workers serve, and wait until every one does."""
        for worker in self._workers:
            worker.go()
        for worker in self._workers:
            worker.wait_until_serving()

    def watch(self, stopping: Callable[[], bool]) -> None:
        """Replace workers that die or hang until it is time to stop."""
        while not stopping():
            for worker in list(self._workers):
                worker.listen()
                if worker.process.poll() is not None:
                    self._replace(worker)
            time.sleep(_POLL_SECONDS)

    def stop(self) -> None:
        """End every worker that there still is: they finish what they have accepted, for a bounded time."""
        workers, self._workers = self._workers, []
        for worker in workers:
            worker.process.terminate()
        deadline = time.monotonic() + _STOP_SECONDS
        for worker in workers:
            worker.stop(deadline)

    def _replace(self, dead: Worker) -> None:
        """Start another worker; after several that never served, with a pause that grows."""
        logger.error(
            "worker %d ended with status %s; starting another", dead.task.number, dead.process.returncode
        )
        dead.close()
        self._failures = 0 if dead.served else self._failures + 1
        if self._failures > len(self._workers):
            time.sleep(min(0.1 * 2**self._failures, _LONGEST_PAUSE))
        replacement = Worker(dead.task)
        self._workers[self._workers.index(dead)] = replacement
        replacement.go()


class Refusal(msgspec.Struct, frozen=True):
    """Why a worker cannot start."""

    message: str
    code: str
    hint: str


def say_alive(descriptor: int) -> None:
    """Tell the parent that this worker serves."""
    os.write(descriptor, BEAT)


def say_refused(descriptor: int, error: HallmarkError) -> None:
    """Tell the parent why this worker cannot start."""
    os.write(descriptor, msgspec.json.encode(Refusal(error.message[:1000], error.code, error.hint)))
    os.close(descriptor)
