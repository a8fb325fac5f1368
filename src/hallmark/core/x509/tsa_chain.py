"""The certificate chain of a timestamp authority (RFC 3161 section 2.3, RFC 5280).

The chain comes from the trusted root or the service's configuration, leaf first, root last. The root is
trusted because it is there; everything below it must be signed by the next certificate. Times are not
part of it: they are checked against the window in which the whole chain is valid.
"""

import hashlib
from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache
from typing import Final, TypeVar

import msgspec
from cryptography import x509
from cryptography.exceptions import InvalidSignature as CryptographyInvalidSignature
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID

from hallmark.core.keys import PublicKey, key_algorithm, wrap_public_key
from hallmark.core.x509.serials import check_serial
from hallmark.errors import InvalidCertificate, MalformedInput

MAX_CHAIN_LENGTH: Final = 8
MAX_CERTIFICATE_BYTES: Final = 16 * 1024

_Kind = TypeVar("_Kind", bound=x509.ExtensionType)
_CACHED_CHAINS: Final = 64
_ALLOWED_HASHES: Final = frozenset({"sha256", "sha384", "sha512"})
_UNDERSTOOD: Final = frozenset(
    {
        ExtensionOID.BASIC_CONSTRAINTS,
        ExtensionOID.KEY_USAGE,
        ExtensionOID.EXTENDED_KEY_USAGE,
        ExtensionOID.CERTIFICATE_POLICIES,
        ExtensionOID.SUBJECT_ALTERNATIVE_NAME,
    }
)


class TsaChain(msgspec.Struct, frozen=True, kw_only=True):
    """A chain whose signatures and extensions were checked, and the leaf's key and names.

    The chain is valid from `not_before` to `not_after`, both included: the window common to all its
    certificates. `der` is the leaf's DER.
    """

    der: bytes
    name: str
    key: PublicKey
    issuer: x509.Name
    serial: int
    not_before: datetime
    not_after: datetime

    def leaf_digest(self, hash_name: str) -> bytes:
        """Hash the leaf's DER with a function that hashlib knows by this name."""
        return hashlib.new(hash_name, self.der, usedforsecurity=False).digest()

    def check_time(self, moment: datetime) -> None:
        """Check that all certificates are valid at `moment`; raises `InvalidCertificate`."""
        if not self.not_before <= moment <= self.not_after:
            raise InvalidCertificate(
                f"the timestamp authority's chain is valid from {self.not_before.isoformat()} to "
                f"{self.not_after.isoformat()}, not at {moment.isoformat()}",
                code="tsa_chain_not_valid",
            )


@lru_cache(maxsize=_CACHED_CHAINS)
def check_tsa_chain(chain: tuple[bytes, ...]) -> TsaChain:
    """Check a chain of DER certificates, leaf first and root last, whatever the time.

    Each certificate must be signed by the next with SHA-2; all but the leaf must be CAs that may sign
    timestamping certificates; the leaf must not be a CA, and its extended key usage must be critical and
    exactly timeStamping. Raises `MalformedInput` or `InvalidCertificate`. The answer for a chain is kept,
    because the signatures of CAs cost more than everything else in a timestamp.
    """
    if not 2 <= len(chain) <= MAX_CHAIN_LENGTH:
        raise InvalidCertificate(
            f"a timestamp authority's chain has 2 to {MAX_CHAIN_LENGTH} certificates, not {len(chain)}",
            code="tsa_chain_length",
        )
    certificates = [_parse_certificate(der) for der in chain]
    try:
        return _check(chain[0], certificates)
    except (
        ValueError,
        TypeError,
        UnsupportedAlgorithm,
        x509.DuplicateExtension,
        x509.UnsupportedGeneralNameType,
    ):
        raise MalformedInput("a certificate of the timestamp authority does not parse") from None


def _check(leaf_der: bytes, certificates: Sequence[x509.Certificate]) -> TsaChain:
    leaf = certificates[0]
    for depth, certificate in enumerate(certificates):
        _refuse_unknown_critical_extensions(certificate)
        if depth > 0:
            _check_ca(certificate, intermediates_below=depth - 1)
            _check_issued_by(certificates[depth - 1], certificate)
    _check_leaf(leaf)
    return TsaChain(
        der=leaf_der,
        name=leaf.subject.rfc4514_string(),
        key=wrap_public_key(leaf.public_key()),
        issuer=leaf.issuer,
        serial=leaf.serial_number,
        not_before=max(certificate.not_valid_before_utc for certificate in certificates),
        not_after=min(certificate.not_valid_after_utc for certificate in certificates),
    )


