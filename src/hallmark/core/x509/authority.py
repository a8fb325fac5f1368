"""Certificates of authorities (RFC 5280): the root, the issuing CA, and what issuing needs of the latter."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat import asn1
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509 import ObjectIdentifier, oid

from hallmark.core.keys import PublicKey, wrap_public_key
from hallmark.errors import ConfigurationError, MalformedInput

BACKDATING: Final = timedelta(hours=1)
"""How long before its making an authority's validity starts: a timestamp has whole seconds, clocks differ."""

ROOT_LIFETIME: Final = timedelta(days=3653)
ISSUING_LIFETIME: Final = timedelta(days=1096)
MAX_CHAIN: Final = 8

_HASHES: Final[dict[str, hashes.SHA256 | hashes.SHA384 | hashes.SHA512]] = {
    "secp256r1": hashes.SHA256(),
    "secp384r1": hashes.SHA384(),
    "secp521r1": hashes.SHA512(),
}
_SIGNATURE_ALGORITHMS: Final = {
    "secp256r1": oid.SignatureAlgorithmOID.ECDSA_WITH_SHA256,
    "secp384r1": oid.SignatureAlgorithmOID.ECDSA_WITH_SHA384,
    "secp521r1": oid.SignatureAlgorithmOID.ECDSA_WITH_SHA512,
}


@asn1.sequence
class _EcdsaAlgorithm:
    """An AlgorithmIdentifier without parameters (RFC 5758 section 3.2)."""

    algorithm: ObjectIdentifier


class AuthorityCertificate(msgspec.Struct, frozen=True, kw_only=True):
    """What issuing needs of the issuing CA's certificate, read once.

    `chain` is DER from the issuing certificate up to the root. The TLV fields go into each certificate as
    they are.
    """

    chain: tuple[bytes, ...]
    public_key: PublicKey
    subject: asn1.TLV
    signature_algorithm: asn1.TLV
    authority_key_identifier: bytes
    not_before: datetime
    not_after: datetime


def root_certificate(
    key: ec.EllipticCurvePrivateKey, *, common_name: str, organization: str, now: datetime, serial: int
) -> x509.Certificate:
    """Make a self-signed root, valid for ten years."""
    name = authority_name(common_name, organization)
    builder = _authority_builder(
        name, key.public_key(), path_length=None, now=now, lifetime=ROOT_LIFETIME, serial=serial
    )
    return builder.issuer_name(name).sign(key, _HASHES[key.curve.name])


def issuing_certificate(
    public_key: ec.EllipticCurvePublicKey,
    *,
    common_name: str,
    organization: str,
    root: x509.Certificate,
    root_key: ec.EllipticCurvePrivateKey,
    now: datetime,
    serial: int,
) -> x509.Certificate:
    """Make the issuing CA's certificate below a root: path length 0, code signing, three years."""
    root_key_identifier = root.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    name = authority_name(common_name, organization)
    builder = _authority_builder(
        name, public_key, path_length=0, now=now, lifetime=ISSUING_LIFETIME, serial=serial
    )
    builder = builder.add_extension(
        x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(root_key_identifier), critical=False
    ).add_extension(x509.ExtendedKeyUsage([oid.ExtendedKeyUsageOID.CODE_SIGNING]), critical=False)
    return builder.issuer_name(root.subject).sign(root_key, _HASHES[root_key.curve.name])


def authority_name(common_name: str, organization: str) -> x509.Name:
    """Make an authority's name: organisation, then common name."""
    return x509.Name(
        [
            x509.NameAttribute(oid.NameOID.ORGANIZATION_NAME, organization),
            x509.NameAttribute(oid.NameOID.COMMON_NAME, common_name),
        ]
    )


