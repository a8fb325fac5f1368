"""Signed notes (C2SP signed-note).

<text, ends with a newline>
<empty line>
— <key name> <base64(uint32 key id || signature)>
...
"""

import base64
import binascii
import hashlib
import re
from typing import Final

import msgspec

from hallmark.core.keys import PublicKey
from hallmark.errors import InvalidSignature, MalformedInput

MAX_NOTE_BYTES: Final = 256 * 1024
MAX_SIGNATURES: Final = 64

_SIGNATURE_PREFIX: Final = "\u2014 "
_ED25519: Final = b"\x01"
_CONTROL: Final = re.compile(r"[\x00-\x09\x0b-\x1f]")  # a newline ends lines


class NoteSignature(msgspec.Struct, frozen=True):
    """One signature line: the key's name, its 4-byte id, and the signature without that id."""

    name: str
    key_id: bytes
    signature: bytes

    def to_text(self) -> str:
        """Print the line, with its newline."""
        encoded = base64.b64encode(self.key_id + self.signature).decode("ascii")
        return f"{_SIGNATURE_PREFIX}{self.name} {encoded}\n"


class Note(msgspec.Struct, frozen=True):
    """A note: its text, which ends with a newline, and its signatures. Nothing of it is verified."""

    text: str
    signatures: tuple[NoteSignature, ...]

    def to_bytes(self) -> bytes:
        """Print the note."""
        return (self.text + "\n" + "".join(line.to_text() for line in self.signatures)).encode()


def parse_note(data: bytes) -> Note:
    """Read a signed note; raises `MalformedInput`. Exactly what `Note.to_bytes` prints is accepted."""
    if len(data) > MAX_NOTE_BYTES:
        raise MalformedInput("the signed note is too large", code="malformed_note")
    try:
        decoded = data.decode("utf-8")
    except UnicodeDecodeError:
        raise MalformedInput("the signed note is not UTF-8", code="malformed_note") from None
    if _CONTROL.search(decoded):
        raise MalformedInput("the signed note has control characters", code="malformed_note")
    split = decoded.rfind("\n\n")
    block = decoded[split + 2 :]
    if split < 0:
        raise MalformedInput("the signed note has no signatures", code="malformed_note")
    return Note(decoded[: split + 1], parse_signature_lines(block))


def parse_signature_lines(text: str) -> tuple[NoteSignature, ...]:
    """Read one or more signature lines, each with its newline; raises `MalformedInput`."""
    lines = text.removesuffix("\n").split("\n", MAX_SIGNATURES)
    if not text.endswith("\n") or len(lines) > MAX_SIGNATURES:
        raise MalformedInput(
            f"there are more than {MAX_SIGNATURES} signatures, or the last is cut off", code="malformed_note"
        )
    return tuple(_parse_signature(line) for line in lines)


def _parse_signature(line: str) -> NoteSignature:
    name, _, encoded = line.removeprefix(_SIGNATURE_PREFIX).partition(" ")
    if not line.startswith(_SIGNATURE_PREFIX):
        raise MalformedInput("a signature line of the note is malformed", code="malformed_note")
    check_key_name(name)
    try:
        raw = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    if len(raw) < 5 or base64.b64encode(raw).decode("ascii") != encoded:
        raise MalformedInput("a signature line of the note is malformed", code="malformed_note")
    return NoteSignature(name, raw[:4], raw[4:])


def check_key_name(name: str) -> None:
    """Check the name of a note's key; raises `MalformedInput` for an empty one, a space or a plus sign."""
    if not name or "+" in name or any(char.isspace() for char in name):
        raise MalformedInput(f"{name!r} is not a valid name for the key of a note", code="malformed_note")


def ed25519_key_hash(name: str, raw_key: bytes) -> bytes:
    """SHA-256 over name and Ed25519 key: its first 4 bytes are the key id, all 32 the log id of Rekor v2."""
    return hashlib.sha256(name.encode() + b"\n" + _ED25519 + raw_key).digest()


def note_key_hash(name: str, key: PublicKey) -> bytes:
    """Hash a log key for its note key id (first 4 bytes) and log id: Ed25519 with name, others by SPKI."""
    if key.algorithm.key_type == "ed25519":
        return ed25519_key_hash(name, key.spki[-32:])
    return key.key_id


def verify_note(note: Note, name: str, key: PublicKey) -> None:
    """Check that the key with this name signed the note; raises `InvalidSignature`.

    Lines with other names or key ids are ignored; a line of this very key that does not verify is refused.
    """
    key_id = note_key_hash(name, key)[:4]
    matching = [line for line in note.signatures if line.name == name and line.key_id == key_id]
    if not matching:
        raise InvalidSignature(f"the note has no signature by {name}", code="unsigned_note")
    for line in matching:
        key.verify(line.signature, note.text.encode())
