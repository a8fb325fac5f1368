"""Verifier keys (C2SP signed-note): the key of a note in one line.

<name>+<key id, 8 hex digits>+<base64(signature type || public key)>
"""

import base64
import binascii
import hashlib
from typing import Final

import msgspec
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PublicKey

from hallmark.core.key_strength import check_strength
from hallmark.core.keys import PublicKey, parse_public_key, wrap_public_key
from hallmark.core.note import check_key_name
from hallmark.core.x509.sth import sth_key_id
from hallmark.errors import MalformedInput

ED25519: Final = 0x01
ECDSA: Final = 0x02
ED25519_COSIGNATURE: Final = 0x04
TREE_HEAD: Final = 0x05  # an RFC 6962 tree head in a note (static-ct-api)
ML_DSA_44_COSIGNATURE: Final = 0x06
COSIGNATURE_TYPES: Final = frozenset({ED25519_COSIGNATURE, ML_DSA_44_COSIGNATURE})

MAX_VKEY_CHARS: Final = 4096
_ED25519_BYTES: Final = 32
_P256: Final = "secp256r1"


class VerifierKey(msgspec.Struct, frozen=True):
    """A public key that signs notes under a name, in one signature type.

    `material` is the key as the signature type encodes it: raw for Ed25519 and ML-DSA-44, a
    SubjectPublicKeyInfo for ECDSA and for the tree heads of CT logs.
    """

    name: str
    signature_type: int
    material: bytes
    key: PublicKey | MLDSA44PublicKey

    @property
    def key_id(self) -> bytes:
        """The 4 bytes before each signature of this key."""
        if self.signature_type == ECDSA:
            return hashlib.sha256(self.material).digest()[:4]
        if self.signature_type == TREE_HEAD:
            return sth_key_id(self.name, hashlib.sha256(self.material).digest())
        hashed = self.name.encode() + b"\n" + bytes([self.signature_type]) + self.material
        return hashlib.sha256(hashed).digest()[:4]

    def to_text(self) -> str:
        """Print the key, without a newline."""
        encoded = base64.b64encode(bytes([self.signature_type]) + self.material).decode("ascii")
        return f"{self.name}+{self.key_id.hex()}+{encoded}"


def parse_vkey(text: str) -> VerifierKey:
    """Read a verifier key of type 1, 2, 4, 5 or 6; raises `MalformedInput` for any other spelling of it."""
    name, _, rest = text.partition("+")
    key_id, _, encoded = rest.partition("+")
    try:
        raw = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    if len(text) > MAX_VKEY_CHARS or not raw:
        raise MalformedInput(f"{text[:80]!r} is not a verifier key", code="malformed_vkey")
    key = verifier_key(name, raw[0], raw[1:])
    if key.to_text() != text:
        raise MalformedInput(
            f"the verifier key of {name!r} has key id {key_id[:8]}, but its key has {key.key_id.hex()}",
            code="malformed_vkey",
        )
    return key


def verifier_key(name: str, signature_type: int, material: bytes) -> VerifierKey:
    """Make the verifier key of a public key; raises `MalformedInput`."""
    check_key_name(name)
    if not name.isprintable():
        raise MalformedInput(f"{name!r} is not a valid name for the key of a note", code="malformed_vkey")
    try:
        key = _load_key(signature_type, material)
    except ValueError:
        raise MalformedInput(f"the verifier key of {name!r} holds no key", code="malformed_vkey") from None
    return VerifierKey(name, signature_type, material, key)


def _load_key(signature_type: int, material: bytes) -> PublicKey | MLDSA44PublicKey:
    if signature_type in {ED25519, ED25519_COSIGNATURE}:
        return wrap_public_key(ed25519.Ed25519PublicKey.from_public_bytes(material))
    if signature_type == ML_DSA_44_COSIGNATURE:
        key_object = MLDSA44PublicKey.from_public_bytes(material)
        check_strength(key_object)
        return key_object
    if signature_type in {ECDSA, TREE_HEAD}:
        key = parse_public_key(material)
        wanted = signature_type == ECDSA or key.algorithm.parameter == _P256
        if key.algorithm.key_type == "ecdsa" and wanted:
            return key
        raise ValueError(key.algorithm.key_type)
    raise MalformedInput(
        f"note signatures of type {signature_type:#04x} are not supported", code="unsupported_vkey"
    )


def log_vkey(origin: str, key: PublicKey) -> VerifierKey:
    """Make the verifier key of a log that signs plain notes; raises `MalformedInput` for an RSA key."""
    signature_type = ED25519 if key.algorithm.key_type == "ed25519" else ECDSA
    return verifier_key(origin, signature_type, note_material(key))


def ctlog_vkey(origin: str, key: PublicKey) -> VerifierKey:
    """Make the verifier key of a CT log, whose checkpoints carry tree heads; raises `MalformedInput`."""
    return verifier_key(origin, TREE_HEAD, key.spki)


def note_material(key: PublicKey) -> bytes:
    """Give a log's key as verifier keys hold it: raw for Ed25519, else a SubjectPublicKeyInfo."""
    return key.spki[-_ED25519_BYTES:] if key.algorithm.key_type == "ed25519" else key.spki