def _authority_builder(
    name: x509.Name,
    public_key: ec.EllipticCurvePublicKey,
    *,
    path_length: int | None,
    now: datetime,
    lifetime: timedelta,
    serial: int,
) -> x509.CertificateBuilder:
    not_before = now.astimezone(UTC).replace(microsecond=0) - BACKDATING
    key_usage = x509.KeyUsage(
        digital_signature=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=True,
        encipher_only=False,
        decipher_only=False,
    )
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .public_key(public_key)
        .serial_number(serial)
        .not_valid_before(not_before)
        .not_valid_after(not_before + lifetime)
        .add_extension(key_usage, critical=True)
        .add_extension(x509.BasicConstraints(ca=True, path_length=path_length), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
    )


def read_authority(chain: Sequence[bytes]) -> AuthorityCertificate:
    """Read and check an issuing chain, DER from the issuing certificate to the root.

    Raises `ConfigurationError` (`unusable_authority`) for anything that would make clients refuse what it
    issues: a break in the chain, a certificate that is no CA, a missing key usage or code signing purpose,
    a key that is not ECDSA. Times are not looked at; issuing does.
    """
    if not 0 < len(chain) <= MAX_CHAIN:
        raise _unusable(f"it has {len(chain)} certificates, not 1 to {MAX_CHAIN}")
    try:
        certificates = [x509.load_der_x509_certificate(der) for der in chain]
        _check_links(certificates)
        for position, certificate in enumerate(certificates):
            _check_authority(certificate, position)
        return _authority(certificates[0], tuple(chain))
    except (ValueError, TypeError, MalformedInput) as error:
        raise _unusable(str(error) or "a certificate is malformed") from None
    except x509.ExtensionNotFound as error:
        raise _unusable(f"a certificate lacks extension {error.oid.dotted_string}") from None


def _authority(issuing: x509.Certificate, chain: tuple[bytes, ...]) -> AuthorityCertificate:
    public_key = wrap_public_key(issuing.public_key())
    signature_algorithm = _SIGNATURE_ALGORITHMS.get(public_key.algorithm.parameter)
    if signature_algorithm is None:
        raise _unusable(f"its key is {public_key.algorithm.name}; clients want an ECDSA key")
    key_identifier = issuing.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    identifier = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(key_identifier)
    algorithm = asn1.encode_der(_EcdsaAlgorithm(algorithm=signature_algorithm))
    return AuthorityCertificate(
        chain=chain,
        public_key=public_key,
        subject=asn1.decode_der(asn1.TLV, issuing.subject.public_bytes()),
        signature_algorithm=asn1.decode_der(asn1.TLV, algorithm),
        authority_key_identifier=identifier.public_bytes(),
        not_before=issuing.not_valid_before_utc,
        not_after=issuing.not_valid_after_utc,
    )


def _check_links(certificates: Sequence[x509.Certificate]) -> None:
    root = certificates[-1]
    for child, parent in zip(certificates, [*certificates[1:], root], strict=True):
        try:
            child.verify_directly_issued_by(parent)
        except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
            names = [child.subject.rfc4514_string(), parent.subject.rfc4514_string()]
            raise _unusable(f"{names[0]!r} is not issued by {names[1]!r}") from None


def _check_authority(certificate: x509.Certificate, position: int) -> None:
    extensions = certificate.extensions
    constraints = extensions.get_extension_for_class(x509.BasicConstraints)
    key_usage = extensions.get_extension_for_class(x509.KeyUsage).value
    name = certificate.subject.rfc4514_string()
    if not (constraints.critical and constraints.value.ca and key_usage.key_cert_sign):
        raise _unusable(f"{name!r} is not a CA certificate")
    if constraints.value.path_length is not None and constraints.value.path_length < position:
        raise _unusable(
            f"{name!r} allows {constraints.value.path_length} authorities below it, not {position}"
        )
    try:
        purposes = extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return
    if oid.ExtendedKeyUsageOID.CODE_SIGNING not in purposes:
        raise _unusable(f"{name!r} is not for code signing")


def _unusable(why: str) -> ConfigurationError:
    return ConfigurationError(f"the issuing chain is not usable: {why}", code="unusable_authority")
