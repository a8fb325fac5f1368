"""Signatures of other forms than the Sigstore bundle, read as bundles. Nothing here is verified.

What they lack, the bundle lacks too, and the verifier says so: a bare envelope has no log entry, an old
cosign bundle has the log's promise but no inclusion proof.
"""

import base64
import binascii
from typing import Any, Final, TypeVar

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from hallmark.core.bundle import (
    BUNDLE_V01,
    MAX_BUNDLE_BYTES,
    MAX_CERTIFICATE_BYTES,
    Bundle,
    MessageSignature,
)
from hallmark.core.dsse import IN_TOTO_PAYLOAD_TYPE, MAX_ENVELOPE_SIGNATURES, Envelope, EnvelopeSignature
from hallmark.core.encoding.json_document import decode_value
from hallmark.core.encoding.message import Message, read_message
from hallmark.core.encoding.protojson import parse_bytes
from hallmark.core.transparency_log_entry import (
    TransparencyLogEntry,
    TransparencyLogEntryMessage,
    entry_from_message,
)
from hallmark.errors import MalformedInput

T = TypeVar("T")

_PEM: Final = b"-----BEGIN "
_CERTIFICATE: Final = b"-----BEGIN CERTIFICATE-----"
_SEQUENCE: Final = b"\x30"  # of ECDSA
_RAW_SIZES: Final = frozenset({64, 256, 384, 512})  # of Ed25519 and RSA
_MAX_SIGNATURE_BYTES: Final = 16 * 1024


class _Envelope(msgspec.Struct, frozen=True):
    statement: str
    signature: str


class _Material(msgspec.Struct, frozen=True):
    certificate: str
    transparency_entries: tuple[dict[str, Any], ...]


class _Pep740(msgspec.Struct, frozen=True):
    version: int
    envelope: _Envelope
    verification_material: _Material


def parse_pep740_attestation(document: bytes) -> Bundle:
    """Read an attestation object of PEP 740 (version 1); raises `MalformedInput`."""
    found = _read(_Pep740, document, "the attestation")
    if found.version != 1:
        raise MalformedInput("the attestation is not of version 1", code="unknown_media_type")
    entries = found.verification_material.transparency_entries
    return Bundle(
        certificate=parse_bytes(found.verification_material.certificate, what="the certificate"),
        tlog_entries=tuple(
            entry_from_message(read_message(TransparencyLogEntryMessage, item, what="the log entry"))
            for item in entries
        ),
        envelope=Envelope(
            payload=parse_bytes(found.envelope.statement, what="the statement"),
            payload_type=IN_TOTO_PAYLOAD_TYPE,
            signatures=(EnvelopeSignature(parse_bytes(found.envelope.signature, what="the signature")),),
        ),
    )


class _Payload(msgspec.Struct, frozen=True):
    body: str
    integrated_time: int = msgspec.field(name="integratedTime")
    log_index: int = msgspec.field(name="logIndex")
    log_id: str = msgspec.field(name="logID")


class _RekorBundle(msgspec.Struct, frozen=True):
    promise: str = msgspec.field(name="SignedEntryTimestamp")
    payload: _Payload = msgspec.field(name="Payload")


class _CosignBundle(msgspec.Struct, frozen=True):
    signature: str = msgspec.field(name="base64Signature")
    cert: str | None = None
    rekor_bundle: _RekorBundle | None = msgspec.field(name="rekorBundle", default=None)


def parse_cosign_bundle(document: bytes) -> Bundle:
    """Read what `cosign sign-blob --bundle` wrote before version 3; raises `MalformedInput`."""
    found = _read(_CosignBundle, document, "the bundle")
    entries = () if found.rekor_bundle is None else (_promised_entry(found.rekor_bundle),)
    certificate = _decode_pem(found.cert.encode()) if found.cert else b""
    return _detached(parse_bytes(found.signature, what="the signature"), certificate, entries)


def _promised_entry(found: _RekorBundle) -> TransparencyLogEntry:
    body = parse_bytes(found.payload.body, what="the entry's body")
    header = _read(_Body, body, "the entry's body")
    try:
        log_id = bytes.fromhex(found.payload.log_id)
    except ValueError:
        raise MalformedInput("the log id is not hexadecimal") from None
    return TransparencyLogEntry(
        log_index=found.payload.log_index,
        log_id=log_id,
        kind=header.kind,
        version=header.api_version,
        integrated_time=found.payload.integrated_time,
        inclusion_promise=parse_bytes(found.promise, what="the promise"),
        canonicalized_body=body,
    )


