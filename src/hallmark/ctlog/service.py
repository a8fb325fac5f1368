"""The certificate transparency log (RFC 6962, C2SP static-ct-api): takes chains, promises them a place.

The promise is kept before it is given: a submission is durable at its index when its SCT is signed, so
that there is no merge delay and a reader finds the entry at once.
"""

import hashlib
from collections.abc import Generator, Sequence
from functools import partial
from typing import Final, Protocol, TypeVar

from cryptography import x509
from cryptography.x509 import oid

from hallmark.core.encoding.tls import vector
from hallmark.core.keys import parse_public_key
from hallmark.core.x509.oids import PRECERTIFICATE_POISON
from hallmark.core.x509.sct import (
    LogEntry,
    PrecertEntry,
    Sct,
    X509Entry,
    leaf_index_extension,
    merkle_tree_leaf,
    timestamped_entry,
)
from hallmark.core.x509.tbs import remove_poison
from hallmark.ctlog.acceptance import CODE_SIGNING, AcceptedRoots, IssuerPath, load_certificate, purposes_of
from hallmark.ctlog.config import CtLogConfig
from hallmark.errors import ConfigurationError, InvalidCertificate, MalformedInput
from hallmark.ports import Finalized, KeyPair, LogAppender
from hallmark.web.turns import Turns

T = TypeVar("T")

SHA256: Final = 4
ECDSA: Final = 3
_AUTHORITY: Final = (
    "certificates"  # the flow of what our own authority logs: nobody else's submissions delay it
)


class IssuerStore(Protocol):
    """Keeps the issuers' certificates that entries refer to by fingerprint (static-ct-api, `issuer/`).

    When `put_issuer` returns, the certificate is durable. Putting one twice is harmless. It raises
    `Overloaded` where nothing was written (a full disk).
    """

    def put_issuer(self, fingerprint: bytes, certificate: bytes) -> None:
        """Store a certificate, DER, under its SHA-256."""
        ...

    def get_issuer(self, fingerprint: bytes) -> bytes | None:
        """Find a certificate by its SHA-256."""
        ...


