"""Signs the checkpoints of a log as C2SP signed notes."""

from datetime import datetime
from typing import Final

from hallmark.core.checkpoint import Checkpoint, verify_checkpoint
from hallmark.core.keys import PublicKey, parse_public_key
from hallmark.core.note import Note, NoteSignature, note_key_hash
from hallmark.ports import KeyPair

_DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


FROZEN_LINE: Final = "Log frozen \u2014 "


class NoteSigner:
    """A log whose origin is also the name of its key (`ports.CheckpointSigner`)."""

    def __init__(self, origin: str, key: KeyPair) -> None:
        self._origin = origin
        self._key = key
        self._public: PublicKey = parse_public_key(key.spki)
        self._log_id = note_key_hash(origin, self._public)

    @property
    def origin(self) -> str:
        """The log's origin."""
        return self._origin

    @property
    def log_id(self) -> bytes:
        """The 32-byte log id; its first 4 bytes are the key id in notes."""
        return self._log_id

    @property
    def public_key(self) -> PublicKey:
        """The log's public key."""
        return self._public

    def sign(self, size: int, root: bytes, time: int) -> bytes:
        """Sign a checkpoint; a plain note carries no time."""
        del time
        return self._sign(Checkpoint(self._origin, size, root))

    def sign_frozen(self, size: int, root: bytes, now: datetime) -> bytes:
        """Sign the last checkpoint of a log, with the extension line that Rekor v2 writes when it freezes."""
        day = f"{now.day:2d}"  # as date(1) prints it, whatever the locale
        moment = f"{_DAYS[now.weekday()]} {_MONTHS[now.month - 1]} {day} {now:%H:%M:%S} UTC {now.year}"
        return self._sign(Checkpoint(self._origin, size, root, (f"{FROZEN_LINE}{moment}",)))

    def _sign(self, checkpoint: Checkpoint) -> bytes:
        text = checkpoint.to_text()
        signature = NoteSignature(self._origin, self._log_id[:4], self._key.sign(text.encode()))
        return Note(text, (signature,)).to_bytes()

    def verify(self, note: bytes) -> Checkpoint:
        """Check a signed note of this log."""
        return verify_checkpoint(note, origin=self._origin, key_name=self._origin, key=self._public)
