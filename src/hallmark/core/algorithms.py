"""The algorithm registry of Sigstore (protobuf-specs `PublicKeyDetails` and `HashAlgorithm`).

One table says which key type, curve or size, hash and padding stand behind each name on the wire.
"""

import hashlib
from typing import Final

import msgspec

from hallmark.errors import MalformedInput


class HashAlgorithm(msgspec.Struct, frozen=True):
    """A hash function by its names: on the wire (`SHA2_256`) and in hashlib (`sha256`); `size` in bytes."""

    wire_name: str
    name: str
    size: int

    def digest(self, data: bytes) -> bytes:
        """Hash `data`."""
        return hashlib.new(self.name, data).digest()


SHA2_256: Final = HashAlgorithm("SHA2_256", "sha256", 32)
SHA2_384: Final = HashAlgorithm("SHA2_384", "sha384", 48)
SHA2_512: Final = HashAlgorithm("SHA2_512", "sha512", 64)

HASHES: Final = {item.wire_name: item for item in (SHA2_256, SHA2_384, SHA2_512)}
HASH_NUMBERS: Final = {1: SHA2_256.wire_name, 2: SHA2_384.wire_name, 3: SHA2_512.wire_name}


class Algorithm(msgspec.Struct, frozen=True):
    """One row of the registry.

    `key_type` is `ecdsa`, `rsa` or `ed25519`; `parameter` the curve's name or the modulus size in bits;
    `hash` is what the signer applies first (None: the scheme signs the message itself).
    """

    key_details: str
    number: int
    name: str
    key_type: str
    parameter: str
    hash: HashAlgorithm | None

    @property
    def prehash(self) -> bool:
        """Say whether a signature can be checked from the digest alone."""
        return self.hash is not None


_ROWS: Final = (
    Algorithm("PKIX_ECDSA_P256_SHA_256", 5, "ecdsa-sha2-256-nistp256", "ecdsa", "secp256r1", SHA2_256),
    Algorithm("PKIX_ECDSA_P384_SHA_384", 12, "ecdsa-sha2-384-nistp384", "ecdsa", "secp384r1", SHA2_384),
    Algorithm("PKIX_ECDSA_P521_SHA_512", 13, "ecdsa-sha2-512-nistp521", "ecdsa", "secp521r1", SHA2_512),
    Algorithm("PKIX_ECDSA_P384_SHA_256", 19, "ecdsa-sha2-256-nistp384", "ecdsa", "secp384r1", SHA2_256),
    Algorithm("PKIX_ECDSA_P521_SHA_256", 20, "ecdsa-sha2-256-nistp521", "ecdsa", "secp521r1", SHA2_256),
    Algorithm("PKIX_RSA_PKCS1V15_2048_SHA256", 9, "rsa-sign-pkcs1-2048-sha256", "rsa", "2048", SHA2_256),
    Algorithm("PKIX_RSA_PKCS1V15_3072_SHA256", 10, "rsa-sign-pkcs1-3072-sha256", "rsa", "3072", SHA2_256),
    Algorithm("PKIX_RSA_PKCS1V15_4096_SHA256", 11, "rsa-sign-pkcs1-4096-sha256", "rsa", "4096", SHA2_256),
    Algorithm("PKIX_ED25519", 7, "ed25519", "ed25519", "ed25519", None),
    Algorithm("PKIX_ED25519_PH", 8, "ed25519-ph", "ed25519", "ed25519", SHA2_512),
)

LEGACY_RSA: Final = {1: "PKCS1_RSA_PKCS1V5", 3: "PKIX_RSA_PKCS1V5"}
"""Names by number that fix no size, as the keys of old CT logs have them; the hash is SHA-256."""
PKCS1: Final = LEGACY_RSA[1]

ALGORITHMS: Final = {row.key_details: row for row in _ROWS}
ALGORITHMS_BY_NUMBER: Final = {row.number: row for row in _ROWS}

DEFAULT_ALGORITHMS: Final = {
    (row.key_type, row.parameter): row
    for row in _ROWS
    if row.key_details not in {"PKIX_ECDSA_P384_SHA_256", "PKIX_ECDSA_P521_SHA_256", "PKIX_ED25519_PH"}
}


def parse_key_details(name: str) -> Algorithm:
    """Find the algorithm that `name` (for example `PKIX_ECDSA_P256_SHA_256`) stands for.

    Raises `MalformedInput` for a name that is not in the registry.
    """
    try:
        return ALGORITHMS[name]
    except KeyError:
        raise MalformedInput(f"unknown key details {name[:80]!r}", code="unknown_algorithm") from None
