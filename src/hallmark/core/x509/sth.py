"""Checkpoints of CT logs (C2SP static-ct-api): a signed note around an RFC 6962 signed tree head.

The note's signature is of type 5; what it signs is not the note's text, but

    struct {                              struct {
        Version version = v1(0);              uint64 timestamp;
        SignatureType = tree_hash(1);         DigitallySigned signature;
        uint64 timestamp;                 } RFC6962NoteSignature;
        uint64 tree_size;
        opaque sha256_root_hash[32];
    } TreeHeadSignature;

where size and root are the note's and the timestamp, in milliseconds, stands in the signature itself.
"""

import hashlib
from collections.abc import Callable
from typing import Final

import msgspec

from hallmark.core.checkpoint import Checkpoint, parse_checkpoint
from hallmark.core.encoding.tls import Reader, uint, vector
from hallmark.core.keys import PublicKey
from hallmark.core.note import NoteSignature, parse_note
from hallmark.errors import InvalidProof, InvalidSignature

_V1_TREE_HASH: Final = b"\x00\x01"
_SHA256_ECDSA: Final = b"\x04\x03"
_NOTE_TYPE: Final = b"\x05"


class SignedTreeHead(msgspec.Struct, frozen=True):
    """A verified checkpoint of a CT log; `timestamp` in milliseconds."""

    checkpoint: Checkpoint
    timestamp: int


def sth_key_id(origin: str, log_id: bytes) -> bytes:
    """Compute the note key id of a CT log."""
    return hashlib.sha256(origin.encode() + b"\n" + _NOTE_TYPE + log_id).digest()[:4]


def tree_head_signature_input(size: int, root: bytes, time_ms: int) -> bytes:
    """Encode the TreeHeadSignature, which is what the log signs."""
    return _V1_TREE_HASH + uint(time_ms, 8) + uint(size, 8) + root


def sth_note_signature(
    origin: str, log_id: bytes, sign: Callable[[bytes], bytes], *, size: int, root: bytes, time_ms: int
) -> NoteSignature:
    """Sign a tree head with the log's P-256 key; `sign` hashes with SHA-256 and returns DER."""
    signature = sign(tree_head_signature_input(size, root, time_ms))
    body = uint(time_ms, 8) + _SHA256_ECDSA + vector(signature, 2)
    return NoteSignature(origin, sth_key_id(origin, log_id), body)


def verify_sth_note(envelope: bytes, *, origin: str, key: PublicKey) -> SignedTreeHead:
    """Read a CT log's checkpoint and check origin and signature.

    Raises `MalformedInput`, `InvalidSignature`, or `InvalidProof` for another origin. Signatures by other
    keys (cosignatures) are ignored; every one by this key must hold.
    """
    note = parse_note(envelope)
    checkpoint = parse_checkpoint(note.text)
    if checkpoint.origin != origin:
        raise InvalidProof(
            f"the checkpoint is of log {checkpoint.origin!r}, not {origin!r}", code="wrong_origin"
        )
    key_id = sth_key_id(origin, key.key_id)
    matching = [line for line in note.signatures if line.name == origin and line.key_id == key_id]
    if not matching:
        raise InvalidSignature(f"the note has no signature by {origin}", code="unsigned_note")
    if checkpoint.extensions:
        raise InvalidProof("a CT log's checkpoint has no extension lines", code="malformed_checkpoint")
    times = [_verify_line(line, checkpoint, key) for line in matching]
    return SignedTreeHead(checkpoint, max(times))


def _verify_line(line: NoteSignature, checkpoint: Checkpoint, key: PublicKey) -> int:
    reader = Reader(line.signature, "the tree head's signature")
    timestamp = reader.uint(8)
    if reader.take(2) != _SHA256_ECDSA:
        raise InvalidSignature("the tree head is not signed with ECDSA and SHA-256")
    signature = reader.vector(2)
    reader.finish()
    key.verify(signature, tree_head_signature_input(checkpoint.size, checkpoint.root, timestamp))
    return timestamp
