"""What the provider remembers between two requests: codes that are handed out and not used up yet."""

from typing import Protocol


class Grants(Protocol):
    """A small shared store of grants, by key; every process of the instance sees the same.

    Keys are hashes of codes, so that the store gives no code away. A grant past `expires_at` (seconds since
    1970) does not exist. `take` and `replace` are atomic: of two that race, one wins.
    """

    def add(self, key: bytes, value: bytes, *, kind: str, most: int, expires_at: int, now: int) -> None:
        """Store a grant; where there are `most` of its kind already, the one that would expire first goes."""
        ...

    def extend(self, key: bytes, *, expires_at: int, now: int) -> None:
        """Let a grant live until then, if that is later; nothing happens where there is none."""
        ...

    def get(self, key: bytes, *, now: int) -> bytes | None:
        """Find a grant."""
        ...

    def replace(self, key: bytes, old: bytes, new: bytes, *, now: int) -> bool:
        """Put `new` in the place of `old`; says whether `old` was there."""
        ...

    def take(self, key: bytes, *, now: int) -> bytes | None:
        """Remove a grant and return it: whoever gets it is the only one."""
        ...
