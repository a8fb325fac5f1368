"""Cryptographic Message Syntax, as far as signed messages with one signer need it (RFC 5652).

SignedData ::= SEQUENCE {
    version, digestAlgorithms SET OF, encapContentInfo,
    certificates [0] OPTIONAL, crls [1] OPTIONAL, signerInfos SET OF }

SignerInfo ::= SEQUENCE {
    version, sid IssuerAndSerialNumber, digestAlgorithm, signedAttrs [0],
    signatureAlgorithm, signature, unsignedAttrs [1] OPTIONAL }

Strict DER. The certificates that a message carries are not looked at: whose key must have signed is the
caller's knowledge.
"""

from types import MappingProxyType
from typing import Annotated, Final, TypeVar

import msgspec
from cryptography import x509
from cryptography.hazmat import asn1
from cryptography.x509 import ObjectIdentifier

from hallmark.core.algorithms import SHA2_256, SHA2_384, SHA2_512, HashAlgorithm
from hallmark.core.keys import PublicKey
from hallmark.core.x509.serials import check_serial
from hallmark.errors import InvalidSignature, MalformedInput

SIGNED_DATA: Final = ObjectIdentifier("1.2.840.113549.1.7.2")
CONTENT_TYPE: Final = ObjectIdentifier("1.2.840.113549.1.9.3")
MESSAGE_DIGEST: Final = ObjectIdentifier("1.2.840.113549.1.9.4")
SIGNING_TIME: Final = ObjectIdentifier("1.2.840.113549.1.9.5")

HASH_OIDS: Final = MappingProxyType(
    {
        SHA2_256.name: ObjectIdentifier("2.16.840.1.101.3.4.2.1"),
        SHA2_384.name: ObjectIdentifier("2.16.840.1.101.3.4.2.2"),
        SHA2_512.name: ObjectIdentifier("2.16.840.1.101.3.4.2.3"),
    }
)
_HASHES_BY_OID: Final = {HASH_OIDS[item.name]: item for item in (SHA2_256, SHA2_384, SHA2_512)}

SIGNATURE_OIDS: Final = MappingProxyType(
    {
        ("ecdsa", SHA2_256.name): ObjectIdentifier("1.2.840.10045.4.3.2"),
        ("ecdsa", SHA2_384.name): ObjectIdentifier("1.2.840.10045.4.3.3"),
        ("ecdsa", SHA2_512.name): ObjectIdentifier("1.2.840.10045.4.3.4"),
        ("rsa", SHA2_256.name): ObjectIdentifier("1.2.840.113549.1.1.11"),
        ("rsa", SHA2_384.name): ObjectIdentifier("1.2.840.113549.1.1.12"),
        ("rsa", SHA2_512.name): ObjectIdentifier("1.2.840.113549.1.1.13"),
    }
)
_Value = TypeVar("_Value")
_RSA_ENCRYPTION: Final = ObjectIdentifier("1.2.840.113549.1.1.1")
_SIGNATURES_BY_OID: Final = {oid: names for names, oid in SIGNATURE_OIDS.items()}
_HASHES_BY_NAME: Final = {item.name: item for item in _HASHES_BY_OID.values()}


@asn1.sequence
class AlgorithmIdentifier:
    """AlgorithmIdentifier whose parameters are NULL or absent: the only forms of SHA-2, RSA and ECDSA."""

    algorithm: ObjectIdentifier
    parameters: asn1.Null | None


@asn1.sequence
class IssuerAndSerialNumber:
    """Names a certificate."""

    issuer: x509.Name
    serial_number: int


@asn1.sequence
class Attribute:
    """One attribute: its type and a set of values."""

    type: ObjectIdentifier
    values: asn1.SetOf[asn1.TLV]


@asn1.sequence
class SignerInfo:
    """The signature of one signer. Signed attributes are optional in CMS, but not here."""

    version: int
    sid: IssuerAndSerialNumber
    digest_algorithm: AlgorithmIdentifier
    signed_attrs: Annotated[asn1.SetOf[Attribute], asn1.Implicit(0)]
    signature_algorithm: AlgorithmIdentifier
    signature: bytes
    unsigned_attrs: Annotated[list[asn1.TLV] | None, asn1.Implicit(1)]


@asn1.sequence
class EncapsulatedContentInfo:
    """The signed content and its type."""

    e_content_type: ObjectIdentifier
    e_content: Annotated[bytes, asn1.Explicit(0)]


@asn1.sequence
class SignedData:
    """The signed message. Certificates are read in any order: some signers do not sort them."""

    version: int
    digest_algorithms: asn1.SetOf[AlgorithmIdentifier]
    encap_content_info: EncapsulatedContentInfo
    certificates: Annotated[list[asn1.TLV] | None, asn1.Implicit(0)]
    crls: Annotated[list[asn1.TLV] | None, asn1.Implicit(1)]
    signer_infos: asn1.SetOf[SignerInfo]


@asn1.sequence
class ContentInfo:
    """The outermost envelope: signed data."""

    content_type: ObjectIdentifier
    content: Annotated[SignedData, asn1.Explicit(0)]


