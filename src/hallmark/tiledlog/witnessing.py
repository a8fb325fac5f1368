"""What the log engine knows of witnesses: whom the publisher asks, and what the reader may show.

A log that has witnesses publishes its checkpoint with their cosignatures. Whoever appends an entry is
answered at once, against the checkpoint of its commit, or after publication; see `cosigned_answers`.
"""

from collections.abc import Callable
from typing import Protocol

import msgspec

from hallmark.core.checkpoint import Checkpoint
from hallmark.core.note import parse_note
from hallmark.core.witness_policy import WitnessPolicy
from hallmark.errors import HallmarkError, NotFound
from hallmark.ports import CheckpointSigner, ObjectStore
from hallmark.tiledlog.objects import CHECKPOINT

Prove = Callable[[int], list[bytes]]
"""Proves that the tree of a smaller size (at least 1) is a prefix of the one to be published."""


class Cosigned(msgspec.Struct, frozen=True):
    """What the witnesses made of a checkpoint.

    `note` is what to publish, None where nothing may be published yet. Without `quorum` the publisher asks
    again in its next pass. `ahead` are larger checkpoints that witnesses show of this log, not verified.
    """

    note: bytes | None
    quorum: bool
    ahead: tuple[bytes, ...] = ()


class Cosigner(Protocol):
    """Asks the witnesses of a log."""

    def cosign(self, note: bytes, stated: Checkpoint, published: bytes, prove: Prove) -> Cosigned:
        """Gather cosignatures on a signed note, within a bounded time; never raises for a witness's sake.

        `published` is the note that stands published now, or nothing: cosignatures that it has already are
        not asked for again. The commit is durable and its tiles are published before this is called,
        because a witness that signed a tree which was then lost would refuse the log for ever.
        """
        ...


class WitnessedCheckpoint:
    """The published checkpoint, as far as it carries a quorum; reads and checks it again when it changed."""

    def __init__(
        self, objects: ObjectStore, signer: CheckpointSigner, policy: WitnessPolicy, *, strict: bool
    ) -> None:
        self.strict = strict
        self._objects = objects
        self._signer = signer
        self._policy = policy
        self._seen = b""
        self._stated: Checkpoint | None = None

    def read(self) -> tuple[bytes, Checkpoint] | None:
        """Give the published note and what it states; None where no quorum has signed one yet."""
        try:
            note = self._objects.get(CHECKPOINT)
        except NotFound:
            return None
        if note != self._seen:
            self._stated = self._check(note)
            self._seen = note
        return None if self._stated is None else (note, self._stated)

    def _check(self, note: bytes) -> Checkpoint | None:
        try:
            stated = self._signer.verify(note)
            self._policy.verify_witnessed(parse_note(note))
        except HallmarkError:  # published before there were witnesses, or without them
            return None
        return stated
