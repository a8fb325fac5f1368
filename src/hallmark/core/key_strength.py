"""Keys that nobody holds, or that everybody does: refused wherever a key is read.

A signature says something only where one holder could have made it. For each algorithm of the registry:

    Ed25519   A key of small order takes one constant signature for any message, and an encoding that is not
              reduced is a second name of another key (RFC 8032 section 5.1.3): both are refused.
    ECDSA     The library refuses the point at infinity, points off the curve, and r or s of zero.
    RSA       The exponent is 65537: with 1 a padded message is its own signature, and a large one costs
              its length to check. A modulus with a small factor, or a square, can be factored by anybody.
    ML-DSA    With a key whose t1 is zero anybody can sign (FIPS 204, algorithm 8).

Whether a modulus is prime is not tested: that takes 15 to 120 ms, and who makes such a key has only
published it.
"""

import math
from functools import cache, lru_cache
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PublicKey

from hallmark.errors import MalformedInput

RSA_EXPONENT: Final = 65537

_FIELD_PRIME: Final = 2**255 - 19
_Y_MASK: Final = 2**255 - 1  # the highest bit is the sign of x
_ORDER_8_Y: Final = 0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826
_SMALL_ORDER_Y: Final = frozenset({0, 1, _FIELD_PRIME - 1, _ORDER_8_Y, _FIELD_PRIME - _ORDER_8_Y})
"""The y of the eight points whose order divides 8; a y belongs to no other point than (x, y) and (-x, y)."""

SMALLEST_FACTOR: Final = 752
"""Moduli have no prime factor below this: the test of NIST SP 800-89 section 5.3.3."""
_CACHED_MODULI: Final = 256  # signers come again, and the test costs half of a signature's
_ML_DSA_SEED_BYTES: Final = 32  # rho; t1 follows


def check_strength(key: object) -> None:
    """Check that one holder can stand behind a public key; raises `MalformedInput` with code `weak_key`."""
    if isinstance(key, ed25519.Ed25519PublicKey):
        _check_point(key.public_bytes_raw())
    elif isinstance(key, rsa.RSAPublicKey):
        _check_rsa(key.public_numbers())
    elif isinstance(key, MLDSA44PublicKey) and not any(key.public_bytes_raw()[_ML_DSA_SEED_BYTES:]):
        raise _weak("anybody can sign with this ML-DSA key")


def _check_point(encoded: bytes) -> None:
    y = int.from_bytes(encoded, "little") & _Y_MASK
    if y in _SMALL_ORDER_Y:
        raise _weak("the Ed25519 key is of small order: one signature holds for any message")
    if y >= _FIELD_PRIME:
        raise _weak("the Ed25519 key is not encoded canonically")


def _check_rsa(numbers: rsa.RSAPublicNumbers) -> None:
    if numbers.e != RSA_EXPONENT:
        raise _weak(f"an RSA key's exponent must be {RSA_EXPONENT}")
    _check_modulus(numbers.n)


@lru_cache(maxsize=_CACHED_MODULI)
def _check_modulus(modulus: int) -> None:
    if math.gcd(modulus, _small_factors()) != 1:
        raise _weak("the RSA key's modulus has a small factor")
    if math.isqrt(modulus) ** 2 == modulus:
        raise _weak("the RSA key's modulus is a square")


@cache
def _small_factors() -> int:
    """Join what is below `SMALLEST_FACTOR`; most programs that import this never meet an RSA key."""
    return math.lcm(*range(1, SMALLEST_FACTOR))


def _weak(message: str) -> MalformedInput:
    return MalformedInput(message, code="weak_key")