class SignedMessage(msgspec.Struct, frozen=True, kw_only=True):
    """A signed message of one signer; nothing of it is verified.

    `attributes` maps the dotted type of each signed attribute to its one value; `signed_attributes` is
    the DER SET OF that the signature covers.
    """

    content_type: str
    content: bytes
    signer_issuer: x509.Name
    signer_serial: int
    digest_algorithm: HashAlgorithm
    signature_algorithm: tuple[str, HashAlgorithm]
    signed_attributes: bytes
    attributes: MappingProxyType[str, asn1.TLV]
    signature: bytes
    certificate_count: int


def hash_of(identifier: AlgorithmIdentifier) -> HashAlgorithm:
    """Say which hash function an AlgorithmIdentifier names; raises `MalformedInput` for other than SHA-2."""
    try:
        return _HASHES_BY_OID[identifier.algorithm]
    except KeyError:
        raise MalformedInput(
            f"hash algorithm {identifier.algorithm.dotted_string} is not supported", code="unsupported_hash"
        ) from None


def read_signed_message(envelope: ContentInfo) -> SignedMessage:
    """Read the envelope of a message with exactly one signer; raises `MalformedInput`.

    Wants one signed attribute of a type with one value each, among them content-type and message-digest.
    """
    if envelope.content_type != SIGNED_DATA:
        raise MalformedInput("the message is not CMS SignedData", code="malformed_cms")
    data = envelope.content
    signers = data.signer_infos.as_list()
    if len(signers) != 1:
        raise MalformedInput(f"the message has {len(signers)} signers, not one", code="signer_count")
    signer = signers[0]
    if (data.version, signer.version) != (3, 1):  # not printed: an integer in ASN.1 has no bound
        raise MalformedInput("the message has other CMS versions than 3 and 1", code="malformed_cms")
    digest_algorithm = hash_of(signer.digest_algorithm)
    return SignedMessage(
        content_type=data.encap_content_info.e_content_type.dotted_string,
        content=data.encap_content_info.e_content,
        signer_issuer=signer.sid.issuer,
        signer_serial=check_serial(signer.sid.serial_number, what="the signer"),
        digest_algorithm=digest_algorithm,
        signature_algorithm=_signature_algorithm(signer.signature_algorithm, digest_algorithm),
        signed_attributes=asn1.encode_der(signer.signed_attrs),
        attributes=_read_attributes(signer.signed_attrs.as_list()),
        signature=signer.signature,
        certificate_count=len(data.certificates or ()),
    )


def _signature_algorithm(
    identifier: AlgorithmIdentifier, digest_algorithm: HashAlgorithm
) -> tuple[str, HashAlgorithm]:
    if identifier.algorithm == _RSA_ENCRYPTION:  # RFC 3370 section 3.2: the hash is the digest's
        return "rsa", digest_algorithm
    try:
        key_type, hash_name = _SIGNATURES_BY_OID[identifier.algorithm]
    except KeyError:
        raise MalformedInput(
            f"signature algorithm {identifier.algorithm.dotted_string} is not supported",
            code="unknown_algorithm",
        ) from None
    return key_type, _HASHES_BY_NAME[hash_name]


def _read_attributes(attributes: list[Attribute]) -> MappingProxyType[str, asn1.TLV]:
    found: dict[str, asn1.TLV] = {}
    for attribute in attributes:
        name, values = attribute.type.dotted_string, attribute.values.as_list()
        if name in found or len(values) != 1:
            raise MalformedInput(f"signed attribute {name} has more or less than one value")
        found[name] = values[0]
    return MappingProxyType(found)


def verify_signed_message(message: SignedMessage, key: PublicKey) -> None:
    """Check that `key` signed the message (RFC 5652 section 5.6); raises `InvalidSignature`.

    The signature covers the signed attributes, and these the content's type and digest. Raises
    `MalformedInput` when one of those attributes is missing or no such value.
    """
    content_type = read_attribute(message, CONTENT_TYPE, ObjectIdentifier)
    if content_type.dotted_string != message.content_type:
        raise InvalidSignature("the signed content-type attribute names another type than the content's")
    digest = read_attribute(message, MESSAGE_DIGEST, bytes)
    if digest != message.digest_algorithm.digest(message.content):
        raise InvalidSignature("the signed message-digest attribute is not the digest of the content")
    key_type, hash_algorithm = message.signature_algorithm
    if key_type != key.algorithm.key_type:
        raise InvalidSignature(f"the message is signed with {key_type}, the key is {key.algorithm.key_type}")
    key.verify(message.signature, message.signed_attributes, hash_algorithm=hash_algorithm)


def read_attribute(message: SignedMessage, oid: ObjectIdentifier, kind: type[_Value]) -> _Value:
    """Read a signed attribute's value as `kind`; raises `MalformedInput` when it is missing or another."""
    value = message.attributes.get(oid.dotted_string)
    if value is None:
        raise MalformedInput(f"the signed attribute {oid.dotted_string} is missing", code="malformed_cms")
    try:
        return value.parse(kind)  # type: ignore[no-any-return]
    except (ValueError, TypeError):  # the library's names raise either
        raise MalformedInput(
            f"the signed attribute {oid.dotted_string} does not parse", code="malformed_cms"
        ) from None
