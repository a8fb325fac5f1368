"""What a raw ASGI route needs: a bounded body in, one answer out."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any, Final

from hallmark.errors import MalformedInput, Overloaded

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

JSON = b"application/json"


_UNBOUNDED: Final = 1 << 62
_BODY_SECONDS: Final = 30.0


class BodyBudget:
    """Bounds how many bytes of unfinished bodies a process holds, however many clients send slowly."""

    def __init__(self, max_bytes: int = _UNBOUNDED) -> None:
        self._free = max_bytes

    def take(self, size: int) -> None:
        """Hold `size` more bytes; raises `Overloaded` (`too_many_bodies`) where there is no room."""
        if size > self._free:
            raise Overloaded("too many requests are still arriving", code="too_many_bodies")
        self._free -= size

    def give_back(self, size: int) -> None:
        """Hold `size` bytes less."""
        self._free += size


async def read_body(
    receive: Receive,
    max_body_bytes: int,
    *,
    budget: BodyBudget | None = None,
    seconds: float = _BODY_SECONDS,
    announced: int | None = None,
) -> bytes:
    """Read the request's body.

    `announced` is its Content-Length, if it has one: a body that arrives whole in the first piece then needs
    no second word from the server that nothing follows.

    Raises `MalformedInput` (`body_too_large`) once it passes the bound, (`body_too_slow`) where it does not
    arrive in time, or (`body_cut`) where the client leaves before its end, and `Overloaded` where the budget
    is spent.
    """
    message = await _receive(receive)
    body: bytes = message.get("body", b"")
    whole = not message.get("more_body", False) or len(body) == announced
    if whole and len(body) <= max_body_bytes:
        return body
    rest = _Rest(receive, max_body_bytes, budget or BodyBudget())
    try:
        async with asyncio.timeout(seconds):
            return await rest.read(message)
    except TimeoutError:
        raise MalformedInput(
            f"the body did not arrive within {seconds:g} seconds", code="body_too_slow"
        ) from None
    finally:
        rest.give_back()


async def _receive(receive: Receive) -> Message:
    """Receive a piece; what came before the client left is no request, however well it reads."""
    message = await receive()
    if message["type"] == "http.disconnect":
        raise MalformedInput("the client left before the end of the body", code="body_cut")
    return message


class _Rest:
    """A body that arrives in several pieces."""

    def __init__(self, receive: Receive, max_body_bytes: int, budget: BodyBudget) -> None:
        self._receive = receive
        self._max = max_body_bytes
        self._budget = budget
        self._held = 0
        self._chunks: list[bytes] = []

    async def read(self, message: Message) -> bytes:
        self._add(message.get("body", b""))
        while message.get("more_body", False):
            message = await _receive(self._receive)
            self._add(message.get("body", b""))
        return b"".join(self._chunks)

    def _add(self, chunk: bytes) -> None:
        if self._held + len(chunk) > self._max:
            raise MalformedInput(f"the body has more than {self._max} bytes", code="body_too_large")
        self._budget.take(len(chunk))
        self._held += len(chunk)
        self._chunks.append(chunk)

    def give_back(self) -> None:
        self._budget.give_back(self._held)


async def respond(
    send: Send,
    status: int,
    body: bytes,
    *,
    content_type: bytes = JSON,
    headers: Iterable[tuple[bytes, bytes]] = (),
) -> None:
    """Send one whole answer."""
    fixed = [(b"content-type", content_type), (b"content-length", str(len(body)).encode()), *headers]
    await send({"type": "http.response.start", "status": status, "headers": fixed})
    await send({"type": "http.response.body", "body": body})


def content_length(scope: Scope) -> int | None:
    """Read the Content-Length of a request; the server has checked it against the body already."""
    value = header(scope, b"content-length")
    return int(value) if value is not None and value.isdigit() else None


def header(scope: Scope, name: bytes) -> bytes | None:
    """Find a request header by its lower-case name; the first one where it is repeated."""
    for key, value in scope["headers"]:
        if key == name:
            found: bytes = value
            return found
    return None