class CtLog:
    """The log's write side, and the issuers it has stored."""

    def __init__(
        self,
        *,
        log: LogAppender,
        key: KeyPair,
        roots: Sequence[bytes],
        issuers: IssuerStore,
        config: CtLogConfig | None = None,
        turns: Turns | None = None,
    ) -> None:
        self._turns = turns or Turns()
        public_key = parse_public_key(key.spki)
        if public_key.algorithm.parameter != "secp256r1":
            raise ConfigurationError(f"a CT log's key is P-256, not {public_key.algorithm.name}")
        self.log_id = public_key.key_id
        self.config = config or CtLogConfig()
        self._log = log
        self._key = key
        self._roots = AcceptedRoots(roots)
        self._issuers = issuers
        self._stored: set[bytes] = set()

    @property
    def roots(self) -> tuple[bytes, ...]:
        """The accepted roots, DER."""
        return self._roots.certificates

    def issuer(self, fingerprint: bytes) -> bytes | None:
        """Find an issuer's certificate by its SHA-256."""
        return self._issuers.get_issuer(fingerprint)

    async def add_chain(self, chain: Sequence[bytes], flow: str = "") -> Sct:
        """Append a final certificate, the first of `chain`; `flow` is what its work waits in (`web.turns`).

        Raises `InvalidCertificate` or `MalformedInput`.
        """
        certificate, path = await self._run(self._accept(chain), flow)
        if _is_poisoned(certificate):
            raise InvalidCertificate("the certificate is a precertificate", code="wrong_entry_type")
        return await self._append(X509Entry(chain[0]), path, b"")

    async def add_pre_chain(self, chain: Sequence[bytes], flow: str = "") -> Sct:
        """Append a precertificate, the first of `chain`; as `add_chain`."""
        certificate, path = await self._run(self._accept(chain), flow)
        tbs = remove_poison(certificate.tbs_certificate_bytes)
        return await self._append(PrecertEntry(path.issuer_key.key_id, tbs), path, vector(chain[0], 3))

    async def add_precertificate(self, precertificate: bytes, issuing_chain: Sequence[bytes]) -> Sct:
        """Append a precertificate for a certificate authority of the same process."""
        return await self.add_pre_chain([precertificate, *issuing_chain], _AUTHORITY)

    async def _run(self, steps: Generator[None, None, T], flow: str) -> T:
        """Run the steps, each as a piece of work."""
        while (end := await self._turns.heavy(partial(_advance, steps), flow)) is None:
            pass
        result: T = end.value
        return result

    def _accept(self, chain: Sequence[bytes]) -> Generator[None, None, tuple[x509.Certificate, IssuerPath]]:
        if not 0 < len(chain) <= self.config.max_chain:
            raise MalformedInput(f"a chain has 1 to {self.config.max_chain} certificates, not {len(chain)}")
        certificate = load_certificate(chain[0])
        _check_submitted(certificate)
        yield
        return certificate, (yield from self._roots.issuer_path(certificate, tuple(chain[1:])))

    async def _append(self, entry: LogEntry, path: IssuerPath, precertificate: bytes) -> Sct:
        fingerprints = vector(b"".join(self._store(der) for der in path.certificates), 2)

        def finalize(index: int, time: int) -> Finalized:
            extensions = leaf_index_extension(index)
            record = timestamped_entry(time, entry, extensions) + precertificate + fingerprints
            return Finalized(merkle_tree_leaf(time, entry, extensions), record)

        key = hashlib.sha256(_identity(entry, path)).digest()
        size = 2 * len(precertificate) + len(fingerprints) + 1024
        place = await self._log.append(key, finalize, size=size)
        return self._sign(place.index, place.time, entry)

    def _store(self, der: bytes) -> bytes:
        """Store an issuer before an entry refers to it; paths are few, so the set stays small."""
        fingerprint = hashlib.sha256(der).digest()
        if fingerprint not in self._stored:
            self._issuers.put_issuer(fingerprint, der)
            self._stored.add(fingerprint)
        return fingerprint

    def _sign(self, index: int, time: int, entry: LogEntry) -> Sct:
        extensions = leaf_index_extension(index)
        signature = self._key.sign(merkle_tree_leaf(time, entry, extensions))
        return Sct(self.log_id, time, extensions, SHA256, ECDSA, signature)


def _advance(steps: Generator[None, None, T]) -> StopIteration | None:
    """Take a step; the last one gives the result, in what a generator ends with."""
    try:
        next(steps)
    except StopIteration as end:
        return end
    return None


def _identity(entry: LogEntry, path: IssuerPath) -> bytes:
    """Say which entry this is: entry type, issuing key, certificate; index and time are no part of it."""
    if isinstance(entry, PrecertEntry):
        return entry.to_bytes()
    return entry.to_bytes()[:2] + path.issuer_key.key_id + entry.to_bytes()[2:]


def _is_poisoned(certificate: x509.Certificate) -> bool:
    return any(item.oid == PRECERTIFICATE_POISON for item in certificate.extensions)


def _check_submitted(certificate: x509.Certificate) -> None:
    """Check that the submitted certificate is an end entity's, for code signing."""
    extensions = certificate.extensions  # which `load_certificate` has parsed
    purposes = purposes_of(extensions)
    constraints = [item.value for item in extensions if item.oid == oid.ExtensionOID.BASIC_CONSTRAINTS]
    if purposes is None or CODE_SIGNING not in purposes:
        raise InvalidCertificate("the certificate is not for code signing", code="wrong_purpose")
    if any(isinstance(value, x509.BasicConstraints) and value.ca for value in constraints):
        raise InvalidCertificate("the certificate is an authority's", code="wrong_entry_type")
