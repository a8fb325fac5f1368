"""What the services need from outside, as protocols; adapters and the log engine stand behind them.

Each protocol's paragraph is its contract: an adapter that breaks it breaks the promises of the logs.
"""

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Protocol

import msgspec

Clock = Callable[[], datetime]
"""Tells the time: an aware UTC `datetime`."""


class Finalized(msgspec.Struct, frozen=True):
    """A leaf that knows its index and time: what the tree hashes, and what the entry bundle stores."""

    leaf: bytes
    record: bytes


Finalize = Callable[[int, int], Finalized]
"""Builds a leaf from its index and its commit's time in milliseconds. Pure and quick: it runs under the lock."""


class Appended(msgspec.Struct, frozen=True):
    """The durable place of an entry.

    `time` is its commit's, in milliseconds. A duplicate carries the index and time of the entry that the log
    has already; its other fields are empty. Otherwise `proof` and `tree_size` prove the leaf against the
    signed note `checkpoint`, and were checked before they were handed out.
    """

    index: int
    time: int
    duplicate: bool
    leaf: bytes = b""
    tree_size: int = 0
    root: bytes = b""
    proof: tuple[bytes, ...] = ()
    checkpoint: bytes = b""


class LogAppender(Protocol):
    """The writing side of a log.

    When the returned awaitable is done, the entry is durable, and whoever was answered finds it through the
    reading side of every process of the instance. Equal dedup keys name one entry, over the whole log and for
    ever. Raises `Overloaded` at once when the queue is full, and `Frozen` when the log takes no more entries.
    An exception says nothing about whether the entry stands in the log: submit again, dedup sorts it out.
    """

    def append(self, dedup_key: bytes, finalize: Finalize) -> Awaitable[Appended]:
        """Append an entry unless the log has it."""
        ...


class KeyPair(Protocol):
    """A private key that signs, wherever it lives.

    `sign` hashes the message with the key's own hash (see `core.algorithms`); ECDSA signatures are DER.
    """

    @property
    def spki(self) -> bytes:
        """The DER SubjectPublicKeyInfo of the key."""
        ...

    def sign(self, message: bytes) -> bytes:
        """Sign a message."""
        ...
