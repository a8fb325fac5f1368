"""Requests to a witness (C2SP tlog-witness, add-checkpoint).

old <size>
<base64 hash>       at most 63 lines: the consistency proof
<empty line>
<checkpoint, a signed note>
"""

import base64
import binascii
import re
from collections.abc import Sequence
from typing import Final

import msgspec

from hallmark.core.checkpoint import Checkpoint, parse_checkpoint
from hallmark.core.merkle import HASH_SIZE, MAX_TREE_SIZE
from hallmark.core.note import Note, parse_note
from hallmark.errors import MalformedInput

MAX_PROOF_LINES: Final = 63
SIZE_TYPE: Final = "text/x.tlog.size"

_OLD: Final = re.compile(r"old (0|[1-9][0-9]{0,18})", re.ASCII)
_SIZE: Final = re.compile(rb"(0|[1-9][0-9]{0,18})\n")


class AddCheckpoint(msgspec.Struct, frozen=True):
    """A checkpoint that wants to be cosigned, and the proof from `old_size` to it. Nothing is verified."""

    old_size: int
    proof: tuple[bytes, ...]
    note: Note
    checkpoint: Checkpoint


def print_add_checkpoint(old_size: int, proof: Sequence[bytes], note: bytes) -> bytes:
    """Print a request."""
    lines = "".join(base64.b64encode(item).decode("ascii") + "\n" for item in proof)
    return f"old {old_size}\n{lines}\n".encode() + note


def parse_add_checkpoint(body: bytes) -> AddCheckpoint:
    """Read a request; raises `MalformedInput` for any other spelling than `print_add_checkpoint` gives."""
    head, _, rest = body.partition(b"\n\n")
    if not head.isascii():
        raise MalformedInput("the request has no old size and proof before a checkpoint")
    # one line too many is enough to refuse: a body of short lines would take many times its size
    old, *lines = head.decode("ascii").split("\n", MAX_PROOF_LINES + 1)
    found = _OLD.fullmatch(old)
    if found is None or int(found[1]) > MAX_TREE_SIZE:
        raise MalformedInput("the request does not begin with an old size")
    if len(lines) > MAX_PROOF_LINES:
        raise MalformedInput(f"the proof has more than {MAX_PROOF_LINES} hashes")
    note = parse_note(rest)
    proof = tuple(_parse_hash(line) for line in lines)
    return AddCheckpoint(int(found[1]), proof, note, parse_checkpoint(note.text))


def _parse_hash(line: str) -> bytes:
    try:
        raw = base64.b64decode(line, validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    if len(raw) != HASH_SIZE or base64.b64encode(raw).decode("ascii") != line:
        raise MalformedInput("a line of the proof is not a hash")
    return raw


def print_size(size: int) -> bytes:
    """Print the body of an answer that states the size of the newest checkpoint that was cosigned."""
    return f"{size}\n".encode()


def parse_size(body: bytes) -> int:
    """Read the body of such an answer; raises `MalformedInput`."""
    found = _SIZE.fullmatch(body)
    if found is None or int(found[1]) > MAX_TREE_SIZE:
        raise MalformedInput("the witness states no size")
    return int(found[1])
