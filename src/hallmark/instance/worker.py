"""A worker process: serves the whole instance on its port, beside its siblings.

Started by the supervisor as `python -m hallmark.instance.worker TASK LIFELINE REPORTS`: a `WorkerTask` in
JSON, and the file descriptors of two pipes. It imports first and opens the directory when the parent says so.
"""

import asyncio
import gc
import importlib
import logging
import os
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from hallmark.errors import HallmarkError, RemoteError
from hallmark.instance.heartbeat import Heartbeat
from hallmark.instance.logs import set_up_logs
from hallmark.instance.serving import leave, raise_file_limit, run, serve
from hallmark.instance.supervisor import GO, WorkerTask, say_alive, say_refused
from hallmark.web.request_log import RequestLog
from hallmark.wiring.application import Application, Process, open_application
from hallmark.wiring.layout import Layout

if TYPE_CHECKING:
    from hallmark.wiring.rekor_grpc import GrpcServers

logger = logging.getLogger("hallmark.instance")

_REFUSED: Final = 2
_FAILED: Final = 70
_ORPHANED: Final = 71


def main(arguments: list[str]) -> None:
    """Serve until the parent says to stop, or is gone."""
    task = msgspec.json.decode(arguments[0], type=WorkerTask)
    lifeline, reports = int(arguments[1]), int(arguments[2])
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # blocked by the parent already, see `supervisor.Worker`
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    raise_file_limit()
    if os.read(lifeline, len(GO)) != GO:
        sys.exit(_ORPHANED)
    threading.Thread(target=_end_with_parent, args=(lifeline,), daemon=True).start()
    try:
        set_up_logs(task.settings.log_level, task.settings.log_file)
        process = Process(task.number, task.metrics_memory)
        application = open_application(
            Layout(Path(task.root)), on_failure=_fail, process=process, settings=task.settings
        )
        run(_serve(application, task, reports))
    except HallmarkError as error:
        say_refused(reports, error)
        sys.exit(_REFUSED)
    except Exception as error:
        logger.critical("worker %d ends", task.number, exc_info=error)
        message = f"worker {task.number} failed: {type(error).__name__}: {error}"
        say_refused(reports, RemoteError(message, code="worker_failed", hint="the details stand above"))
        sys.exit(_FAILED)
    leave()


async def _serve(application: Application, task: WorkerTask, reports: int) -> None:
    application.start()
    grpc = _open_grpc(application, task)
    for extra in grpc:
        await extra.start()
    heartbeat = Heartbeat(lambda: say_alive(reports), lambda: application.calls, application.longest_lock)
    gc.freeze()  # what was made so far stays: to look through all of it takes 20 ms each time
    logged = task.settings.log_requests or task.settings.log_level == "debug"
    await serve(
        RequestLog(application) if logged else application,
        task.bound,
        (signal.SIGTERM,),
        while_serving=heartbeat.run,
        before_stop=application.hurry,
    )
    for extra in grpc:
        await extra.stop()
    await asyncio.to_thread(application.stop)


def _open_grpc(application: Application, task: WorkerTask) -> Sequence["GrpcServers"]:
    """Open the gRPC servers where they are asked for: only then are their libraries imported."""
    if not task.grpc_address:
        return ()
    module = importlib.import_module("hallmark.wiring.rekor_grpc")
    servers: GrpcServers = module.open_grpc(application, task.grpc_address, task.settings.grpc)
    return (servers,)


def _end_with_parent(lifeline: int) -> None:
    os.read(lifeline, 1)  # returns when the parent closes its end, at the latest when it dies
    os._exit(_ORPHANED)


def _fail(_error: BaseException) -> None:
    os._exit(_FAILED)


if __name__ == "__main__":
    main(sys.argv[1:])
