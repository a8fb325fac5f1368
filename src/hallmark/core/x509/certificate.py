"""Signing certificates: the leaf that a Sigstore CA issues (Fulcio certificate specification, RFC 5280).

Parsing checks everything that the leaf alone can show; who issued it, and when it counts, `chain` says.
"""

from datetime import datetime
from typing import Final

import msgspec
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat import asn1
from cryptography.x509.oid import ExtendedKeyUsageOID

from hallmark.core.keys import PublicKey, wrap_public_key
from hallmark.core.x509.oids import FULCIO_EXTENSIONS, OTHER_NAME_SAN, SCT_LIST
from hallmark.core.x509.sct import Sct, parse_sct_list
from hallmark.core.x509.serials import check_serial
from hallmark.errors import InvalidCertificate, MalformedInput

MAX_CERTIFICATE_BYTES: Final = 64 * 1024
MAX_EXTENSIONS: Final = 64

_FULCIO_NAMES: Final = {row.oid: row for row in FULCIO_EXTENSIONS}
_UNDERSTOOD: Final = (
    x509.KeyUsage,
    x509.ExtendedKeyUsage,
    x509.SubjectAlternativeName,
    x509.BasicConstraints,
)
_EMPTY_NAME: Final = x509.Name([])


class CertificateIdentity(msgspec.Struct, frozen=True, kw_only=True):
    """Who a certificate names: `kind` is `email`, `uri` or `other_name`.

    `extensions` holds the other claims by their names in `oids.FULCIO_EXTENSIONS`.
    """

    identity: str
    kind: str
    oidc_issuer: str
    extensions: dict[str, str]


class SigningCertificate(msgspec.Struct, frozen=True, kw_only=True):
    """A leaf, parsed strictly; `scts` are embedded in it and unverified."""

    der: bytes
    certificate: x509.Certificate
    public_key: PublicKey
    identity: CertificateIdentity
    scts: tuple[Sct, ...]
    not_before: datetime
    not_after: datetime


def parse_signing_certificate(der: bytes) -> SigningCertificate:
    """Read a leaf.

    Raises `MalformedInput` for bytes that do not parse, and `InvalidCertificate` for a certificate that is
    no signing certificate.
    """
    certificate = load_certificate(der)
    extensions = read_extensions(certificate)
    _check_usage(certificate, extensions)
    return SigningCertificate(
        der=der,
        certificate=certificate,
        public_key=certificate_key(certificate),
        identity=read_identity(extensions),
        scts=_scts(extensions),
        not_before=certificate.not_valid_before_utc,
        not_after=certificate.not_valid_after_utc,
    )


def load_certificate(der: bytes) -> x509.Certificate:
    """Load a DER certificate; raises `MalformedInput`.

    Its names are read at once: the library reads them late, and would raise wherever they are first used.
    """
    if len(der) > MAX_CERTIFICATE_BYTES:
        raise MalformedInput(f"a certificate of {len(der)} bytes is too large", code="malformed_certificate")
    try:
        certificate = x509.load_der_x509_certificate(der)
        _ = certificate.issuer, certificate.subject
    except (ValueError, TypeError, x509.InvalidVersion):
        raise MalformedInput("the bytes are not a DER certificate", code="malformed_certificate") from None
    check_serial(certificate.serial_number, what="the certificate")
    return certificate


def read_extensions(certificate: x509.Certificate) -> x509.Extensions:
    """Read a certificate's extensions; raises `MalformedInput` for a broken or repeated one."""
    try:
        extensions = certificate.extensions
    except (ValueError, TypeError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType):
        raise MalformedInput(
            "the certificate's extensions do not parse", code="malformed_certificate"
        ) from None
    if len(extensions) > MAX_EXTENSIONS:
        raise MalformedInput(f"the certificate has more than {MAX_EXTENSIONS} extensions")
    return extensions


def certificate_key(certificate: x509.Certificate) -> PublicKey:
    """The public key of a certificate; raises `MalformedInput` for kinds the registry does not know."""
    try:
        key = certificate.public_key()
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise MalformedInput("the certificate's public key does not parse", code="malformed_key") from None
    return wrap_public_key(key)