def _parse_certificate(der: bytes) -> x509.Certificate:
    if len(der) > MAX_CERTIFICATE_BYTES:
        raise MalformedInput(f"a certificate of {len(der)} bytes is too large", code="malformed_certificate")
    try:
        certificate = x509.load_der_x509_certificate(der)
    except (ValueError, x509.InvalidVersion):
        raise MalformedInput("the bytes are not a DER certificate", code="malformed_certificate") from None
    check_serial(certificate.serial_number, what="the timestamp authority's certificate")
    return certificate


def _check_leaf(leaf: x509.Certificate) -> None:
    constraints = _find(leaf, x509.BasicConstraints)
    if constraints is not None and constraints.value.ca:
        raise InvalidCertificate("the timestamp authority's certificate is a CA", code="tsa_leaf_is_ca")
    usage = _find(leaf, x509.ExtendedKeyUsage)
    if usage is None or list(usage.value) != [ExtendedKeyUsageOID.TIME_STAMPING]:
        raise InvalidCertificate(
            "the extended key usage of the timestamp authority's certificate is not exactly timeStamping",
            code="tsa_key_usage",
        )
    if not usage.critical:
        raise InvalidCertificate(
            "the extended key usage of the timestamp authority's certificate is not critical",
            code="tsa_key_usage",
        )
    key_usage = _find(leaf, x509.KeyUsage)
    if key_usage and not (key_usage.value.digital_signature or key_usage.value.content_commitment):
        raise InvalidCertificate(
            "the timestamp authority's certificate may not sign messages", code="tsa_key_usage"
        )


def _check_ca(certificate: x509.Certificate, *, intermediates_below: int) -> None:
    subject = certificate.subject.rfc4514_string()
    constraints = _find(certificate, x509.BasicConstraints)
    if constraints is None or not constraints.value.ca:
        raise InvalidCertificate(f"{subject} is in the chain but no CA", code="tsa_issuer_is_no_ca")
    limit = constraints.value.path_length
    if limit is not None and intermediates_below > limit:
        raise InvalidCertificate(f"the chain is longer than {subject} allows", code="tsa_chain_length")
    key_usage = _find(certificate, x509.KeyUsage)
    if key_usage is not None and not key_usage.value.key_cert_sign:
        raise InvalidCertificate(f"{subject} may not sign certificates", code="tsa_issuer_is_no_ca")
    usage = _find(certificate, x509.ExtendedKeyUsage)
    allowed = {ExtendedKeyUsageOID.TIME_STAMPING, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE}
    if usage is not None and allowed.isdisjoint(usage.value):
        raise InvalidCertificate(f"{subject} may not issue for timestamping", code="tsa_key_usage")


def _check_issued_by(certificate: x509.Certificate, issuing_ca: x509.Certificate) -> None:
    subject = certificate.subject.rfc4514_string()
    key_algorithm(issuing_ca.public_key())  # refuses weak keys
    algorithm = certificate.signature_hash_algorithm
    if algorithm is not None and algorithm.name not in _ALLOWED_HASHES:
        raise InvalidCertificate(f"{subject} is signed with {algorithm.name}", code="weak_hash")
    try:
        certificate.verify_directly_issued_by(issuing_ca)
    except (ValueError, TypeError, CryptographyInvalidSignature, UnsupportedAlgorithm):
        raise InvalidCertificate(
            f"{subject} is not issued by {issuing_ca.subject.rfc4514_string()}", code="tsa_chain_broken"
        ) from None


def _refuse_unknown_critical_extensions(certificate: x509.Certificate) -> None:
    for extension in certificate.extensions:
        if extension.critical and extension.oid not in _UNDERSTOOD:
            raise InvalidCertificate(
                f"{certificate.subject.rfc4514_string()} has an unknown critical extension "
                f"{extension.oid.dotted_string}",
                code="unknown_critical_extension",
            )


def _find(certificate: x509.Certificate, kind: type[_Kind]) -> x509.Extension[_Kind] | None:
    try:
        return certificate.extensions.get_extension_for_class(kind)
    except x509.ExtensionNotFound:
        return None
