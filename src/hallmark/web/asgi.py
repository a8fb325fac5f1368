"""What a raw ASGI route needs: a bounded body in, one answer out."""

import asyncio
import io
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any, Final, Self

from hallmark.errors import MalformedInput, Overloaded

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

JSON = b"application/json"


_MAX_DIGITS: Final = 18
_UNBOUNDED: Final = 1 << 62
_BODY_SECONDS: Final = 30.0
SILENT_SECONDS: Final = 10.0  # between two pieces of a body: a lost packet is sent again within a few
GIVING_WAY_SECONDS: Final = 2.0  # a body that has been arriving for so long gives way where there is no room


class BodyBudget:
    """Bounds how many bytes of bodies a process holds, from their first piece until they have been worked on.

    Where there is no room, the body that has been arriving for the longest time gives way.
    """

    def __init__(self, max_bytes: int = _UNBOUNDED) -> None:
        self._free = max_bytes
        self._arriving: dict[_Rest, None] = {}  # in the order in which they began

    def hold(self) -> "Hold":
        """Begin to hold a request's body."""
        return Hold(self)

    def has(self, size: int) -> bool:
        """Say whether there is room for `size` bytes."""
        return size <= self._free

    def take(self, size: int) -> None:
        """Hold `size` more bytes; raises `Overloaded` (`too_many_bodies`) where there is no room."""
        if size > self._free:
            self._make_room(size)
        if size > self._free:
            raise Overloaded("too many requests are still arriving", code="too_many_bodies")
        self._free -= size

    def give_back(self, size: int) -> None:
        """Hold `size` bytes less."""
        self._free += size

    def _make_room(self, size: int) -> None:
        for rest in list(self._arriving):
            if size <= self._free or rest.age() < GIVING_WAY_SECONDS:
                return
            rest.give_way()

    def begin(self, rest: "_Rest") -> None:
        """Note a body that is arriving in pieces."""
        self._arriving[rest] = None

    def end(self, rest: "_Rest") -> None:
        """Forget it again."""
        self._arriving.pop(rest, None)


class Hold:
    """What a request holds of a budget: until it is let go, at the latest at the end of the `with`."""

    __slots__ = ("_budget", "_size")

    def __init__(self, budget: BodyBudget) -> None:
        self._budget = budget
        self._size = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.let_go()

    def take(self, size: int) -> None:
        """Hold `size` more bytes; raises as `BodyBudget.take` does."""
        self._budget.take(size)
        self._size += size

    def let_go(self) -> None:
        """Give back all of it: the bytes are held no more."""
        if self._size:
            self._budget.give_back(self._size)
            self._size = 0

    @property
    def size(self) -> int:
        """How many bytes are held."""
        return self._size

    @property
    def budget(self) -> BodyBudget:
        """Of which budget."""
        return self._budget


async def read_body(
    receive: Receive,
    max_body_bytes: int,
    *,
    hold: Hold | None = None,
    seconds: float = _BODY_SECONDS,
    announced: int | None = None,
) -> bytes:
    """Read the request's body.

    `announced` is its Content-Length, if it has one: a body that arrives whole in the first piece then needs
    no second word from the server that nothing follows. It is held by `hold`, which the caller lets go once
    the bytes are.

    Raises `MalformedInput` (`body_too_large`) once it passes the bound, (`body_too_slow`) where it does not
    arrive in time, or (`body_cut`) where the client leaves before its end, and `Overloaded` where the budget
    is spent, also by others: then this body was the oldest.
    """
    if announced is not None and announced > max_body_bytes:
        raise _too_large(max_body_bytes)
    message = await _first(receive, min(seconds, SILENT_SECONDS))
    _check_present(message)
    body: bytes = message.get("body", b"")
    whole = not message.get("more_body", False) or len(body) == announced
    hold = hold or Hold(BodyBudget())
    if whole and len(body) <= max_body_bytes:
        hold.take(len(body))
        return body
    return await _Rest(receive, max_body_bytes, hold, seconds).read(message)


async def _first(receive: Receive, seconds: float) -> Message:
    """Receive the first piece in time.

    Nearly every body is whole in it: `asyncio.timeout` would cost each entry some per cent more.
    """
    task = asyncio.current_task()
    if task is None:
        return await receive()
    fired = False

    def fire() -> None:
        nonlocal fired
        fired = task.cancel()

    timer = task.get_loop().call_later(seconds, fire)
    try:
        return await receive()
    except asyncio.CancelledError:
        if not fired:
            raise
        task.uncancel()
        raise _too_slow() from None
    finally:
        timer.cancel()


def _check_present(message: Message) -> None:
    """What came before the client left is no request, however well it reads."""
    if message["type"] == "http.disconnect":
        raise MalformedInput("the client left before the end of the body", code="body_cut")


def _too_large(max_body_bytes: int) -> MalformedInput:
    return MalformedInput(f"the body has more than {max_body_bytes} bytes", code="body_too_large")


def _too_slow() -> MalformedInput:
    return MalformedInput("the body did not arrive in time", code="body_too_slow")


class _Rest:
    """A body that arrives in several pieces."""

    def __init__(self, receive: Receive, max_body_bytes: int, hold: Hold, seconds: float) -> None:
        self._receive = receive
        self._max = max_body_bytes
        self._hold = hold
        self._body = io.BytesIO()  # it gives its bytes away without another copy of them
        self._loop = asyncio.get_running_loop()
        self._began = self._loop.time()
        self._deadline = self._began + seconds
        self._timeout = asyncio.timeout_at(self._deadline)
        self._gave_way = False

    async def read(self, message: Message) -> bytes:
        self._hold.budget.begin(self)
        try:
            async with self._timeout:
                self._add(message.get("body", b""))
                while message.get("more_body", False):
                    self._timeout.reschedule(min(self._deadline, self._loop.time() + SILENT_SECONDS))
                    message = await self._receive()
                    _check_present(message)
                    self._add(message.get("body", b""))
        except TimeoutError:
            if self._gave_way:
                raise Overloaded("too many requests are still arriving", code="too_many_bodies") from None
            raise _too_slow() from None
        finally:
            self._hold.budget.end(self)
        return self._body.getvalue()

    def _add(self, chunk: bytes) -> None:
        if self._hold.size + len(chunk) > self._max:
            raise _too_large(self._max)
        self._hold.take(len(chunk))
        self._body.write(chunk)

    def age(self) -> float:
        """Tell for how many seconds it has been arriving."""
        return self._loop.time() - self._began

    def give_way(self) -> None:
        """Let go what has arrived, and end."""
        self._gave_way = True
        self._timeout.reschedule(self._began)
        self._hold.budget.end(self)
        self._hold.let_go()
        self._body = io.BytesIO()


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
    known = value is not None and value.isdigit() and len(value) <= _MAX_DIGITS
    return int(value) if value is not None and known else None


def header(scope: Scope, name: bytes) -> bytes | None:
    """Find a request header by its lower-case name; the first one where it is repeated."""
    for key, value in scope["headers"]:
        if key == name:
            found: bytes = value
            return found
    return None