def _check_usage(certificate: x509.Certificate, extensions: x509.Extensions) -> None:
    found = {type(item.value): item for item in extensions}
    check_critical(extensions, _UNDERSTOOD)
    constraints = found.get(x509.BasicConstraints)
    if constraints is not None and constraints.value.ca:
        raise InvalidCertificate("the signing certificate is a CA's", code="not_a_leaf")
    usage = found.get(x509.KeyUsage)
    if usage is None or not usage.value.digital_signature or usage.value.key_cert_sign:
        raise InvalidCertificate("the signing certificate is not for digital signatures", code="wrong_usage")
    purposes = found.get(x509.ExtendedKeyUsage)
    if purposes is None or ExtendedKeyUsageOID.CODE_SIGNING not in purposes.value:
        raise InvalidCertificate("the signing certificate is not for code signing", code="wrong_usage")
    names = found.get(x509.SubjectAlternativeName)
    if names is None:
        raise InvalidCertificate("the signing certificate names no identity", code="no_identity")
    if not names.critical and certificate.subject == _EMPTY_NAME:
        raise InvalidCertificate("the certificate's names are not critical, and its subject is empty")


def check_critical(extensions: x509.Extensions, understood: tuple[type[x509.ExtensionType], ...]) -> None:
    """Check that every critical extension is one we act on (RFC 5280 4.2); raises `InvalidCertificate`."""
    for item in extensions:
        if item.critical and not isinstance(item.value, understood):
            raise InvalidCertificate(
                f"the certificate's critical extension {item.oid.dotted_string} is not understood",
                code="unknown_critical_extension",
            )


def read_identity(extensions: x509.Extensions) -> CertificateIdentity:
    """Read whom a certificate names; raises `MalformedInput` or `InvalidCertificate`.

    The OIDC issuer is empty where the CA vouches for the identity by itself, as GitHub's does for releases.
    """
    claims = _claims(extensions)
    current, old = claims.pop("issuer", None), claims.pop("issuer-v1", None)
    oidc_issuer = current or old or ""
    if current is not None and old is not None and current != old:
        raise InvalidCertificate(f"the certificate names two OIDC issuers, {current!r} and {old!r}")
    kind, identity = _subject_name(extensions)
    return CertificateIdentity(identity=identity, kind=kind, oidc_issuer=oidc_issuer, extensions=claims)


def _claims(extensions: x509.Extensions) -> dict[str, str]:
    claims: dict[str, str] = {}
    for item in extensions:
        row = _FULCIO_NAMES.get(item.oid)
        if row is None or not isinstance(item.value, x509.UnrecognizedExtension):
            continue
        try:
            value = item.value.value
            claims[row.name] = value.decode("utf-8") if row.raw else asn1.decode_der(str, value)
        except ValueError:
            raise MalformedInput(f"the certificate's extension {row.name} does not parse") from None
    return claims


def _subject_name(extensions: x509.Extensions) -> tuple[str, str]:
    names = [name for item in extensions for name in _names(item)]
    if len(names) != 1:
        # With several, a policy could be met by a name that the signer was never asked to prove.
        raise InvalidCertificate(f"the signing certificate names {len(names)} identities, not one")
    name = names[0]
    if isinstance(name, x509.RFC822Name):
        return "email", name.value
    if isinstance(name, x509.UniformResourceIdentifier):
        return "uri", name.value
    if isinstance(name, x509.OtherName) and name.type_id == OTHER_NAME_SAN:
        return "other_name", _other_name(name.value)
    raise InvalidCertificate("the signing certificate's name is of an unknown kind", code="no_identity")


def _names(extension: x509.Extension[x509.ExtensionType]) -> list[x509.GeneralName]:
    return list(extension.value) if isinstance(extension.value, x509.SubjectAlternativeName) else []


def _other_name(value: bytes) -> str:
    try:
        return asn1.decode_der(str, value)
    except ValueError:
        raise MalformedInput("the certificate's other name is not a UTF8String") from None


def _scts(extensions: x509.Extensions) -> tuple[Sct, ...]:
    for item in extensions:
        if item.oid == SCT_LIST:
            return parse_sct_list(item.value.public_bytes())
    return ()
