"""How many calls of one kind a process works on at a time, and how many of them one client may have."""

import ipaddress
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Final

from hallmark.errors import Overloaded
from hallmark.web.asgi import Scope

RETRY_SECONDS: Final = 1
_UNBOUNDED: Final = 1 << 62


class Gate:
    """Lets so many calls in at once, and half of them at most from one address.

    An address of this machine is that of a proxy or of anybody here, and has no share of its own.
    """

    def __init__(self, most: int, what: str, *, most_bytes: int = _UNBOUNDED) -> None:
        self._most = most
        self._free_bytes = most_bytes
        self._share = max(most // 2, 1)
        self._what = what
        self._inside: Counter[str] = Counter()
        self._count = 0

    @contextmanager
    def entered(self, peer: str, size: int = 0) -> Iterator[None]:
        """Hold a place, and room for `size` bytes; raises `Overloaded` (`too_many_calls`)."""
        full = self._count >= self._most or size > self._free_bytes
        if full or (peer and self._inside.get(peer, 0) >= self._share):
            raise Overloaded(
                f"too many {self._what} at once", code="too_many_calls", retry_after=RETRY_SECONDS
            )
        self._count += 1
        self._free_bytes -= size
        self._inside[peer] += 1
        try:
            yield
        finally:
            self._count -= 1
            self._free_bytes += size
            self._inside[peer] -= 1
            if not self._inside[peer]:
                del self._inside[peer]


def peer_of(scope: Scope) -> str:
    """Tell the address of a request's client; empty where it does not tell clients apart."""
    client = scope.get("client")
    return distinct_address(client[0]) if client else ""


@lru_cache(maxsize=1024)
def distinct_address(host: str) -> str:
    """Give back an address that belongs to one client; empty for this machine's own."""
    try:
        return "" if ipaddress.ip_address(host).is_loopback else host
    except ValueError:
        return ""
