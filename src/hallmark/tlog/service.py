"""The Rekor v2 log, without HTTP: check what was submitted, append it, read it back."""

import hashlib
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_der_public_key

from hallmark.core.algorithms import Algorithm
from hallmark.core.entries.hashedrekord import HashedRekordV002
from hallmark.core.keys import KeyObject, key_algorithm, verify_digest
from hallmark.errors import InvalidSignature, MalformedInput
from hallmark.ports import Appended, LogAppender, LogReads
from hallmark.tiledlog.commit import fixed_leaf
from hallmark.tlog.config import TlogConfig

_OVERHEAD: Final = 256


class TlogService:
    """One Rekor v2 shard. `log_id` is what clients find its key by in the trusted root."""

    def __init__(self, log: LogAppender, reads: LogReads, *, log_id: bytes, config: TlogConfig) -> None:
        self._log = log
        self.reads = reads
        self.log_id = log_id
        self.config = config

    async def add_hashedrekord(self, entry: HashedRekordV002) -> Appended:
        """Check the entry and append it.

        Raises `MalformedInput` or `InvalidSignature` with the code of the check that failed, and whatever
        `LogAppender.append` raises.
        """
        _check_signature(entry, _load_key(entry), self._allowed(entry.algorithm))
        leaf = entry.to_bytes()
        key = hashlib.sha256(leaf).digest()
        return await self._log.append(key, fixed_leaf(leaf), size=2 * len(leaf) + _OVERHEAD)

    def _allowed(self, algorithm: Algorithm) -> Algorithm:
        if algorithm.key_details not in self.config.algorithms:
            raise MalformedInput(f"{algorithm.key_details} is not allowed", code="algorithm_not_allowed")
        return algorithm


def _load_key(entry: HashedRekordV002) -> KeyObject:
    """Load the verifier's key and check that it is what its key details say."""
    try:
        if entry.is_certificate:
            key = x509.load_der_x509_certificate(entry.verifier).public_key()
        else:
            key = load_der_public_key(entry.verifier)  # type: ignore[assignment]  # narrowed by key_algorithm
    except (ValueError, UnsupportedAlgorithm):
        what = "certificate" if entry.is_certificate else "public key"
        raise MalformedInput(f"the verifier's {what} is not DER", code="malformed_verifier") from None
    known, default = key_algorithm(key)
    named = entry.algorithm
    if (named.key_type, named.parameter) != (default.key_type, default.parameter):
        raise MalformedInput(
            f"the verifier's key is of {default.key_details}, not {named.key_details}",
            code="wrong_key_details",
        )
    return known


def _check_signature(entry: HashedRekordV002, key: KeyObject, algorithm: Algorithm) -> None:
    size = entry.hash_algorithm.size
    if len(entry.digest) != size:
        raise MalformedInput(
            f"the digest has {len(entry.digest)} bytes, not the {size} of {algorithm.key_details}",
            code="wrong_digest_length",
        )
    try:
        verify_digest(key, entry.signature, entry.digest, entry.hash_algorithm)
    except InvalidSignature:
        raise InvalidSignature("the signature does not verify over the digest") from None