class _Body(msgspec.Struct, frozen=True, rename="camel"):
    kind: str
    api_version: str


def parse_detached_signature(signature: bytes, certificate: bytes = b"") -> Bundle:
    """Read a signature in base64 or DER that stands beside its file, with its certificate or without.

    The certificate is PEM, or PEM in base64 as cosign wrote it. Raises `MalformedInput`.
    """
    return _detached(_decode_signature(signature), _decode_pem(certificate) if certificate else b"", ())


def _detached(signature: bytes, certificate: bytes, entries: tuple[TransparencyLogEntry, ...]) -> Bundle:
    leaf = _leaf(certificate)
    return Bundle(
        media_type=BUNDLE_V01,  # the one version whose entries need no inclusion proof
        certificate=leaf,
        public_key_hint="" if leaf is None else None,
        tlog_entries=entries,
        message_signature=MessageSignature(None, b"", signature),
    )


def _leaf(pem: bytes) -> bytes | None:
    """The first certificate; None where there is none, as for a signature by a bare key."""
    return _pem_to_der(pem) if pem.startswith(_CERTIFICATE) else None


def _pem_to_der(pem: bytes) -> bytes:
    try:
        return x509.load_pem_x509_certificate(pem).public_bytes(Encoding.DER)
    except (ValueError, x509.InvalidVersion):
        raise MalformedInput("the certificate is not PEM", code="malformed_certificate") from None


def _decode_pem(text: bytes) -> bytes:
    stripped = text.strip()
    if len(stripped) > 2 * MAX_CERTIFICATE_BYTES:
        raise MalformedInput("the certificate is too large", code="malformed_certificate")
    if stripped.startswith(_PEM):
        return stripped
    return parse_bytes(stripped.decode("ascii", "replace"), what="the certificate").strip()


def _decode_signature(data: bytes) -> bytes:
    if len(data) > _MAX_SIGNATURE_BYTES:
        raise MalformedInput("the signature is too large", code="too_large")
    if data.lstrip().startswith(_PEM):
        label = data.lstrip()[len(_PEM) :].partition(b"-----")[0][:40].decode("ascii", "replace")
        raise _not_a_signature(f"a {label} in armour")
    try:
        signature = base64.b64decode(b"".join(data.split()), validate=True)
    except (binascii.Error, ValueError):
        signature = data  # the bytes themselves
    if signature[:1] != _SEQUENCE and len(signature) not in _RAW_SIZES:
        raise _not_a_signature("data of another kind")
    return signature


def _not_a_signature(what: str) -> MalformedInput:
    return MalformedInput(
        f"it is {what}, not a signature by a key or certificate of Sigstore", code="not_a_signature"
    )


class _DsseSignature(Message, frozen=True):
    sig: str | None = ""
    keyid: str | None = ""
    cert: str | None = ""
    certificate: str | None = ""


class _Dsse(Message, frozen=True):
    payload: str | None = ""
    payload_type: str | None = ""
    signatures: tuple[_DsseSignature, ...] | None = ()


def parse_envelope_bundles(document: bytes) -> list[Bundle]:
    """Read a DSSE envelope as one bundle for each of its signatures; raises `MalformedInput`.

    The certificate of a signer stands in the field `cert` (PEM) or `certificate` (PEM in base64), which DSSE
    itself does not know.
    """
    value = decode_value(document, what="the envelope", max_bytes=MAX_BUNDLE_BYTES)
    found = read_message(_Dsse, value, what="the envelope")
    signatures = found.signatures or ()
    if not 1 <= len(signatures) <= MAX_ENVELOPE_SIGNATURES:
        raise MalformedInput(f"the DSSE envelope has {len(signatures)} signatures")
    payload = parse_bytes(found.payload or "", what="the DSSE payload")
    return [_envelope_bundle(payload, found.payload_type or "", item) for item in signatures]


def _envelope_bundle(payload: bytes, payload_type: str, found: _DsseSignature) -> Bundle:
    signature = EnvelopeSignature(parse_bytes(found.sig or "", what="a DSSE signature"), found.keyid or "")
    certificate = _leaf(_decode_pem((found.cert or found.certificate or "").encode()))
    return Bundle(
        certificate=certificate,
        public_key_hint=signature.keyid if certificate is None else None,
        envelope=Envelope(payload=payload, payload_type=payload_type, signatures=(signature,)),
    )


def _read(kind: type[T], document: bytes, what: str) -> T:
    value = decode_value(document, what=what, max_bytes=MAX_BUNDLE_BYTES)
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise MalformedInput(f"{what} does not parse: {error}") from None
