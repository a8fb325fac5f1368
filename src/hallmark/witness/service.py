"""A witness, without HTTP (C2SP tlog-witness): cosigns a log's checkpoints as long as the log only grows."""

import hashlib
import logging
from collections.abc import Callable, Sequence
from typing import Final

from hallmark.core.checkpoint import Checkpoint
from hallmark.core.cosignature import (
    CosigningKey,
    cosign,
    cosigner_vkey,
    verify_cosignature,
    verify_signed_by,
)
from hallmark.core.merkle import EMPTY_ROOT, verify_consistency
from hallmark.core.note import Note, NoteSignature
from hallmark.core.vkey import VerifierKey
from hallmark.errors import (
    Conflict,
    InvalidProof,
    InvalidSignature,
    MalformedInput,
    NotFound,
    PolicyViolation,
)
from hallmark.ports import Clock, CosignedHead, StorageFailed, WitnessState
from hallmark.witness.config import WitnessConfig, WitnessedLog
from hallmark.witness.requests import AddCheckpoint, parse_add_checkpoint

logger = logging.getLogger("hallmark.witness")

_NOTHING: Final = CosignedHead(0, EMPTY_ROOT, 0, b"")


class SizeConflict(Conflict):
    """The request starts from another size than that of the newest cosigned checkpoint."""

    def __init__(self, size: int) -> None:
        super().__init__(f"the newest cosigned checkpoint has size {size}", code="other_size")
        self.size = size


class HistoryConflict(Conflict):
    """The newest cosigned checkpoint has the same size and another root hash: the log has two histories."""


class CosigningKeys:
    """The keys of a witness under its name: each makes a cosignature of its own kind."""

    def __init__(self, name: str, keys: Sequence[CosigningKey]) -> None:
        self.name = name
        self._keys = [(cosigner_vkey(name, key), key) for key in keys]

    @property
    def vkeys(self) -> tuple[VerifierKey, ...]:
        """The verifier keys that policies name."""
        return tuple(vkey for vkey, _ in self._keys)

    def cosign(self, checkpoint: Checkpoint, time: int) -> tuple[NoteSignature, ...]:
        """Cosign with every key, and check the own cosignatures."""
        lines = tuple(cosign(checkpoint, vkey, key, time) for vkey, key in self._keys)
        for line, (vkey, _) in zip(lines, self._keys, strict=True):
            verify_cosignature(line, checkpoint, vkey)
        return lines


class Witness:
    """Cosigns the checkpoints of the configured logs.

    `on_failure` must end the process: after a failed sync nobody knows what is durable.
    """

    def __init__(
        self,
        config: WitnessConfig,
        keys: CosigningKeys,
        state: WitnessState,
        clock: Clock,
        *,
        on_failure: Callable[[BaseException], None],
    ) -> None:
        self.config = config
        self._keys = keys
        self._state = state
        self._clock = clock
        self._on_failure = on_failure
        self._origins = {hashlib.sha256(origin.encode()).hexdigest(): origin for origin in config.logs}

    def add_checkpoint(self, body: bytes) -> bytes:
        """Cosign the checkpoint of a request; returns signature lines.

        Raises `MalformedInput` (400), `NotFound` (404), `PolicyViolation` (403), `SizeConflict` and
        `HistoryConflict` (409), `InvalidProof` (422). What is returned is durable: no later start forgets
        that it was signed.
        """
        request = parse_add_checkpoint(body)
        log = self.config.logs.get(request.checkpoint.origin)
        if log is None:
            raise NotFound(f"the log {request.checkpoint.origin[:200]!r} is not witnessed here")
        signatures = _log_signatures(request, log)
        if request.old_size > request.checkpoint.size:
            raise MalformedInput(
                f"the old size {request.old_size} is larger than the checkpoint's {request.checkpoint.size}"
            )
        head = self._state.head(log.origin)
        _check_growth(head or _NOTHING, request)
        return self._sign(log.origin, head, request, signatures)

    def checkpoint(self, origin_hash: str) -> bytes:
        """Read the newest cosigned checkpoint by its origin's SHA-256 in hex; raises `NotFound`."""
        origin = self._origins.get(origin_hash)
        head = self._state.head(origin) if origin is not None else None
        if head is None:
            raise NotFound("nothing of this log was cosigned here")
        return head.note

    def _sign(
        self,
        origin: str,
        head: CosignedHead | None,
        request: AddCheckpoint,
        signatures: tuple[NoteSignature, ...],
    ) -> bytes:
        """Sign, remember, and only then let the signatures out."""
        checkpoint = request.checkpoint
        # a larger head must not state an earlier time: each says that it was the largest one then
        time = max(int(self._clock().timestamp()), (head or _NOTHING).time)
        lines = self._keys.cosign(checkpoint, time)
        note = Note(request.note.text, signatures + lines).to_bytes()
        if not self._remember(origin, head, CosignedHead(checkpoint.size, checkpoint.root, time, note)):
            raise SizeConflict((self._state.head(origin) or _NOTHING).size)
        return "".join(line.to_text() for line in lines).encode()

    def _remember(self, origin: str, old: CosignedHead | None, new: CosignedHead) -> bool:
        try:
            return self._state.advance(origin, old, new)
        except StorageFailed as error:
            self._on_failure(error)
            raise


def _log_signatures(request: AddCheckpoint, log: WitnessedLog) -> tuple[NoteSignature, ...]:
    """The lines of the log's own keys, verified; one of a known key that is false is refused."""
    known = {(key.name, key.key_id): key for key in log.keys}
    lines = tuple(line for line in request.note.signatures if (line.name, line.key_id) in known)
    if not lines:
        raise PolicyViolation(f"the checkpoint is not signed by a key of {log.origin}", code="unsigned_note")
    try:
        for line in lines:
            key = known[line.name, line.key_id]
            verify_signed_by(Note(request.note.text, (line,)), request.checkpoint, key)
    except InvalidSignature as error:
        raise PolicyViolation(
            f"a signature of {log.origin} does not verify: {error.message}", code="invalid_signature"
        ) from None
    return lines


def _check_growth(head: CosignedHead, request: AddCheckpoint) -> None:
    """Check that the log has only grown since `head`; what contradicts it is kept in the log of events."""
    new = request.checkpoint
    if request.old_size != head.size:
        raise SizeConflict(head.size)
    try:
        if new.size == 0 and new.root != EMPTY_ROOT:
            raise InvalidProof("an empty tree has another root hash")
        if new.size == head.size and new.root != head.root:
            raise HistoryConflict(f"another root hash of size {new.size} was cosigned", code="other_root")
        verify_consistency(head.size, head.root, new.size, new.root, request.proof)
    except (InvalidProof, HistoryConflict) as error:
        logger.warning(
            "log %s: a checkpoint of size %d with root hash %s does not extend size %d with root hash %s: %s",
            *(new.origin, new.size, new.root.hex(), head.size, head.root.hex(), error),
        )
        raise
