"""Ed25519ph signatures (RFC 8032 section 5.1), checked from the SHA-512 digest of the message.

Only the servers of a log import this module: the `cryptography` library has no Ed25519ph, and clients need
none, because they hold the message.
"""

from typing import Final

from Crypto.Hash.SHA512 import SHA512Hash
from Crypto.Signature import eddsa

from hallmark.errors import InvalidSignature, MalformedInput

DIGEST_SIZE: Final = 64


class _Prehashed(SHA512Hash):
    """A finished SHA-512 of which only the digest is known."""

    def __init__(self, digest: bytes) -> None:
        self._digest = digest

    def digest(self) -> bytes:
        """The digest."""
        return self._digest


def verify_ed25519ph(public_key: bytes, signature: bytes, digest: bytes) -> None:
    """Check a signature with an empty context; `public_key` is the raw key of 32 bytes.

    Raises `MalformedInput` for a key that is not a point on the curve, and `InvalidSignature`.
    """
    if len(digest) != DIGEST_SIZE:
        raise InvalidSignature(f"Ed25519ph signs a digest of {DIGEST_SIZE} bytes, not {len(digest)}")
    try:
        key = eddsa.import_public_key(public_key)
    except ValueError:
        raise MalformedInput("the Ed25519 key is not a point on the curve", code="malformed_key") from None
    try:
        eddsa.new(key, "rfc8032").verify(_Prehashed(digest), signature)
    except ValueError:
        raise InvalidSignature("the signature does not verify with the key") from None
