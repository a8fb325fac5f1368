"""What the services need from outside, as protocols; adapters and the log engine stand behind them.

Each protocol's paragraph is its contract: an adapter that breaks it breaks the promises of the logs.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import TYPE_CHECKING, Final, Protocol

import msgspec

from hallmark.core.checkpoint import Checkpoint
from hallmark.core.tiles import TileId

if TYPE_CHECKING:
    import asyncio  # the clients read this module too, and to import that takes 8 ms

DEDUP_KEY_SIZE: Final = 32
"""The size of the keys that name entries: SHA-256 of what makes an entry the same."""

Clock = Callable[[], datetime]
"""Tells the time: an aware UTC `datetime`."""


class Finalized(msgspec.Struct, frozen=True):
    """A leaf that knows its index and time: what the tree hashes, and what the entry bundle stores."""

    leaf: bytes
    record: bytes


Finalize = Callable[[int, int], Finalized]
"""Builds a leaf from its index and its commit's time (milliseconds); pure, and quick: it holds the lock."""


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

    When the returned future is done, the entry is durable, and whoever was answered finds it through the
    reading side of every process of the instance. Equal dedup keys name one entry, over the whole log and for
    ever. Raises `Overloaded` at once when the queue is full, and `Frozen` when the log takes no more entries.
    An exception says nothing about whether the entry stands in the log: submit again, dedup sorts it out.
    """

    def append(self, dedup_key: bytes, finalize: Finalize, *, size: int = 4096) -> "asyncio.Future[Appended]":
        """Append an entry unless the log has it; `size` says about how many bytes wait with it.

        Whoever does not want to wait any longer may end the future.

        Raises `ValueError` for a key of another size than `DEDUP_KEY_SIZE`.
        """
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


class StoredBytes(msgspec.Struct, frozen=True):
    """An object that never changes, and how to read it in pieces: from where, and at most how many bytes."""

    size: int
    read: Callable[[int, int], bytes]


class LogReads(Protocol):
    """The reading side of a log: always the newest committed tree, for whoever was just answered."""

    def checkpoint(self) -> bytes:
        """Read the newest signed checkpoint; raises `NotFound` where witnesses must sign first."""
        ...

    def tile(self, tile: TileId) -> bytes:
        """Read a hash tile or an entry bundle; raises `NotFound`."""
        ...

    def has_tile(self, tile: TileId) -> bool:
        """Say whether the log has such a tile or bundle, without reading it."""
        ...

    def stored(self, tile: TileId) -> "StoredBytes | None":
        """Find a bundle that stands in one published object; None for any other tile."""
        ...

    def entry(self, index: int) -> Appended:
        """Read an entry as its append would be answered now; raises `NotFound`."""
        ...


class LogHead(msgspec.Struct, frozen=True):
    """The committed state of a log: everything that the next commit needs, and how far it is published.

    `time` in milliseconds; `edge` as in `core.merkle.Growth`; `checkpoint` the signed note of this size;
    `applied` the size up to which entries stand in published tiles and bundles, with its own edge.
    """

    size: int
    root: bytes
    time: int
    edge: tuple[bytes, ...]
    checkpoint: bytes
    applied: int
    applied_edge: tuple[bytes, ...]
    frozen: bool = False


class StagedCommit(msgspec.Struct, frozen=True):
    """What one commit added: the leaves [start, end), hashes and records joined, and its signed note."""

    start: int
    end: int
    time: int
    hashes: bytes
    records: bytes
    root: bytes
    checkpoint: bytes


class Place(msgspec.Struct, frozen=True):
    """Where an entry stands: its index, and its commit's time in milliseconds."""

    index: int
    time: int


class CommitTransaction(Protocol):
    """One attempt to extend the log; no other process is in one at the same time."""

    def head(self) -> LogHead:
        """Read the committed head."""
        ...

    def find(self, keys: Sequence[bytes]) -> Mapping[bytes, Place]:
        """Find which of these dedup keys the log has."""
        ...

    def commit(
        self, old: LogHead, staged: StagedCommit, edge: tuple[bytes, ...], keys: Sequence[tuple[bytes, int]]
    ) -> None:
        """Write staged bytes, dedup keys and the new head in one step, on condition that the head is `old`.

        `keys` are those of the new entries, one each, in the order of their indexes.
        When it returns, all of it is durable. Raises `Conflict` where the head has moved, `Overloaded` where
        nothing was written (a full disk), `StorageFailed` where nobody can know.
        """
        ...

    def freeze(self, checkpoint: bytes) -> None:
        """Freeze the log for good at the head that was read, under this last signed note; durable at once."""
        ...


