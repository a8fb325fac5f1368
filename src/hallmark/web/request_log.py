"""One line in the log for each request."""

import logging
from time import perf_counter
from typing import Any, Final

from hallmark.web.asgi import App, Receive, Scope, Send

logger = logging.getLogger("hallmark.requests")

_MAX_PATH: Final = 200  # as long as our longest path, so that nobody fills the log with one of theirs


class RequestLog:
    """An application that logs what it was asked for and what it answered; never a query or a header."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        status, size, began = 0, 0, perf_counter()

        async def count(message: Any) -> None:
            nonlocal status, size
            status = message.get("status", status)
            size += len(message.get("body", b""))
            await send(message)

        try:
            await self._app(scope, receive, count)
        finally:
            path = ascii(scope["path"][:_MAX_PATH])[1:-1]
            milliseconds = 1000 * (perf_counter() - began)
            logger.info("%s %s %d %d bytes %.1f ms", scope["method"], path, status, size, milliseconds)
