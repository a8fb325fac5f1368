"""Signs the checkpoints of a CT log (static-ct-api: a tree head signature in a signed note)."""

from hallmark.core.checkpoint import Checkpoint
from hallmark.core.keys import parse_public_key
from hallmark.core.note import Note
from hallmark.core.x509.sth import sth_note_signature, verify_sth_note
from hallmark.ports import KeyPair


class CtLogSigner:
    """The checkpoints of one CT log (`ports.CheckpointSigner`). Its key is P-256."""

    def __init__(self, origin: str, key: KeyPair) -> None:
        self._origin = origin
        self._key = key
        self._public = parse_public_key(key.spki)

    @property
    def origin(self) -> str:
        """The log's origin."""
        return self._origin

    def sign(self, size: int, root: bytes, time: int) -> bytes:
        """Sign the tree head of this size, root hash and time (milliseconds)."""
        line = sth_note_signature(
            self._origin, self._public.key_id, self._key.sign, size=size, root=root, time_ms=time
        )
        return Note(Checkpoint(self._origin, size, root).to_text(), (line,)).to_bytes()

    def verify(self, note: bytes) -> Checkpoint:
        """Check a signed note of this log."""
        return verify_sth_note(note, origin=self._origin, key=self._public).checkpoint
