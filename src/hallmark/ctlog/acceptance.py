"""Which chains the log accepts (RFC 6962 section 3.1, static-ct-api).

Each certificate must be signed by the next, and the last must be an accepted root or be signed by one. Every
certificate above the first is an authority's, and the whole path must allow code signing: this log is for
signing certificates, and a log that takes anything is a log that anybody can fill. Times do not matter: a
log is there to show what was issued, expired or not.
"""

from collections.abc import Generator, Sequence
from typing import Final

import msgspec
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509 import oid

from hallmark.core.algorithms import HASHES
from hallmark.core.keys import PublicKey, parse_public_key
from hallmark.core.x509.serials import check_serial
from hallmark.errors import ConfigurationError, InvalidCertificate, InvalidSignature, MalformedInput

MAX_ROOTS: Final = 64
# Real ones have one or two thousand; one that is all names takes 4 ms to parse, which is one piece of work.
MAX_CERTIFICATE_BYTES: Final = 12_000
MAX_KNOWN_PATHS: Final = 256
CODE_SIGNING: Final = oid.ExtendedKeyUsageOID.CODE_SIGNING
HASHES_BY_NAME: Final = {item.name: item for item in HASHES.values()}

_MALFORMED: Final = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
)


class IssuerPath(msgspec.Struct, frozen=True):
    """The checked certificates above a submitted one, from its issuer to an accepted root, DER."""

    issuer: x509.Certificate
    issuer_key: PublicKey
    certificates: tuple[bytes, ...]


class AcceptedRoots:
    """The roots that the log accepts, and the issuer paths to them that it has checked already.

    Paths are remembered because a CA sends the same one with every certificate; only accepted paths are,
    and of them a bounded number.
    """

    def __init__(self, roots: Sequence[bytes]) -> None:
        if not 0 < len(roots) <= MAX_ROOTS:
            raise ConfigurationError(f"a CT log has 1 to {MAX_ROOTS} accepted roots, not {len(roots)}")
        self.certificates = tuple(roots)
        self._roots = [load_certificate(der) for der in roots]
        self._paths: dict[tuple[bytes, ...], IssuerPath] = {}

    def issuer_path(
        self, leaf: x509.Certificate, issuers: tuple[bytes, ...]
    ) -> Generator[None, None, IssuerPath]:
        """Check what stands above a submitted certificate, and its own signature, a certificate at a step.

        Raises `InvalidCertificate` or `MalformedInput`. The accepted root may be left out of `issuers`.
        """
        if not issuers:
            issuers = (self._root_above(leaf).public_bytes(Encoding.DER),)
        path = self._paths.get(issuers)
        if path is None:
            path = yield from self._check(issuers)
            if len(self._paths) < MAX_KNOWN_PATHS:
                self._paths[issuers] = path
        check_issued(leaf, path.issuer, path.issuer_key)
        return path

    def _check(self, issuers: tuple[bytes, ...]) -> Generator[None, None, IssuerPath]:
        """Check a path from its root down: a stranger's chain costs one certificate and one operation."""
        authority = load_certificate(issuers[-1])
        above = () if authority in self._roots else (self._root_above(authority),)
        for root in above:
            _check_authority(root, len(issuers))
        _check_authority(authority, len(issuers) - 1)
        key = _key_of(authority)
        for depth in range(len(issuers) - 2, -1, -1):
            yield
            child = load_certificate(issuers[depth])
            check_issued(child, authority, key)
            _check_authority(child, depth)
            authority, key = child, _key_of(child)
        roots = tuple(root.public_bytes(Encoding.DER) for root in above)
        return IssuerPath(authority, key, (*issuers, *roots))

    def _root_above(self, child: x509.Certificate) -> x509.Certificate:
        for root in self._roots:
            if child.issuer == root.subject:
                try:
                    check_issued(child, root, _key_of(root))
                except InvalidCertificate:
                    continue  # another root of the same name, after a change of keys
                return root
        raise InvalidCertificate("the chain does not lead to an accepted root", code="unknown_root")


def load_certificate(der: bytes) -> x509.Certificate:
    """Read a certificate; raises `MalformedInput`.

    Names, extensions and algorithm are parsed when they are first asked for: here, where it may fail.
    """
    if len(der) > MAX_CERTIFICATE_BYTES:
        raise MalformedInput(f"a certificate of {len(der)} bytes is too large", code="too_large")
    try:
        certificate = x509.load_der_x509_certificate(der)
        _ = certificate.issuer, certificate.subject, certificate.extensions
        _ = certificate.signature_hash_algorithm
    except _MALFORMED:
        raise MalformedInput(
            "a certificate of the chain is malformed", code="malformed_certificate"
        ) from None
    check_serial(certificate.serial_number, what="a certificate of the chain")
    return certificate


def check_issued(child: x509.Certificate, parent: x509.Certificate, key: PublicKey) -> None:
    """Check that `parent`, whose key is `key`, signed `child`; raises `InvalidCertificate`."""
    signed_with = child.signature_hash_algorithm
    if child.issuer != parent.subject:
        raise InvalidCertificate("a certificate of the chain is not issued by the next", code="broken_chain")
    try:
        hash_algorithm = HASHES_BY_NAME[signed_with.name] if signed_with else None
        key.verify(child.signature, child.tbs_certificate_bytes, hash_algorithm=hash_algorithm)
    except (InvalidSignature, KeyError):
        raise InvalidCertificate(
            "a certificate of the chain is not signed by the next", code="broken_chain"
        ) from None


def _check_authority(authority: x509.Certificate, depth: int) -> None:
    """Check the CA bit, the path length and the purposes (RFC 5280 section 6.1.4)."""
    try:
        extensions = authority.extensions
        constraints = extensions.get_extension_for_class(x509.BasicConstraints).value
        usage = extensions.get_extension_for_class(x509.KeyUsage).value
    except (x509.ExtensionNotFound, ValueError):
        raise InvalidCertificate("an authority of the chain lacks extensions", code="broken_chain") from None
    if not (constraints.ca and usage.key_cert_sign):
        raise InvalidCertificate("a certificate above the first is not a CA certificate", code="broken_chain")
    if constraints.path_length is not None and constraints.path_length < depth:
        raise InvalidCertificate("the chain is longer than an authority allows", code="broken_chain")
    purposes = purposes_of(extensions)
    if purposes is not None and CODE_SIGNING not in purposes:
        raise InvalidCertificate("an authority of the chain is not for code signing", code="wrong_purpose")


def purposes_of(extensions: x509.Extensions) -> x509.ExtendedKeyUsage | None:
    """Find the extended key usage of a certificate."""
    try:
        return extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return None


def _key_of(certificate: x509.Certificate) -> PublicKey:
    try:
        return parse_public_key(
            certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        )
    except (ValueError, UnsupportedAlgorithm, MalformedInput):
        raise InvalidCertificate("an authority's key is not supported", code="broken_chain") from None
