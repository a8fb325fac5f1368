"""Checkpoints (C2SP tlog-checkpoint): the text of a signed note that states a log's size and root hash.

<origin>
<tree size, decimal>
<base64(root hash)>
[extension lines]
"""

import base64
import binascii
from typing import Final

import msgspec

from hallmark.core.keys import PublicKey
from hallmark.core.merkle import HASH_SIZE, MAX_TREE_SIZE
from hallmark.core.note import Note, parse_note, verify_note
from hallmark.errors import InvalidProof, MalformedInput

MAX_EXTENSIONS: Final = 16


class Checkpoint(msgspec.Struct, frozen=True):
    """A log's state: origin, tree size, root hash, and extension lines where the log writes any."""

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()

    def to_text(self) -> str:
        """Print the text that the log signs."""
        root = base64.b64encode(self.root).decode("ascii")
        return "".join(f"{line}\n" for line in (self.origin, self.size, root, *self.extensions))


def parse_checkpoint(text: str) -> Checkpoint:
    """Read the text of a checkpoint; raises `MalformedInput` for any other spelling than `to_text` prints."""
    lines = text.split("\n")
    if len(lines) < 4 or lines.pop() or len(lines) > 3 + MAX_EXTENSIONS or not all(lines):
        raise MalformedInput("the checkpoint is malformed", code="malformed_checkpoint")
    origin, size, root, *extensions = lines
    try:
        checkpoint = Checkpoint(
            origin, _parse_size(size), base64.b64decode(root, validate=True), tuple(extensions)
        )
    except (binascii.Error, ValueError):
        raise MalformedInput("the checkpoint is malformed", code="malformed_checkpoint") from None
    if len(checkpoint.root) != HASH_SIZE or checkpoint.to_text() != text:
        raise MalformedInput("the checkpoint is malformed", code="malformed_checkpoint")
    return checkpoint


def _parse_size(text: str) -> int:
    if not (text.isdigit() and len(text) <= 19) or int(text) > MAX_TREE_SIZE:
        raise ValueError(text)
    return int(text)


def verify_checkpoint(envelope: bytes, *, origin: str, key_name: str, key: PublicKey) -> Checkpoint:
    """Read a signed checkpoint and check origin and the log's signature.

    Raises `MalformedInput`, `InvalidSignature`, or `InvalidProof` for another origin.
    """
    note: Note = parse_note(envelope)
    verify_note(note, key_name, key)
    checkpoint = parse_checkpoint(note.text)
    if checkpoint.origin != origin:
        raise InvalidProof(
            f"the checkpoint is of log {checkpoint.origin!r}, not {origin!r}", code="wrong_origin"
        )
    return checkpoint
