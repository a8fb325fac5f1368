"""Time-Stamp Protocol: requests, and verification of responses (RFC 3161, RFC 5816).

TimeStampReq  ::= SEQUENCE { version, messageImprint, reqPolicy OPTIONAL, nonce OPTIONAL,
                             certReq DEFAULT FALSE, extensions [0] OPTIONAL }
TimeStampResp ::= SEQUENCE { status PKIStatusInfo, timeStampToken ContentInfo OPTIONAL }
TSTInfo       ::= SEQUENCE { version, policy, messageImprint, serialNumber, genTime, accuracy OPTIONAL,
                             ordering DEFAULT FALSE, nonce OPTIONAL, tsa [0] OPTIONAL,
                             extensions [1] OPTIONAL }

Trust comes from the chain that the caller gives. Certificates inside a token are ignored: most tokens
carry none, and those that do prove nothing with them.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Final, TypeVar

import msgspec
from cryptography import x509
from cryptography.hazmat import asn1
from cryptography.x509 import ObjectIdentifier

from hallmark.core.algorithms import SHA2_256, HashAlgorithm
from hallmark.core.cms import (
    HASH_OIDS,
    AlgorithmIdentifier,
    ContentInfo,
    SignedMessage,
    hash_of,
    read_attribute,
    read_signed_message,
    verify_signed_message,
)
from hallmark.core.x509.serials import check_serial
from hallmark.core.x509.tsa_chain import TsaChain, check_tsa_chain
from hallmark.errors import InvalidCertificate, InvalidSignature, InvalidTimestamp, MalformedInput

MAX_REQUEST_BYTES: Final = 16 * 1024
MAX_RESPONSE_BYTES: Final = 64 * 1024

TST_INFO: Final = ObjectIdentifier("1.2.840.113549.1.9.16.1.4")
SIGNING_CERTIFICATE: Final = ObjectIdentifier("1.2.840.113549.1.9.16.2.12")
SIGNING_CERTIFICATE_V2: Final = ObjectIdentifier("1.2.840.113549.1.9.16.2.47")

_SHA1: Final = ObjectIdentifier("1.3.14.3.2.26")
_GRANTED: Final = 0
_LAST_STATUS: Final = 5  # revocationNotification
_Kind = TypeVar("_Kind")


@asn1.sequence
class MessageImprint:
    """The digest that is stamped."""

    hash_algorithm: AlgorithmIdentifier
    hashed_message: bytes


@asn1.sequence
class Extension:
    """An extension of a request or token."""

    extn_id: ObjectIdentifier
    critical: bool | None
    extn_value: bytes


@asn1.sequence
class TimeStampReq:
    """A request. An explicit FALSE is read too, which DER forbids and clients send."""

    version: int
    message_imprint: MessageImprint
    req_policy: ObjectIdentifier | None
    nonce: int | None
    cert_req: bool | None
    extensions: Annotated[list[Extension] | None, asn1.Implicit(0)]


@asn1.sequence
class Accuracy:
    """How far the stamped time may be off."""

    seconds: int | None
    millis: Annotated[int | None, asn1.Implicit(0)]
    micros: Annotated[int | None, asn1.Implicit(1)]


@asn1.sequence
class AnyValue:
    """Any one value. Implicitly tagged it is the same as that value explicitly tagged."""

    value: asn1.TLV


@asn1.sequence
class TSTInfo:
    """What the authority signs."""

    version: int
    policy: ObjectIdentifier
    message_imprint: MessageImprint
    serial_number: int
    gen_time: asn1.GeneralizedTime
    accuracy: Accuracy | None
    ordering: bool | None
    nonce: int | None
    tsa: Annotated[AnyValue | None, asn1.Implicit(0)]
    extensions: Annotated[list[Extension] | None, asn1.Implicit(1)]


@asn1.sequence
class PKIStatusInfo:
    """Whether the request was granted, and why not."""

    status: int
    status_string: list[str] | None
    fail_info: asn1.BitString | None


@asn1.sequence
class TimeStampResp:
    """A response."""

    status: PKIStatusInfo
    time_stamp_token: ContentInfo | None


@asn1.sequence
class DirectoryNames:
    """GeneralNames of exactly one directoryName."""

    directory_name: Annotated[x509.Name, asn1.Explicit(4)]


@asn1.sequence
class IssuerSerial:
    """Names a certificate in an ESSCertID."""

    issuer: DirectoryNames
    serial_number: int


@asn1.sequence
class ESSCertID:
    """The SHA-1 of a certificate (RFC 2634)."""

    cert_hash: bytes
    issuer_serial: IssuerSerial | None


@asn1.sequence
class ESSCertIDv2:
    """The hash of a certificate (RFC 5035); SHA-256 where no algorithm is named."""

    hash_algorithm: AlgorithmIdentifier | None
    cert_hash: bytes
    issuer_serial: IssuerSerial | None


@asn1.sequence
class SigningCertificate:
    """The signer's certificate first, others after it."""

    certs: list[ESSCertID]
    policies: list[asn1.TLV] | None


