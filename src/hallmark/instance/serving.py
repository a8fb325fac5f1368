"""Serving one application on one address, until a signal says to stop."""

import asyncio
import os
import resource
import signal
import sys
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final, NoReturn

import uvloop
from granian._granian import SocketHolder
from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.server.embed import Server

from hallmark.errors import RemoteError
from hallmark.instance.connections import end_untaken
from hallmark.instance.listening import BACKLOG, Bound
from hallmark.web.asgi import App, Receive, Scope, Send

_HEADER_SECONDS: Final = 30
_BUFFER_BYTES: Final = 64 * 1024  # of one connection in each direction; headers have to fit
MAX_CONNECTIONS: Final = 16_384  # of one process, 10 KiB each while they are idle; others wait to be accepted
_DRAIN_SECONDS: Final = 8.0  # more than an answer may take once the process is to end
_QUIET_SECONDS: Final = 0.4
_LOOK_SECONDS: Final = 0.02


def run(main: Coroutine[Any, Any, None]) -> None:
    """Run a server's main coroutine; uvloop hands requests over at less cost (docs/adr/0010-uvloop.md)."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main)


async def serve(
    app: App,
    bound: Bound,
    signals: Sequence[signal.Signals],
    *,
    while_serving: Callable[[], Coroutine[Any, Any, None]],
    before_stop: Callable[[], None] = lambda: None,
) -> None:
    """Serve until one of these signals comes, and what was accepted by then is answered.

    `while_serving` runs from when the port answers; `before_stop` is called when a signal has come.
    Raises what the server could not start for.
    """
    calls = _Calls(app)
    server = _Server(
        calls,
        bound,
        interface=Interfaces.ASGINL,
        http=HTTPModes.http1,
        http1_settings=HTTP1Settings(
            header_read_timeout=_HEADER_SECONDS * 1000, max_buffer_size=_BUFFER_BYTES
        ),
        websockets=False,
        backlog=BACKLOG,
        backpressure=MAX_CONNECTIONS,
        log_enabled=False,
    )
    loop = asyncio.get_running_loop()
    serving = asyncio.create_task(server.serve())
    end: Callable[[], None] = server.stop
    stopped = asyncio.Event()

    def stop() -> None:
        before_stop()
        end()
        stopped.set()

    for number in signals:
        loop.add_signal_handler(number, stop)
    await asyncio.sleep(0)
    await _until_listening(serving, bound)
    if bound.descriptor is None:  # the kernel knows no such time for a Unix socket
        end_untaken(bound.port)
    beside = asyncio.create_task(while_serving())
    waiting = asyncio.create_task(stopped.wait())
    await asyncio.wait((serving, waiting), return_when=asyncio.FIRST_COMPLETED)
    await _drain(serving, calls)
    beside.cancel()


class _Server(Server):
    """Granian's server, which can also accept on a socket that the parent has opened."""

    def __init__(self, target: App, bound: Bound, **options: Any) -> None:
        super().__init__(target, address=bound.host, port=bound.port, **options)
        self._bound = bound

    _shd: Any
    _sfd: Any

    def _init_shared_socket(self) -> None:
        if self._bound.descriptor is None:
            super()._init_shared_socket()  # type: ignore[no-untyped-call]
            return
        make_holder: Any = SocketHolder  # its constructor is missing in the stubs
        self._shd = make_holder(self._bound.descriptor, True, BACKLOG)
        self._sfd = self._bound.descriptor


class _Calls:
    """An application that knows how many calls it has not answered yet."""

    def __init__(self, app: App) -> None:
        self._app = app
        self.open = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.open += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self.open -= 1


async def _drain(serving: asyncio.Task[None], calls: _Calls) -> None:
    """Wait until the server has ended, or nothing is left that it could still answer.

    It waits by itself for every connection, also for one that holds half a request and may do so for long.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + _DRAIN_SECONDS
    quiet = 0.0
    while not serving.done() and quiet < _QUIET_SECONDS and loop.time() < deadline:
        await asyncio.sleep(_LOOK_SECONDS)
        quiet = 0.0 if calls.open else quiet + _LOOK_SECONDS


async def _until_listening(serving: asyncio.Task[None], bound: Bound) -> None:
    """Wait until the port answers: the server says nothing when it begins to listen."""
    while not serving.done():
        await asyncio.sleep(0.005)
        if bound.descriptor is not None and not serving.done():
            return  # the parent listens already, and who comes before the first accept waits
        try:
            _, writer = await asyncio.open_connection(bound.host, bound.port)
        except OSError:
            continue
        writer.close()
        return
    serving.result()
    raise RemoteError("the HTTP server ended before it served", code="worker_failed")


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
