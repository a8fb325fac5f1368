"""The lint: what a signing certificate must be, read back by another decoder than its encoder."""

from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat import asn1
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509 import oid

from hallmark.core.keys import PublicKey
from hallmark.core.oidc.identity import Principal
from hallmark.core.oidc.issuers import EXTENSION_ROWS
from hallmark.core.x509.authority import AuthorityCertificate
from hallmark.errors import InvalidCertificate

_STANDARD_EXTENSIONS = (
    oid.ExtensionOID.KEY_USAGE,
    oid.ExtensionOID.EXTENDED_KEY_USAGE,
    oid.ExtensionOID.SUBJECT_KEY_IDENTIFIER,
    oid.ExtensionOID.AUTHORITY_KEY_IDENTIFIER,
    oid.ExtensionOID.SUBJECT_ALTERNATIVE_NAME,
)


def lint_certificate(
    der: bytes,
    authority: AuthorityCertificate,
    principal: Principal,
    public_key: PublicKey,
    *,
    not_before: datetime,
    lifetime: timedelta,
) -> None:
    """Check that a certificate, not signed yet, is what was asked for; raises `InvalidCertificate`."""
    try:
        certificate = x509.load_der_x509_certificate(der)
        _lint_fields(certificate, authority, public_key)
        _lint_extensions(certificate, authority, principal)
    except (ValueError, x509.ExtensionNotFound, x509.InvalidVersion) as error:
        raise InvalidCertificate(f"the planned certificate does not parse: {error}", code="lint") from None
    times = (certificate.not_valid_before_utc, certificate.not_valid_after_utc)
    _expect(times == (not_before, not_before + lifetime), "validity")


def _lint_fields(
    certificate: x509.Certificate, authority: AuthorityCertificate, public_key: PublicKey
) -> None:
    _expect(certificate.version is x509.Version.v3, "version")
    _expect(certificate.serial_number > 0 and certificate.serial_number.bit_length() <= 159, "serial number")
    _expect(certificate.issuer.public_bytes() == asn1.encode_der(authority.subject), "issuer")
    _expect(not list(certificate.subject), "subject")
    spki = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    _expect(spki == public_key.spki, "public key")


def _lint_extensions(
    certificate: x509.Certificate, authority: AuthorityCertificate, principal: Principal
) -> None:
    extensions = certificate.extensions
    rows = [EXTENSION_ROWS[number] for number, _ in sorted(principal.extensions)]
    expected = [*_STANDARD_EXTENSIONS, *(row.oid for row in rows)]
    _expect([extension.oid for extension in extensions] == expected, "list of extensions")
    usage, purposes, _, authority_key, name, *claims = extensions
    _expect(usage.critical and usage.value.public_bytes() == b"\x03\x02\x07\x80", "key usage")
    _expect(
        not purposes.critical and list(purposes.value) == [oid.ExtendedKeyUsageOID.CODE_SIGNING], "purpose"
    )
    _expect(
        authority_key.value.public_bytes() == authority.authority_key_identifier, "authority key identifier"
    )
    kind = x509.RFC822Name if principal.san_kind == "email" else x509.UniformResourceIdentifier
    _expect(name.critical and list(name.value) == [kind(principal.san)], "subject alternative name")
    for extension, row, (_, text) in zip(claims, rows, sorted(principal.extensions), strict=True):
        value = text.encode() if row.raw else asn1.encode_der(text)
        _expect(not extension.critical and extension.value.value == value, f"extension {row.name}")


def _expect(holds: bool, what: str) -> None:
    if not holds:
        raise InvalidCertificate(f"the planned certificate has a wrong {what}", code="lint")
