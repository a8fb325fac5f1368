"""Public keys: parse, identify, check signatures (RFC 5280 SubjectPublicKeyInfo; PEM per RFC 7468).

Every public key comes in through `key_algorithm`, alone or by `parse_public_key` or `wrap_public_key`: there
keys are refused that nobody holds, see `key_strength`.
"""

import hashlib
from typing import Final

import msgspec
from cryptography.exceptions import InvalidSignature as CryptographyInvalidSignature
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_public_key,
    load_pem_public_key,
)

from hallmark.core.algorithms import DEFAULT_ALGORITHMS, Algorithm, HashAlgorithm
from hallmark.core.key_strength import check_strength
from hallmark.errors import InvalidSignature, MalformedInput

KeyObject = ec.EllipticCurvePublicKey | rsa.RSAPublicKey | ed25519.Ed25519PublicKey

MAX_PUBLIC_KEY_BYTES: Final = 16 * 1024
_ED25519_SIGNATURE_BYTES: Final = 64
_SEQUENCE: Final = b"\x30"

_HASHES: Final[dict[str, hashes.HashAlgorithm]] = {
    "sha256": hashes.SHA256(),
    "sha384": hashes.SHA384(),
    "sha512": hashes.SHA512(),
}
_EC_PREFIXES: Final = {
    "secp256r1": bytes.fromhex("3059301306072a8648ce3d020106082a8648ce3d03010703420004"),
    "secp384r1": bytes.fromhex("3076301006072a8648ce3d020106052b8104002203620004"),
    "secp521r1": bytes.fromhex("30819b301006072a8648ce3d020106052b810400230381860004"),
}
"""A SubjectPublicKeyInfo up to its point: a named curve, and 04 for uncompressed (RFC 5480 section 2)."""
_ECDSA: Final = {name: ec.ECDSA(value) for name, value in _HASHES.items()}
_PREHASHED: Final = {name: Prehashed(value) for name, value in _HASHES.items()}
_ECDSA_PREHASHED: Final = {name: ec.ECDSA(value) for name, value in _PREHASHED.items()}


class PublicKey(msgspec.Struct, frozen=True):
    """A public key of a kind the registry knows, its DER SubjectPublicKeyInfo and its default algorithm."""

    key: KeyObject
    spki: bytes
    algorithm: Algorithm

    def verify(
        self, signature: bytes, message: bytes, *, hash_algorithm: HashAlgorithm | None = None
    ) -> None:
        """Check a signature over `message`; raises `InvalidSignature`.

        The key's default hash applies unless another is named; Ed25519 is pure Ed25519.
        """
        chosen = hash_algorithm or self.algorithm.hash
        try:
            if isinstance(self.key, ed25519.Ed25519PublicKey):
                self.key.verify(signature, message)
            elif isinstance(self.key, ec.EllipticCurvePublicKey):
                self.key.verify(signature, message, _ECDSA[_name(chosen)])
            else:
                self.key.verify(signature, message, padding.PKCS1v15(), _HASHES[_name(chosen)])
        except CryptographyInvalidSignature:
            raise InvalidSignature("the signature does not verify with the key") from None

    def verify_digest(
        self, signature: bytes, digest: bytes, *, hash_algorithm: HashAlgorithm | None = None
    ) -> None:
        """Check a signature from the digest of the message; raises `InvalidSignature`.

        Ed25519 signs messages, not digests: it is refused here.
        """
        verify_digest(self.key, signature, digest, hash_algorithm or self.algorithm.hash)

    @property
    def key_id(self) -> bytes:
        """SHA-256 of the SubjectPublicKeyInfo: the log id of CT logs and of ECDSA Rekor logs."""
        return hashlib.sha256(self.spki).digest()

    def to_pem(self) -> str:
        """Print the key as PEM `PUBLIC KEY`."""
        return self.key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode("ascii")


def parse_public_key(der: bytes) -> PublicKey:
    """Read a DER SubjectPublicKeyInfo; raises `MalformedInput`, also for kinds the registry does not know.

    A key has one encoding: elliptic points are uncompressed, or one key would have several names.
    """
    if len(der) > MAX_PUBLIC_KEY_BYTES:
        raise MalformedInput(f"a public key of {len(der)} bytes is too large", code="malformed_key")
    try:
        key = wrap_public_key(load_der_public_key(der), der)
    except (ValueError, UnsupportedAlgorithm):
        raise MalformedInput("the bytes are not a DER public key", code="malformed_key") from None
    if not _is_canonical(key):
        raise MalformedInput("the public key is not encoded as it must be", code="malformed_key")
    return key


