"""The TLS presentation language (RFC 8446 section 3), as far as RFC 6962 and static-ct-api use it.

Integers are big-endian; a vector is its length in as many bytes as its bound needs, then its content.
"""

from hallmark.errors import MalformedInput


def uint(value: int, size: int) -> bytes:
    """Encode an unsigned integer in `size` bytes."""
    return value.to_bytes(size, "big")


def vector(content: bytes, size: int) -> bytes:
    """Encode an opaque vector with a length prefix of `size` bytes."""
    return len(content).to_bytes(size, "big") + content


class Reader:
    """Reads values off the front of `data`; every read raises `MalformedInput` when the bytes run out."""

    __slots__ = ("_data", "_offset", "_what")

    def __init__(self, data: bytes, what: str) -> None:
        self._data = data
        self._offset = 0
        self._what = what

    def take(self, size: int) -> bytes:
        """Read `size` bytes."""
        end = self._offset + size
        if end > len(self._data):
            raise MalformedInput(f"{self._what} ends early")
        taken = self._data[self._offset : end]
        self._offset = end
        return taken

    def uint(self, size: int) -> int:
        """Read an unsigned integer of `size` bytes."""
        return int.from_bytes(self.take(size), "big")

    def vector(self, size: int) -> bytes:
        """Read a vector whose length prefix has `size` bytes."""
        return self.take(self.uint(size))

    @property
    def at_end(self) -> bool:
        """Say whether everything was read."""
        return self._offset == len(self._data)

    def finish(self) -> None:
        """Check that nothing follows."""
        if not self.at_end:
            raise MalformedInput(f"{self._what} has {len(self._data) - self._offset} bytes too many")
