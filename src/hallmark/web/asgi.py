"""What a raw ASGI route needs: a bounded body in, one answer out."""

from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

from hallmark.errors import MalformedInput

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

JSON = b"application/json"


async def read_body(receive: Receive, max_body_bytes: int) -> bytes:
    """Read the request's body; raises `MalformedInput` (`body_too_large`) once it passes the bound."""
    message = await receive()
    body: bytes = message.get("body", b"")
    if not message.get("more_body", False) and len(body) <= max_body_bytes:
        return body
    chunks, total = [body], len(body)
    while message.get("more_body", False) and total <= max_body_bytes:
        message = await receive()
        chunks.append(message.get("body", b""))
        total += len(chunks[-1])
    if total > max_body_bytes:
        raise MalformedInput(f"the body has more than {max_body_bytes} bytes", code="body_too_large")
    return b"".join(chunks)


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


def header(scope: Scope, name: bytes) -> bytes | None:
    """Find a request header by its lower-case name; the first one where it is repeated."""
    for key, value in scope["headers"]:
        if key == name:
            found: bytes = value
            return found
    return None
