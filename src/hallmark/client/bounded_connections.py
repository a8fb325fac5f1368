"""Connections whose answers must begin in time: status and headers, however slowly they drip.

The timeout of a socket bounds each read, and a byte now and then keeps every read short.
"""

import contextlib
import socket
from collections.abc import Iterator
from threading import Event, Timer
from typing import Any

from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.response import HTTPResponse


def bounded_pools(seconds: float) -> dict[str, type[HTTPConnectionPool]]:
    """Make the pools of a `PoolManager` (`pool_classes_by_scheme`) that give headers so many seconds."""

    class Plain(HTTPConnection):
        def getresponse(self) -> HTTPResponse:  # type: ignore[override]
            with _cut_after(seconds, self):
                return super().getresponse()

    class Secure(HTTPSConnection):
        def getresponse(self) -> HTTPResponse:  # type: ignore[override]
            with _cut_after(seconds, self):
                return super().getresponse()

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = Plain

    class SecurePool(HTTPSConnectionPool):
        ConnectionCls = Secure

    return {"http": PlainPool, "https": SecurePool}


@contextlib.contextmanager
def _cut_after(seconds: float, connection: Any) -> Iterator[None]:
    """Cut the connection when the time is over; raises `TimeoutError` then.

    What had arrived by then may look like an answer: the end of the stream ends headers too.
    """
    late = Event()
    timer = Timer(seconds, _cut, (connection.sock, late))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
    if late.is_set():
        raise TimeoutError("the headers of the answer took too long")


def _cut(connected: socket.socket | None, late: Event) -> None:
    """End both directions: whoever waits in a read finds the end of the stream."""
    late.set()
    with contextlib.suppress(OSError, AttributeError):
        if connected is not None:
            connected.shutdown(socket.SHUT_RDWR)