class HeadStore(Protocol):
    """The database of one log: head, staged commits, dedup keys, commit times.

    Several processes may use one store. A snapshot shows one committed state, and every state that any
    process was told of before the snapshot was taken.
    """

    def create(self, head: LogHead) -> None:
        """Store the head of a new log; raises `Conflict` where there is one."""
        ...

    def transaction(self) -> AbstractContextManager[CommitTransaction]:
        """Wait for the log's lock and hold it for one commit."""
        ...

    def head(self) -> LogHead:
        """Read the committed head; raises `NotFound` where no log was created."""
        ...

    def snapshot(self, max_entries: int | None = None) -> tuple[LogHead, tuple[StagedCommit, ...]]:
        """Read head and staged commits, the oldest first, in one committed state.

        With `max_entries`, no more commits than it takes to reach that many entries.
        """
        ...

    def time_of(self, index: int) -> int:
        """Tell the time of an entry's commit, in milliseconds; raises `NotFound`."""
        ...

    def set_applied(self, size: int, edge: tuple[bytes, ...]) -> None:
        """Note that everything below `size` is published and durable, and drop it from the staged commits.

        A smaller size than the one noted changes nothing: a slow publisher was overtaken.
        """
        ...

    def compact(self) -> None:
        """Let the database tidy up after itself; called by the publisher alone, now and then."""
        ...


class ObjectStore(Protocol):
    """Named byte strings, as a static web server would serve them: tiles, entry bundles, the checkpoint.

    `put` is durable after the next `sync`; a reader sees all of an object or none of it, but after a crash
    an object that was not synced may be missing, empty or torn. `replace` is atomic and durable when it
    returns. Paths are relative, with `/`.
    """

    def get(self, path: str) -> bytes:
        """Read an object; raises `NotFound`."""
        ...

    def size(self, path: str) -> int:
        """Tell the size of an object in bytes; raises `NotFound`."""
        ...

    def read(self, path: str, start: int, count: int) -> bytes:
        """Read at most `count` bytes of an object from `start` on; raises `NotFound`."""
        ...

    def put(self, path: str, data: bytes) -> None:
        """Write an object; the same bytes again are harmless."""
        ...

    def sync(self) -> None:
        """Make every `put` so far durable; raises `StorageFailed` where that is not certain."""
        ...

    def replace(self, path: str, data: bytes) -> None:
        """Replace an object, atomically and durably."""
        ...

    def discard_unfinished(self) -> None:
        """Delete what a writer that died was writing; for the one writer, before it writes."""
        ...

    def names(self, folder: str) -> tuple[str, ...]:
        """List the objects that stand directly in a folder; none where there is no folder."""
        ...

    def delete(self, path: str) -> None:
        """Delete an object; nothing happens where there is none."""
        ...

    def delete_folder(self, folder: str) -> None:
        """Delete a folder and the objects directly in it; nothing happens where there is none."""
        ...


class CheckpointSigner(Protocol):
    """Signs and checks the checkpoints of one log."""

    @property
    def origin(self) -> str:
        """The log's origin."""
        ...

    def sign(self, size: int, root: bytes, time: int) -> bytes:
        """Sign the checkpoint of this size, root hash and time (milliseconds) as a note."""
        ...

    def verify(self, note: bytes) -> Checkpoint:
        """Check a signed note of this log; raises `VerificationError` or `MalformedInput`."""
        ...


class CosignedHead(msgspec.Struct, frozen=True):
    """The newest checkpoint of a log that a witness has cosigned.

    `time` in seconds since 1970; `note` carries the log's and the witness's signatures.
    """

    size: int
    root: bytes
    time: int
    note: bytes


class WitnessState(Protocol):
    """What a witness remembers of each log, by its origin, for ever.

    A witness that forgets could cosign two histories of one log. Several threads and processes may use one
    state through adapters of their own: of two that advance from one head, one wins.
    """

    def head(self, origin: str) -> CosignedHead | None:
        """Read the head of a log; None where nothing was cosigned yet."""
        ...

    def advance(self, origin: str, old: CosignedHead | None, new: CosignedHead) -> bool:
        """Put `new` in the place of `old`, on condition that size and root hash still are those of `old`.

        When it returns True, `new` is durable; False says that the head has moved. Raises `Overloaded`
        where nothing was written, `StorageFailed` where nobody can know.
        """
        ...


class StorageFailed(Exception):
    """The storage failed in a way that leaves unknown what is durable.

    The process must end: what it left is found at the next start, by the publisher's ordinary pass.
    """