def parse_pkcs1_public_key(der: bytes) -> PublicKey:
    """Read an RSAPublicKey (RFC 8017 appendix A.1.1); raises `MalformedInput`.

    Its `spki` is the SubjectPublicKeyInfo, which key ids are made of.
    """
    if len(der) > MAX_PUBLIC_KEY_BYTES:
        raise MalformedInput(f"a public key of {len(der)} bytes is too large", code="malformed_key")
    try:
        key = load_der_public_key(der)
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, rsa.RSAPublicKey) or key.public_bytes(Encoding.DER, PublicFormat.PKCS1) != der:
        raise MalformedInput("the bytes are not a PKCS #1 public key", code="malformed_key")
    return wrap_public_key(key)


def _is_canonical(key: PublicKey) -> bool:
    """Compare with the one encoding.

    Of elliptic keys the prefix suffices, because the library reads the rest strictly; encoding one again
    would cost as much as reading it.
    """
    prefix = _EC_PREFIXES.get(key.algorithm.parameter)
    if prefix is not None:
        return key.spki.startswith(prefix)
    return key.spki == key.key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def parse_public_key_pem(pem: bytes) -> PublicKey:
    """Read a PEM public key (`PUBLIC KEY` or `RSA PUBLIC KEY`); raises `MalformedInput`."""
    if len(pem) > 2 * MAX_PUBLIC_KEY_BYTES:
        raise MalformedInput(f"a public key of {len(pem)} bytes is too large", code="malformed_key")
    try:
        return wrap_public_key(load_pem_public_key(pem))
    except (ValueError, UnsupportedAlgorithm):
        raise MalformedInput("the text is not a PEM public key", code="malformed_key") from None


def wrap_public_key(key: object, spki: bytes | None = None) -> PublicKey:
    """Wrap a key object of the cryptography library.

    Raises `MalformedInput` with code `weak_key` for a curve or modulus size outside the registry, and for
    keys that `check_strength` refuses.
    """
    known, algorithm = key_algorithm(key)
    return PublicKey(
        known, spki or known.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo), algorithm
    )


def key_algorithm(key: object) -> tuple[KeyObject, Algorithm]:
    """Find the default algorithm of a key object; raises `MalformedInput` with code `weak_key`.

    The gate of all public keys: none is used before it has passed here.
    """
    if isinstance(key, ec.EllipticCurvePublicKey):
        kind = ("ecdsa", key.curve.name)
    elif isinstance(key, rsa.RSAPublicKey):
        kind = ("rsa", str(key.key_size))
    elif isinstance(key, ed25519.Ed25519PublicKey):
        kind = ("ed25519", "ed25519")
    else:
        raise MalformedInput(f"keys of kind {type(key).__name__} are not supported", code="weak_key")
    algorithm = DEFAULT_ALGORITHMS.get(kind)
    if algorithm is None:
        raise MalformedInput(f"a {kind[0]} key with {kind[1]} is not allowed", code="weak_key")
    if kind[0] != "ecdsa":  # of these the library has refused what is weak
        check_strength(key)
    return key, algorithm


def fits_key(signature: bytes, key: KeyObject) -> bool:
    """Say whether a key can have made a signature of this form, without the cost of checking it."""
    if isinstance(key, ed25519.Ed25519PublicKey):
        return len(signature) == _ED25519_SIGNATURE_BYTES
    size = (key.key_size + 7) // 8
    if isinstance(key, rsa.RSAPublicKey):
        return len(signature) == size
    # a SEQUENCE of two INTEGERs, each with at most a zero before it; its header has 2 or 3 bytes
    return signature[:1] == _SEQUENCE and len(signature) <= 3 + 2 * (2 + 1 + size)


def verify_digest(key: KeyObject, signature: bytes, digest: bytes, chosen: HashAlgorithm | None) -> None:
    """Check a signature of a key object from the digest of the message; see `PublicKey.verify_digest`."""
    if chosen is None or isinstance(key, ed25519.Ed25519PublicKey):
        raise InvalidSignature("an Ed25519 signature cannot be checked from a digest")
    if len(digest) != chosen.size:
        raise InvalidSignature(f"a {chosen.name} digest has {chosen.size} bytes, not {len(digest)}")
    try:
        if isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(signature, digest, _ECDSA_PREHASHED[chosen.name])
        else:
            key.verify(signature, digest, padding.PKCS1v15(), _PREHASHED[chosen.name])
    except CryptographyInvalidSignature:
        raise InvalidSignature("the signature does not verify with the key") from None


def _name(chosen: HashAlgorithm | None) -> str:
    if chosen is None:
        raise InvalidSignature("the key needs a hash algorithm")
    return chosen.name
