"""Time-Stamp Protocol: responses (RFC 3161 section 2.4.2, RFC 5816).

What does not change between two tokens of one authority is encoded once, in `TokenSigner`.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from functools import lru_cache
from types import MappingProxyType
from typing import Annotated, Any, Final

import msgspec
from cryptography import x509
from cryptography.hazmat import asn1
from cryptography.x509 import ObjectIdentifier

from hallmark.core.algorithms import HASHES, HashAlgorithm
from hallmark.core.cms import (
    CONTENT_TYPE,
    HASH_OIDS,
    MESSAGE_DIGEST,
    SIGNATURE_OIDS,
    SIGNED_DATA,
    SIGNING_TIME,
    AlgorithmIdentifier,
    Attribute,
    EncapsulatedContentInfo,
    IssuerAndSerialNumber,
)
from hallmark.core.keys import wrap_public_key
from hallmark.core.timestamp import (
    SIGNING_CERTIFICATE_V2,
    TST_INFO,
    Accuracy,
    AnyValue,
    DirectoryNames,
    ESSCertIDv2,
    IssuerSerial,
    PKIStatusInfo,
    SigningCertificateV2,
    TimestampRequest,
    TSTInfo,
    message_imprint,
)
from hallmark.errors import ConfigurationError

_ACCURACY: Final = Accuracy(seconds=1, millis=None, micros=None)
_GRANTED: Final = PKIStatusInfo(status=0, status_string=None, fail_info=None)
_LAST_UTC_TIME_YEAR: Final = 2049  # RFC 5652 section 11.3


@asn1.sequence
class _SignerInfo:
    version: int
    sid: asn1.TLV
    digest_algorithm: asn1.TLV
    signed_attrs: Annotated[asn1.SetOf[asn1.TLV], asn1.Implicit(0)]
    signature_algorithm: asn1.TLV
    signature: bytes


@asn1.sequence
class _SignedData:
    version: int
    digest_algorithms: asn1.SetOf[asn1.TLV]
    encap_content_info: EncapsulatedContentInfo
    certificates: Annotated[list[asn1.TLV] | None, asn1.Implicit(0)]
    signer_infos: asn1.SetOf[_SignerInfo]


@asn1.sequence
class _ContentInfo:
    content_type: ObjectIdentifier
    content: Annotated[_SignedData, asn1.Explicit(0)]


@asn1.sequence
class _TimeStampResp:
    status: PKIStatusInfo
    time_stamp_token: _ContentInfo


class TokenSigner(msgspec.Struct, frozen=True, kw_only=True):
    """A timestamp authority's signing side: who signs, with what, and the constant parts of its tokens.

    `sign` takes the DER of the signed attributes and returns the signature (DER for ECDSA), made with
    `hash_algorithm`. Made by `token_signer`.
    """

    sign: Callable[[bytes], bytes]
    hash_algorithm: HashAlgorithm
    digest_algorithm: asn1.TLV
    signature_algorithm: asn1.TLV
    sid: asn1.TLV
    tsa: AnyValue
    content_type: asn1.TLV
    signing_certificate: MappingProxyType[str, asn1.TLV]
    certificates: tuple[asn1.TLV, ...]


def token_signer(
    chain: Sequence[bytes],
    sign: Callable[[bytes], bytes],
    *,
    hash_algorithm: HashAlgorithm,
    include_chain: bool = False,
) -> TokenSigner:
    """Prepare to sign tokens with the leaf of `chain` (DER, leaf first).

    A client that asks for certificates gets the leaf, or with `include_chain` all of the chain. The chain
    itself was checked by `check_tsa_chain`. Raises `ConfigurationError` for a key that cannot sign tokens.
    """
    leaf = x509.load_der_x509_certificate(chain[0])
    key_type = wrap_public_key(leaf.public_key()).algorithm.key_type
    signature_oid = SIGNATURE_OIDS.get((key_type, hash_algorithm.name))
    if signature_oid is None:
        raise ConfigurationError(f"a timestamp authority cannot sign with a key of type {key_type}")
    subject = asn1.encode_der(DirectoryNames(directory_name=leaf.subject))
    return TokenSigner(
        sign=sign,
        hash_algorithm=hash_algorithm,
        digest_algorithm=_tlv(_bare(HASH_OIDS[hash_algorithm.name])),
        signature_algorithm=_tlv(_bare(signature_oid)),
        sid=_tlv(IssuerAndSerialNumber(issuer=leaf.issuer, serial_number=leaf.serial_number)),
        tsa=asn1.decode_der(AnyValue, subject),
        content_type=_attribute(CONTENT_TYPE, TST_INFO),
        signing_certificate=MappingProxyType(
            {item.name: _signing_certificate(chain[0], leaf, item) for item in HASHES.values()}
        ),
        certificates=tuple(asn1.decode_der(asn1.TLV, der) for der in (chain if include_chain else chain[:1])),
    )


def _signing_certificate(der: bytes, leaf: x509.Certificate, hash_algorithm: HashAlgorithm) -> asn1.TLV:
    named = AlgorithmIdentifier(algorithm=HASH_OIDS[hash_algorithm.name], parameters=asn1.Null())
    identifier = ESSCertIDv2(
        hash_algorithm=None if hash_algorithm.name == "sha256" else named,
        cert_hash=hash_algorithm.digest(der),
        issuer_serial=IssuerSerial(
            issuer=DirectoryNames(directory_name=leaf.issuer), serial_number=leaf.serial_number
        ),
    )
    return _attribute(SIGNING_CERTIFICATE_V2, SigningCertificateV2(certs=[identifier], policies=None))


def build_response(
    request: TimestampRequest, signer: TokenSigner, *, time: datetime, serial: int, policy: str
) -> bytes:
    """Grant a request: the bytes of a TimeStampResp with a token for `time`, cut to whole seconds.

    The token repeats imprint and nonce, claims an accuracy of one second, and carries certificates only
    when the request asks for them.
    """
    moment = time.replace(microsecond=0)
    content = asn1.encode_der(
        TSTInfo(
            version=1,
            policy=_policy(policy),
            message_imprint=message_imprint(request.hash_algorithm, request.digest),
            serial_number=serial,
            gen_time=asn1.GeneralizedTime(moment),
            accuracy=_ACCURACY,
            ordering=None,
            nonce=request.nonce,
            tsa=signer.tsa,
            extensions=None,
        )
    )
    token = _ContentInfo(
        content_type=SIGNED_DATA,
        content=_SignedData(
            version=3,
            digest_algorithms=asn1.SetOf([signer.digest_algorithm]),
            encap_content_info=EncapsulatedContentInfo(e_content_type=TST_INFO, e_content=content),
            certificates=list(signer.certificates) if request.cert_req else None,
            signer_infos=asn1.SetOf([_sign(content, request, signer, moment)]),
        ),
    )
    return asn1.encode_der(_TimeStampResp(status=_GRANTED, time_stamp_token=token))


def _sign(content: bytes, request: TimestampRequest, signer: TokenSigner, moment: datetime) -> _SignerInfo:
    attributes = asn1.SetOf(
        [
            signer.content_type,
            _attribute(MESSAGE_DIGEST, signer.hash_algorithm.digest(content)),
            _attribute(SIGNING_TIME, _signing_time(moment)),
            signer.signing_certificate[request.hash_algorithm.name],
        ]
    )
    return _SignerInfo(
        version=1,
        sid=signer.sid,
        digest_algorithm=signer.digest_algorithm,
        signed_attrs=attributes,
        signature_algorithm=signer.signature_algorithm,
        signature=signer.sign(asn1.encode_der(attributes)),
    )


def _signing_time(moment: datetime) -> asn1.UTCTime | asn1.GeneralizedTime:
    if moment.year <= _LAST_UTC_TIME_YEAR:
        return asn1.UTCTime(moment)
    return asn1.GeneralizedTime(moment)


def _attribute(oid: ObjectIdentifier, value: Any) -> asn1.TLV:
    return _tlv(Attribute(type=oid, values=asn1.SetOf([_tlv(value)])))


def _bare(oid: ObjectIdentifier) -> AlgorithmIdentifier:
    return AlgorithmIdentifier(algorithm=oid, parameters=None)


@lru_cache(maxsize=64)
def _policy(dotted: str) -> ObjectIdentifier:
    return ObjectIdentifier(dotted)


def _tlv(value: Any) -> asn1.TLV:
    return asn1.decode_der(asn1.TLV, asn1.encode_der(value))
