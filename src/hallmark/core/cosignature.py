"""Cosignatures on checkpoints (C2SP tlog-cosignature), with Ed25519 and with ML-DSA-44.

A cosignature is a note signature whose bytes are

    uint64 timestamp || signature

and whose message is, for Ed25519, the text of the checkpoint below two lines

    cosignature/v1
    time <timestamp>

and for ML-DSA-44 the structure

    uint8  label[12] = "subtree/v1\\n\\0";
    opaque cosigner_name<1..2^8-1>;
    uint64 timestamp;
    opaque log_origin<1..2^8-1>;
    uint64 start = 0, end = tree size;
    uint8  hash[32];
"""

from typing import Final

import msgspec
from cryptography.exceptions import InvalidSignature as CryptographyInvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey, MLDSA44PublicKey

from hallmark.core.checkpoint import Checkpoint
from hallmark.core.keys import PublicKey
from hallmark.core.note import Note, NoteSignature, verify_note
from hallmark.core.vkey import (
    COSIGNATURE_TYPES,
    ED25519_COSIGNATURE,
    ML_DSA_44_COSIGNATURE,
    TREE_HEAD,
    VerifierKey,
    verifier_key,
)
from hallmark.core.x509.sth import verify_sth_note
from hallmark.errors import InvalidSignature, MalformedInput

CosigningKey = Ed25519PrivateKey | MLDSA44PrivateKey

MAX_TIMESTAMP: Final = 2**63 - 1
_TIMESTAMP_BYTES: Final = 8
_SIGNATURE_BYTES: Final = {ED25519_COSIGNATURE: 64, ML_DSA_44_COSIGNATURE: 2420}
_SUBTREE_LABEL: Final = b"subtree/v1\n\0"
_MAX_NAME_BYTES: Final = 255


class Cosignature(msgspec.Struct, frozen=True):
    """A cosignature that was verified: who signed, when (seconds since 1970), and the line to publish."""

    key: VerifierKey
    timestamp: int
    line: NoteSignature


def cosigner_vkey(name: str, key: CosigningKey) -> VerifierKey:
    """Make the verifier key of a cosigner; raises `MalformedInput` for a name that is not allowed."""
    if isinstance(key, Ed25519PrivateKey):
        return verifier_key(name, ED25519_COSIGNATURE, key.public_key().public_bytes_raw())
    return verifier_key(name, ML_DSA_44_COSIGNATURE, key.public_key().public_bytes_raw())


def cosign(checkpoint: Checkpoint, vkey: VerifierKey, key: CosigningKey, timestamp: int) -> NoteSignature:
    """Cosign a checkpoint at a time in seconds since 1970; `vkey` must be the one of `key`."""
    message = cosigned_message(checkpoint, vkey, timestamp)
    signature = timestamp.to_bytes(_TIMESTAMP_BYTES, "big") + key.sign(message)
    return NoteSignature(vkey.name, vkey.key_id, signature)


def cosigned_message(checkpoint: Checkpoint, vkey: VerifierKey, timestamp: int) -> bytes:
    """Build the bytes that the cosigner signs; raises `MalformedInput` for what they cannot state."""
    if not 0 <= timestamp <= MAX_TIMESTAMP:
        raise MalformedInput(f"a cosignature cannot state the time {timestamp}", code="malformed_cosignature")
    if vkey.signature_type == ED25519_COSIGNATURE:
        return f"cosignature/v1\ntime {timestamp}\n{checkpoint.to_text()}".encode()
    return b"".join(
        (
            _SUBTREE_LABEL,
            _short(vkey.name),
            timestamp.to_bytes(8, "big"),
            _short(checkpoint.origin),
            (0).to_bytes(8, "big"),
            checkpoint.size.to_bytes(8, "big"),
            checkpoint.root,
        )
    )


def _short(text: str) -> bytes:
    raw = text.encode()
    if not 0 < len(raw) <= _MAX_NAME_BYTES:
        raise MalformedInput(
            f"an ML-DSA cosignature cannot state a name of {len(raw)} bytes", code="malformed_cosignature"
        )
    return bytes([len(raw)]) + raw


def verify_cosignature(line: NoteSignature, checkpoint: Checkpoint, vkey: VerifierKey) -> Cosignature:
    """Check that a signature line is the cosignature of this key on this checkpoint.

    Raises `InvalidSignature`, also for a line of another key, and `MalformedInput`.
    """
    expected = _SIGNATURE_BYTES.get(vkey.signature_type)
    if (line.name, line.key_id) != (vkey.name, vkey.key_id) or expected is None:
        raise InvalidSignature(f"the cosignature is not by {vkey.name}", code="unsigned_note")
    if len(line.signature) != _TIMESTAMP_BYTES + expected:
        raise InvalidSignature(f"the cosignature by {vkey.name} has {len(line.signature)} bytes")
    timestamp = int.from_bytes(line.signature[:_TIMESTAMP_BYTES], "big")
    message = cosigned_message(checkpoint, vkey, timestamp)
    signature = line.signature[_TIMESTAMP_BYTES:]
    if isinstance(vkey.key, MLDSA44PublicKey):
        _verify_ml_dsa(vkey.key, signature, message)
    else:
        vkey.key.verify(signature, message)
    return Cosignature(vkey, timestamp, line)


def _verify_ml_dsa(key: MLDSA44PublicKey, signature: bytes, message: bytes) -> None:
    try:
        key.verify(signature, message)
    except CryptographyInvalidSignature:
        raise InvalidSignature("the signature does not verify with the key") from None


def find_cosignature(note: Note, checkpoint: Checkpoint, vkey: VerifierKey) -> Cosignature | None:
    """Find this key's cosignature in a note whose text is `checkpoint`; None where there is none.

    A line of this very key that does not verify is refused: raises `InvalidSignature`.
    """
    key_id = vkey.key_id
    lines = [line for line in note.signatures if line.name == vkey.name and line.key_id == key_id]
    verified = [verify_cosignature(line, checkpoint, vkey) for line in lines]
    return verified[0] if verified else None


def verify_signed_by(note: Note, checkpoint: Checkpoint, vkey: VerifierKey) -> None:
    """Check that a key of any type signed the note; raises `InvalidSignature`.

    A log may sign its checkpoints as a cosigner does, and a CT log signs tree heads.
    """
    if isinstance(vkey.key, PublicKey) and vkey.signature_type == TREE_HEAD:
        verify_sth_note(note.to_bytes(), origin=vkey.name, key=vkey.key)
    elif isinstance(vkey.key, PublicKey) and vkey.signature_type not in COSIGNATURE_TYPES:
        verify_note(note, vkey.name, vkey.key)
    elif find_cosignature(note, checkpoint, vkey) is None:
        raise InvalidSignature(f"the note has no signature by {vkey.name}", code="unsigned_note")
