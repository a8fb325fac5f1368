"""JSON Web Key Sets (RFC 7517): the keys that an issuer signs identity tokens with."""

import base64
from typing import Any, Final

import msgspec
from cryptography.hazmat.primitives.asymmetric import rsa
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, Key, OKPKey, RSAKey

from hallmark.core.encoding.json_document import check_names
from hallmark.core.key_strength import check_strength
from hallmark.core.keys import key_algorithm
from hallmark.errors import MalformedInput

MAX_JWKS_BYTES: Final = 256 * 1024
MAX_KEYS: Final = 64
MIN_RSA_BITS: Final = 2048
MAX_RSA_BITS: Final = 8192  # a check of a signature grows with the square; no provider is known above 4096

_KEY_TYPES: Final[dict[str, type[RSAKey | ECKey | OKPKey]]] = {"RSA": RSAKey, "EC": ECKey, "OKP": OKPKey}
_KEY_TYPE_OF_ALGORITHM: Final = {
    **dict.fromkeys(("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"), "RSA"),
    **dict.fromkeys(("ES256", "ES384", "ES512"), "EC"),
    **dict.fromkeys(("EdDSA", "Ed25519"), "OKP"),
}
ALLOWED_ALGORITHMS: Final = frozenset(_KEY_TYPE_OF_ALGORITHM)


class VerificationKey(msgspec.Struct, frozen=True):
    """A public key of an issuer; `algorithm` is None where the issuer does not fix one."""

    key: Key
    key_type: str
    key_id: str | None
    algorithm: str | None


class KeySet(msgspec.Struct, frozen=True):
    """The keys of one issuer."""

    keys: tuple[VerificationKey, ...]

    def candidates(self, key_id: str | None, algorithm: str) -> list[Key]:
        """List the keys that may have signed a token with this key id and algorithm."""
        return [
            item.key
            for item in self.keys
            if (key_id is None or item.key_id == key_id)
            and item.algorithm in {None, algorithm}
            and item.key_type == _KEY_TYPE_OF_ALGORITHM[algorithm]
        ]


class _JsonWebKeySet(msgspec.Struct, frozen=True):
    keys: list[dict[str, Any]]


def parse_jwks(data: bytes) -> KeySet:
    """Read a key set; raises `MalformedInput`.

    Keys of unknown types, for encryption or too weak are left out, as RFC 7517 section 5 has it: one odd
    key must not take the others with it.
    """
    if len(data) > MAX_JWKS_BYTES:
        raise MalformedInput(f"the key set has {len(data)} bytes, more than {MAX_JWKS_BYTES}")
    try:
        decoded = msgspec.json.decode(data, type=_JsonWebKeySet)
        check_names(data, what="the key set")
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, MalformedInput):
        raise MalformedInput("the key set is not a JSON Web Key Set", code="malformed_jwks") from None
    if len(decoded.keys) > MAX_KEYS:
        raise MalformedInput(f"the key set has more than {MAX_KEYS} keys", code="malformed_jwks")
    return KeySet(tuple(key for item in decoded.keys if (key := _parse_key(item)) is not None))


def _parse_key(item: dict[str, Any]) -> VerificationKey | None:
    kind = item.get("kty")
    key_type = _KEY_TYPES.get(kind) if isinstance(kind, str) else None
    if key_type is None or item.get("use", "sig") != "sig" or "d" in item:
        return None
    try:
        if kind == "RSA" and not MIN_RSA_BITS <= _modulus_bits(item) <= MAX_RSA_BITS:
            return None
        key = key_type.import_key(item)
        key.get_op_key("verify")
    except (JoseError, ValueError, TypeError, KeyError):
        return None
    if not _is_strong(key.public_key):
        return None
    key_id, algorithm = item.get("kid"), item.get("alg")
    return VerificationKey(
        key,
        str(kind),
        key_id if isinstance(key_id, str) else None,
        algorithm if isinstance(algorithm, str) else None,
    )


def _modulus_bits(item: dict[str, Any]) -> int:
    """Measure the modulus before the library reads it, which prints a warning of a small one."""
    text = item["n"]
    raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    return int.from_bytes(raw, "big").bit_length()


def _is_strong(key: object) -> bool:
    """Say whether a signature of the key proves anything; providers use more RSA sizes than the registry."""
    try:
        if isinstance(key, rsa.RSAPublicKey):
            check_strength(key)
        else:
            key_algorithm(key)
    except MalformedInput:
        return False
    return True
