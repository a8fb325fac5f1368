"""Signing certificates of a CA of one's own (RFC 5280), which need not look like those of a Sigstore CA.

They may have no SCT, no identity in an alternative name, years of validity, and even be a CA's: who holds the
key of a CA could issue a leaf to sign with anyway.
"""

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from hallmark.core.x509.certificate import (
    CertificateIdentity,
    SigningCertificate,
    certificate_key,
    check_critical,
    load_certificate,
    read_extensions,
    read_identity,
)
from hallmark.core.x509.chain import IssuingPath, find_issuing_path
from hallmark.errors import InvalidCertificate, MalformedInput

MAX_CHAIN_BYTES = 256 * 1024
MAX_CHAIN = 16
_UNDERSTOOD = (
    x509.KeyUsage,
    x509.ExtendedKeyUsage,
    x509.SubjectAlternativeName,
    x509.BasicConstraints,
)


def parse_own_chain(pem: bytes) -> tuple[bytes, ...]:
    """Read the certificates (DER) of a PEM file with a root and, if need be, intermediates.

    Raises `MalformedInput`, also where none of them is a root.
    """
    if len(pem) > MAX_CHAIN_BYTES:
        raise MalformedInput(f"a certificate chain of {len(pem)} bytes is too large", code="too_large")
    try:
        found = x509.load_pem_x509_certificates(pem)
    except (ValueError, x509.InvalidVersion):
        raise MalformedInput("the file holds no PEM certificates", code="malformed_certificate") from None
    if len(found) > MAX_CHAIN:
        raise MalformedInput(f"the chain has more than {MAX_CHAIN} certificates", code="too_large")
    chain = tuple(item.public_bytes(Encoding.DER) for item in found)
    if not any(map(_is_root, chain)):
        raise MalformedInput("the chain has no root certificate", code="no_root_certificate")
    return chain


def parse_own_certificate(der: bytes) -> SigningCertificate:
    """Read the certificate of a signer; raises `MalformedInput` and `InvalidCertificate`."""
    certificate = load_certificate(der)
    extensions = read_extensions(certificate)
    check_critical(extensions, _UNDERSTOOD)
    _check_usage(extensions)
    return SigningCertificate(
        der=der,
        certificate=certificate,
        public_key=certificate_key(certificate),
        identity=_identity(certificate, extensions),
        scts=(),
        not_before=certificate.not_valid_before_utc,
        not_after=certificate.not_valid_after_utc,
    )


def find_own_path(
    leaf: SigningCertificate, trusted: tuple[bytes, ...], offered: tuple[bytes, ...]
) -> IssuingPath:
    """Find the way from a leaf to a root of `trusted`; certificates that were `offered` may stand between.

    Raises `InvalidCertificate` with code `unknown_ca`.
    """
    roots = [der for der in trusted if _is_root(der)]
    between = tuple(dict.fromkeys(der for der in (*trusted, *offered) if not _is_root(der)))
    for root in roots:
        try:
            return find_issuing_path(leaf, (*between, root))
        except InvalidCertificate:
            continue
    raise InvalidCertificate(
        "the signing certificate does not lead to the root certificate that you named", code="unknown_ca"
    )


def _is_root(der: bytes) -> bool:
    certificate = load_certificate(der)
    return certificate.issuer == certificate.subject


def _check_usage(extensions: x509.Extensions) -> None:
    found = {type(item.value): item.value for item in extensions}
    usage, purposes = found.get(x509.KeyUsage), found.get(x509.ExtendedKeyUsage)
    if not isinstance(usage, x509.KeyUsage) or not usage.digital_signature:
        raise InvalidCertificate("the signing certificate is not for digital signatures", code="wrong_usage")
    if isinstance(purposes, x509.ExtendedKeyUsage) and ExtendedKeyUsageOID.CODE_SIGNING not in purposes:
        raise InvalidCertificate("the signing certificate is not for code signing", code="wrong_usage")


def _identity(certificate: x509.Certificate, extensions: x509.Extensions) -> CertificateIdentity:
    """The alternative name, else the subject's common name."""
    if any(isinstance(item.value, x509.SubjectAlternativeName) for item in extensions):
        return read_identity(extensions)
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    name = names[0].value if len(names) == 1 else ""
    if not isinstance(name, str) or not name:
        raise InvalidCertificate("the signing certificate names nobody", code="no_identity")
    return CertificateIdentity(identity=name, kind="common_name", oidc_issuer="", extensions={})
