"""What must hold before an entry is logged: its key is what it says, and every signature verifies.

No chain, no expiry, no certificate authority: the log records who claimed what, verifiers judge it.
"""

from collections.abc import Set as AbstractSet
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ed25519

from hallmark.core.algorithms import SHA2_256, Algorithm
from hallmark.core.ed25519ph import verify_ed25519ph
from hallmark.core.entries.dsse import DsseV002, VerifiedBy
from hallmark.core.entries.hashedrekord import HashedRekordV002
from hallmark.core.keys import KeyObject, PublicKey, key_algorithm, parse_public_key, verify_digest
from hallmark.errors import InvalidSignature, MalformedInput
from hallmark.tlog.requests import DsseRequest, Verifier

MAX_VERIFIER_BYTES: Final = 65535  # more than any entry can hold


def check_hashedrekord(entry: HashedRekordV002, allowed: AbstractSet[str]) -> None:
    """Check an entry; raises `MalformedInput` or `InvalidSignature`, its code names the check that failed."""
    algorithm = _check_allowed(entry.algorithm, allowed)
    key = _load_key(entry.verifier, algorithm, is_certificate=entry.is_certificate)
    size = entry.hash_algorithm.size
    if len(entry.digest) != size:
        raise MalformedInput(
            f"the digest has {len(entry.digest)} bytes, not the {size} of {algorithm.key_details}",
            code="wrong_digest_length",
        )
    try:
        _verify_digest(key, entry.signature, entry.digest, algorithm)
    except InvalidSignature:
        raise InvalidSignature("the signature does not verify over the digest") from None


class EnvelopeCheck:
    """Checks the signatures of an envelope one at a time, so that the caller can do other work between them.

    Every signature must verify with a verifier, and every verifier must have verified one.
    """

    def __init__(self, request: DsseRequest, allowed: AbstractSet[str]) -> None:
        self._payload = request.envelope.payload
        self._pae = request.envelope.pae()
        self._digests: dict[str, bytes] = {}
        self._keys = [(item, _load_verifier(item, allowed)) for item in request.verifiers]
        self._unused = {item.der for item in request.verifiers}
        self._verified: list[VerifiedBy] = []

    def verify(self, signature: bytes) -> None:
        """Find the verifier of the next signature; raises `InvalidSignature` where there is none."""
        position = len(self._verified) % len(self._keys)  # most clients list both in one order
        for verifier, key in (*self._keys[position:], *self._keys[:position]):
            try:
                self._verify(key, signature, verifier.algorithm)
            except InvalidSignature:
                continue
            self._unused.discard(verifier.der)
            self._verified.append(
                VerifiedBy(signature, verifier.algorithm, verifier.der, verifier.is_certificate)
            )
            return
        raise InvalidSignature(
            f"signature {len(self._verified)} of the envelope verifies with none of its verifiers"
        )

    def entry(self) -> DsseV002:
        """Build the entry after the last signature; raises `InvalidSignature` for an idle verifier."""
        if self._unused:
            raise InvalidSignature("a verifier has signed nothing of the envelope", code="unused_verifier")
        ordered = sorted(self._verified, key=lambda item: item.signature)
        return DsseV002(SHA2_256.digest(self._payload), tuple(ordered))

    def _verify(self, key: KeyObject, signature: bytes, algorithm: Algorithm) -> None:
        if algorithm.hash is None:
            PublicKey(key, b"", algorithm).verify(signature, self._pae)
            return
        digest = self._digests.get(algorithm.hash.name)
        if digest is None:
            digest = self._digests[algorithm.hash.name] = algorithm.hash.digest(self._pae)
        _verify_digest(key, signature, digest, algorithm)


def _load_verifier(verifier: Verifier, allowed: AbstractSet[str]) -> KeyObject:
    algorithm = _check_allowed(verifier.algorithm, allowed)
    return _load_key(verifier.der, algorithm, is_certificate=verifier.is_certificate)


def _check_allowed(algorithm: Algorithm, allowed: AbstractSet[str]) -> Algorithm:
    if algorithm.key_details not in allowed:
        raise MalformedInput(f"{algorithm.key_details} is not allowed", code="algorithm_not_allowed")
    return algorithm


def _load_key(der: bytes, named: Algorithm, *, is_certificate: bool) -> KeyObject:
    """Load the verifier's key and check that it is what its key details say."""
    known, default = _certified_key(der) if is_certificate else _bare_key(der)
    if (named.key_type, named.parameter) != (default.key_type, default.parameter):
        raise MalformedInput(
            f"the verifier's key is of {default.key_details}, not {named.key_details}",
            code="wrong_key_details",
        )
    return known


def _certified_key(der: bytes) -> tuple[KeyObject, Algorithm]:
    if len(der) > MAX_VERIFIER_BYTES:
        raise MalformedInput(f"the verifier's certificate has {len(der)} bytes", code="malformed_verifier")
    try:
        key = x509.load_der_x509_certificate(der).public_key()
    except (ValueError, UnsupportedAlgorithm, x509.InvalidVersion):
        raise MalformedInput("the verifier's certificate is not DER", code="malformed_verifier") from None
    return key_algorithm(key)


def _bare_key(der: bytes) -> tuple[KeyObject, Algorithm]:
    try:
        key = parse_public_key(der)
    except MalformedInput as error:
        if error.code == "weak_key":
            raise
        raise MalformedInput(f"the verifier: {error.message}", code="malformed_verifier") from None
    return key.key, key.algorithm


def _verify_digest(key: KeyObject, signature: bytes, digest: bytes, algorithm: Algorithm) -> None:
    if isinstance(key, ed25519.Ed25519PublicKey):
        verify_ed25519ph(key.public_bytes_raw(), signature, digest)
    else:
        verify_digest(key, signature, digest, algorithm.hash)