@asn1.sequence
class SigningCertificateV2:
    """The signer's certificate first, others after it."""

    certs: list[ESSCertIDv2]
    policies: list[asn1.TLV] | None


class TimestampRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What a client asks for; `policy` is a dotted object identifier."""

    hash_algorithm: HashAlgorithm
    digest: bytes
    nonce: int | None = None
    cert_req: bool
    policy: str | None = None
    has_extensions: bool = False


class Timestamp(msgspec.Struct, frozen=True, kw_only=True):
    """A granted response as it stands; nothing of it is verified."""

    time: datetime
    hash_algorithm: HashAlgorithm
    digest: bytes
    policy: str
    serial: int
    nonce: int | None
    signed: SignedMessage


class VerifiedTimestamp(msgspec.Struct, frozen=True, kw_only=True):
    """A message existed at `time`, says `authority`.

    `authority` is the subject of the certificate that signed, `certificate_digest` the SHA-256 of its DER.
    """

    time: datetime
    hash_algorithm: HashAlgorithm
    policy: str
    serial: int
    nonce: int | None
    authority: str
    certificate_digest: bytes


def build_request(
    digest: bytes,
    *,
    hash_algorithm: HashAlgorithm = SHA2_256,
    nonce: int | None = None,
    cert_req: bool = False,
) -> bytes:
    """Build a request for a timestamp over `digest`; the bytes of a TimeStampReq."""
    if len(digest) != hash_algorithm.size:
        raise ValueError(f"a {hash_algorithm.name} digest has {hash_algorithm.size} bytes, not {len(digest)}")
    request = TimeStampReq(
        version=1,
        message_imprint=message_imprint(hash_algorithm, digest),
        req_policy=None,
        nonce=nonce,
        cert_req=True if cert_req else None,
        extensions=None,
    )
    return asn1.encode_der(request)


def message_imprint(hash_algorithm: HashAlgorithm, digest: bytes) -> MessageImprint:
    """Put a digest beside the name of its hash function, whose parameters are NULL."""
    identifier = AlgorithmIdentifier(algorithm=HASH_OIDS[hash_algorithm.name], parameters=asn1.Null())
    return MessageImprint(hash_algorithm=identifier, hashed_message=digest)


def parse_request(der: bytes) -> TimestampRequest:
    """Read a TimeStampReq. The version is not checked, as other authorities do not.

    Raises `MalformedInput` with code `malformed_request`, `weak_hash`, `unsupported_hash` or
    `digest_length`.
    """
    if len(der) > MAX_REQUEST_BYTES:
        raise MalformedInput(
            f"a timestamp request of {len(der)} bytes is too large", code="request_too_large"
        )
    request = _decode(TimeStampReq, der, what="the timestamp request", code="malformed_request")
    hash_algorithm = _imprint_hash(request.message_imprint)
    policy = request.req_policy
    return TimestampRequest(
        hash_algorithm=hash_algorithm,
        digest=request.message_imprint.hashed_message,
        nonce=request.nonce,
        cert_req=bool(request.cert_req),
        policy=policy.dotted_string if policy is not None else None,
        has_extensions=request.extensions is not None,
    )


def parse_timestamp(response: bytes) -> Timestamp:
    """Read a granted TimeStampResp without believing it.

    Raises `MalformedInput`, and `InvalidTimestamp` (`timestamp_rejected`) when it was not granted.
    """
    if len(response) > MAX_RESPONSE_BYTES:
        raise MalformedInput(f"a timestamp of {len(response)} bytes is too large", code="malformed_timestamp")
    parsed = _decode(TimeStampResp, response, what="the timestamp")
    if parsed.status.status != _GRANTED:
        raise InvalidTimestamp(
            f"the authority answered with status {_status(parsed.status.status)}, not granted",
            code="timestamp_rejected",
        )
    if parsed.time_stamp_token is None:
        raise MalformedInput("the timestamp response has no token", code="malformed_timestamp")
    signed = read_signed_message(parsed.time_stamp_token)
    if signed.content_type != TST_INFO.dotted_string:
        raise MalformedInput(
            f"the token holds content of type {signed.content_type}, not TSTInfo", code="malformed_timestamp"
        )
    return _read_info(_decode(TSTInfo, signed.content, what="the token's TSTInfo"), signed)


def _status(status: int) -> str:
    """Name a PKIStatus; one that the protocol does not have may be of any length."""
    return str(status) if 0 <= status <= _LAST_STATUS else "unknown"


def _read_info(info: TSTInfo, signed: SignedMessage) -> Timestamp:
    if info.version != 1:
        raise MalformedInput("TSTInfo has another version than 1", code="malformed_timestamp")
    for extension in info.extensions or ():
        if extension.critical:
            raise InvalidTimestamp(
                f"the token has an unknown critical extension {extension.extn_id.dotted_string}",
                code="unknown_critical_extension",
            )
    return Timestamp(
        time=info.gen_time.as_datetime(),
        hash_algorithm=_imprint_hash(info.message_imprint),
        digest=info.message_imprint.hashed_message,
        policy=info.policy.dotted_string,
        serial=check_serial(info.serial_number, what="the timestamp"),
        nonce=info.nonce,
        signed=signed,
    )


def verify_timestamp(response: bytes, message: bytes, chain: tuple[bytes, ...]) -> VerifiedTimestamp:
    """Check that a trusted authority stamped `message`, and say when.

    `chain` is the authority's DER certificates from the trusted root, leaf first, root last. The caller
    checks that the time lies within the authority's validity in the trusted root, and the nonce where it
    asked with one. Raises `MalformedInput`, or `InvalidTimestamp` for whatever does not hold.
    """
    timestamp = parse_timestamp(response)
    try:
        authority = check_tsa_chain(chain)
        authority.check_time(timestamp.time)
        _check_signer(timestamp.signed, authority)
        verify_signed_message(timestamp.signed, authority.key)
    except (InvalidCertificate, InvalidSignature) as error:
        raise InvalidTimestamp(error.message, code=error.code, hint=error.hint) from None
    if timestamp.hash_algorithm.digest(message) != timestamp.digest:
        raise InvalidTimestamp("the timestamp is over another message", code="timestamp_imprint")
    return VerifiedTimestamp(
        time=timestamp.time,
        hash_algorithm=timestamp.hash_algorithm,
        policy=timestamp.policy,
        serial=timestamp.serial,
        nonce=timestamp.nonce,
        authority=authority.name,
        certificate_digest=authority.leaf_digest("sha256"),
    )


def _check_signer(signed: SignedMessage, authority: TsaChain) -> None:
    """Match the signer with the trusted leaf, by name and by hash (RFC 5816 section 2.2.1).

    Without the hash a CA that issued two certificates of one name and serial could swap them.
    """
    if (signed.signer_issuer, signed.signer_serial) != (authority.issuer, authority.serial):
        raise InvalidTimestamp(
            f"the token names signer {signed.signer_serial:x} of {signed.signer_issuer.rfc4514_string()}, "
            f"the trusted one is {authority.serial:x} of {authority.issuer.rfc4514_string()}",
            code="timestamp_signer",
        )
    has_v1 = SIGNING_CERTIFICATE.dotted_string in signed.attributes
    has_v2 = SIGNING_CERTIFICATE_V2.dotted_string in signed.attributes
    if not has_v1 and not has_v2:
        raise InvalidTimestamp("the token does not say which certificate signed it", code="timestamp_signer")
    if has_v1:
        certs = read_attribute(signed, SIGNING_CERTIFICATE, SigningCertificate).certs
        _check_certificate_id([(item.cert_hash, "sha1", item.issuer_serial) for item in certs], authority)
    if has_v2:
        certs_v2 = read_attribute(signed, SIGNING_CERTIFICATE_V2, SigningCertificateV2).certs
        _check_certificate_id(
            [(item.cert_hash, _ess_hash(item), item.issuer_serial) for item in certs_v2], authority
        )


def _ess_hash(item: ESSCertIDv2) -> str:
    return hash_of(item.hash_algorithm).name if item.hash_algorithm is not None else SHA2_256.name


def _check_certificate_id(
    identifiers: Sequence[tuple[bytes, str, IssuerSerial | None]], authority: TsaChain
) -> None:
    """Check the first identifier; those after it may name the CAs, which the trusted root fixes already."""
    if not identifiers:
        raise MalformedInput("the signing certificate attribute is empty", code="malformed_timestamp")
    cert_hash, hash_name, issuer_serial = identifiers[0]
    if cert_hash != authority.leaf_digest(hash_name):
        raise InvalidTimestamp("the token was signed under another certificate", code="timestamp_signer")
    if issuer_serial is None:
        return
    named = (issuer_serial.issuer.directory_name, issuer_serial.serial_number)
    if named != (authority.issuer, authority.serial):
        raise InvalidTimestamp("the token names another signing certificate", code="timestamp_signer")


def _imprint_hash(imprint: MessageImprint) -> HashAlgorithm:
    if imprint.hash_algorithm.algorithm == _SHA1:
        raise MalformedInput("SHA-1 is too weak for a timestamp", code="weak_hash")
    hash_algorithm = hash_of(imprint.hash_algorithm)
    if len(imprint.hashed_message) != hash_algorithm.size:
        raise MalformedInput(
            f"a {hash_algorithm.name} digest has {hash_algorithm.size} bytes, "
            f"not {len(imprint.hashed_message)}",
            code="digest_length",
        )
    return hash_algorithm


def _decode(kind: type[_Kind], der: bytes, *, what: str, code: str = "malformed_timestamp") -> _Kind:
    try:
        return asn1.decode_der(kind, der)
    except (ValueError, TypeError):  # the library's names raise either
        raise MalformedInput(f"{what} does not parse", code=code) from None
