"""What must hold before an entry is logged: its key is what it says, and every signature verifies.

No chain, no expiry, no certificate authority: the log records who claimed what, verifiers judge it.
"""

import hashlib
import re
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from hallmark.core.algorithms import SHA2_256, Algorithm
from hallmark.core.dsse import EnvelopeSignature
from hallmark.core.ed25519ph import verify_ed25519ph
from hallmark.core.entries.dsse import DsseV002, VerifiedBy
from hallmark.core.entries.hashedrekord import HashedRekordV002
from hallmark.core.keys import KeyObject, PublicKey, fits_key, key_algorithm, parse_public_key, verify_digest
from hallmark.errors import InvalidSignature, MalformedInput
from hallmark.tlog.requests import DsseRequest, Verifier

MAX_VERIFIER_BYTES: Final = 65535  # more than any entry can hold
MAX_FAILED_CHECKS_PER_SIGNATURE: Final = 2  # any order of five signers of one kind is found
_KEY_ID: Final = re.compile("[0-9A-Fa-f]{64}")


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
    """Checks the signatures of an envelope one operation at a time; the caller can do other work between.

    Every signature must verify with a verifier, and every verifier must have verified one. What it costs is
    bounded by the number of signatures, not by its product with the number of verifiers.
    """

    def __init__(self, request: DsseRequest, allowed: AbstractSet[str]) -> None:
        self._signatures = request.envelope.signatures
        if len(request.verifiers) > len(self._signatures):
            raise _idle_verifier()
        self._payload = request.envelope.payload
        self._pae = request.envelope.pae()
        self._digests: dict[str, bytes] = {}
        self._keys = [(item, _load_verifier(item, allowed)) for item in request.verifiers]
        self._unused = {item.der for item in request.verifiers}
        self._verified: list[VerifiedBy] = []
        self._failures_left = MAX_FAILED_CHECKS_PER_SIGNATURE * len(self._signatures)

    def steps(self) -> Iterator[None]:
        """Find the verifier of each signature, and pause after each operation with a public key.

        Raises `InvalidSignature` for a signature that no verifier has made, and for too many failed checks.
        """
        for item in self._signatures:
            yield from self._find_verifier(item)

    def _find_verifier(self, item: EnvelopeSignature) -> Iterator[None]:
        for verifier, key in self._candidates(item):
            found = self._holds(key, item.signature, verifier.algorithm)
            yield
            if found:
                self._unused.discard(verifier.der)
                self._verified.append(
                    VerifiedBy(item.signature, verifier.algorithm, verifier.der, verifier.is_certificate)
                )
                return
        raise InvalidSignature(
            f"signature {len(self._verified)} of the envelope verifies with none of its verifiers"
        )

    def _candidates(self, item: EnvelopeSignature) -> list[tuple[Verifier, KeyObject]]:
        """List who may have made a signature: the likeliest first, and only the one that its keyid names."""
        fitting = [pair for pair in self._keys if fits_key(item.signature, pair[1])]
        if _KEY_ID.fullmatch(item.keyid):
            named = [pair for pair in fitting if _key_id(pair[1]) == item.keyid.lower()]
            fitting = named or fitting
        position = len(self._verified) % len(self._keys)  # most clients list both in one order
        before = [verifier.der for verifier, _ in self._keys[:position]]
        return sorted(fitting, key=lambda pair: (pair[0].der not in self._unused, pair[0].der in before))

    def _holds(self, key: KeyObject, signature: bytes, algorithm: Algorithm) -> bool:
        try:
            self._verify(key, signature, algorithm)
        except InvalidSignature:
            self._failures_left -= 1
            if self._failures_left < 0:
                raise _too_many_checks() from None
            return False
        return True

    def entry(self) -> DsseV002:
        """Build the entry after the last signature; raises `InvalidSignature` for an idle verifier."""
        if self._unused:
            raise _idle_verifier()
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


def _idle_verifier() -> InvalidSignature:
    return InvalidSignature("a verifier has signed nothing of the envelope", code="unused_verifier")


def _too_many_checks() -> InvalidSignature:
    return InvalidSignature(
        "too many checks of the envelope's signatures failed: list the verifiers in the order of the "
        "signatures, or name each by the hex SHA-256 of its SubjectPublicKeyInfo in keyid",
        code="too_many_checks",
    )


def _key_id(key: KeyObject) -> str:
    return hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()


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
