"""Serving one application on one address, until a signal says to stop."""

import asyncio
import os
import resource
import signal
import sys
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final, NoReturn

import uvloop
from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.server.embed import Server

from hallmark.web.asgi import App

_BACKLOG: Final = 4096
_HEADER_SECONDS: Final = 30


def run(main: Coroutine[Any, Any, None]) -> None:
    """Run a server's main coroutine; uvloop hands requests over at less cost (docs/adr/0010-uvloop.md)."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main)


async def serve(
    app: App,
    host: str,
    port: int,
    signals: Sequence[signal.Signals],
    *,
    while_serving: Callable[[], Coroutine[Any, Any, None]],
    before_stop: Callable[[], None] = lambda: None,
) -> None:
    """Serve until one of these signals comes.

    `while_serving` runs from when the port answers; `before_stop` is called when a signal has come, while
    requests that were accepted are still answered.
    """
    server = Server(
        app,
        address=host,
        port=port,
        interface=Interfaces.ASGINL,
        http=HTTPModes.http1,
        http1_settings=HTTP1Settings(header_read_timeout=_HEADER_SECONDS * 1000),
        websockets=False,
        backlog=_BACKLOG,
        log_enabled=False,
    )
    loop = asyncio.get_running_loop()
    serving = asyncio.create_task(server.serve())
    end: Callable[[], None] = server.stop

    def stop() -> None:
        before_stop()
        end()

    for number in signals:
        loop.add_signal_handler(number, stop)
    await asyncio.sleep(0)
    await _until_listening(host, port)
    beside = asyncio.create_task(while_serving())
    await serving
    beside.cancel()


async def _until_listening(host: str, port: int) -> None:
    """Wait until the port answers: the server says nothing when it begins to listen."""
    while True:
        try:
            _, writer = await asyncio.open_connection(host, port)
        except OSError:
            await asyncio.sleep(0.005)
        else:
            writer.close()
            return


def leave() -> NoReturn:
    """End the process after `serve`, successfully.

    Threads of the server may outlive it for a moment; one that calls into an interpreter which is being taken
    down aborts the process, so it is not taken down.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def raise_file_limit() -> None:
    """Allow as many open files as the system grants: every connection is one."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
