"""The structure of certificates (RFC 5280 section 4.1), as far as precertificates are taken apart.

    Certificate  ::=  SEQUENCE  {
        tbsCertificate       TBSCertificate,
        signatureAlgorithm   AlgorithmIdentifier,
        signature            BIT STRING  }

    TBSCertificate  ::=  SEQUENCE  {
        version         [0]  Version DEFAULT v1,
        serialNumber         CertificateSerialNumber,
        signature            AlgorithmIdentifier,
        issuer               Name,
        validity             Validity,
        subject              Name,
        subjectPublicKeyInfo SubjectPublicKeyInfo,
        extensions      [3]  Extensions OPTIONAL }

What need not be looked into stays `TLV`, the bytes as they were, so that encoding again gives the same bytes.
Unique identifiers and certificates without extensions are refused: nothing that Sigstore issues has the
one or lacks the other.
"""

from typing import Annotated, Final

from cryptography.hazmat import asn1
from cryptography.x509 import ObjectIdentifier

from hallmark.core.x509.oids import PRECERTIFICATE_POISON
from hallmark.errors import MalformedInput

VERSION_3: Final = 2


@asn1.sequence
class Extension:
    """One extension; `value` is the content of the OCTET STRING."""

    oid: ObjectIdentifier
    critical: Annotated[bool, asn1.Default(False)]
    value: bytes


@asn1.sequence
class TbsCertificate:
    """What a certificate's issuer signs."""

    version: Annotated[int, asn1.Explicit(0)]
    serial_number: int
    signature: asn1.TLV
    issuer: asn1.TLV
    validity: asn1.TLV
    subject: asn1.TLV
    public_key: asn1.TLV
    extensions: Annotated[list[Extension], asn1.Explicit(3)]


@asn1.sequence
class SignedCertificate:
    """A certificate: signed part, algorithm, signature."""

    tbs: asn1.TLV
    signature_algorithm: asn1.TLV
    signature: asn1.BitString


@asn1.sequence
class Validity:
    """From when until when a certificate is valid (RFC 5280 section 4.1.2.5)."""

    not_before: asn1.UTCTime | asn1.GeneralizedTime
    not_after: asn1.UTCTime | asn1.GeneralizedTime


def encode_tbs(tbs: TbsCertificate, extensions: list[Extension]) -> bytes:
    """Encode the signed part with these extensions in place of its own."""
    return asn1.encode_der(
        TbsCertificate(
            version=tbs.version,
            serial_number=tbs.serial_number,
            signature=tbs.signature,
            issuer=tbs.issuer,
            validity=tbs.validity,
            subject=tbs.subject,
            public_key=tbs.public_key,
            extensions=extensions,
        )
    )


def remove_poison(tbs_der: bytes) -> bytes:
    """Take the poison out of a precertificate's signed part (RFC 6962 section 3.1).

    Raises `MalformedInput` unless there is exactly one poison, critical, with the content ASN.1 NULL.
    """
    try:
        tbs = asn1.decode_der(TbsCertificate, tbs_der)
    except ValueError:
        raise MalformedInput("the precertificate is malformed", code="malformed_certificate") from None
    poison = [item for item in tbs.extensions if item.oid == PRECERTIFICATE_POISON]
    if len(poison) != 1 or not poison[0].critical or poison[0].value != POISON_VALUE:
        raise MalformedInput(
            "the certificate is not a precertificate: it needs exactly one critical poison extension",
            code="not_a_precertificate",
        )
    return encode_tbs(tbs, [item for item in tbs.extensions if item.oid != PRECERTIFICATE_POISON])


POISON_VALUE: Final = asn1.encode_der(asn1.Null())
