"""Sigstore bundles (protobuf-specs `dev.sigstore.bundle.v1.Bundle`), versions 0.1 to 0.3.

    version  certificate material                          log material
    0.1      x509CertificateChain, leaf first, no root     inclusion promise required, proof optional
    0.2      x509CertificateChain                          inclusion proof with checkpoint required
    0.3      one certificate                               inclusion proof with checkpoint required

A `Bundle` is well-formed by construction; whether it is true, only the verifier says.
"""

from collections.abc import Iterable
from typing import Final

import msgspec

from hallmark.core.algorithms import HASH_NUMBERS, HASHES, HashAlgorithm
from hallmark.core.dsse import Envelope, EnvelopeMessage, envelope_from_message, envelope_to_message
from hallmark.core.encoding.json_document import check_media_type
from hallmark.core.encoding.message import Enum, Message, decode_message, unknown_fields
from hallmark.core.encoding.protojson import format_bytes, parse_bytes, parse_enum
from hallmark.core.transparency_log_entry import (
    TransparencyLogEntry,
    TransparencyLogEntryMessage,
    entry_from_message,
    entry_to_message,
)
from hallmark.errors import MalformedInput

BUNDLE_V01: Final = "application/vnd.dev.sigstore.bundle+json;version=0.1"
BUNDLE_V02: Final = "application/vnd.dev.sigstore.bundle+json;version=0.2"
BUNDLE_V03: Final = "application/vnd.dev.sigstore.bundle.v0.3+json"
BUNDLE_V03_OLD: Final = "application/vnd.dev.sigstore.bundle+json;version=0.3"
MEDIA_TYPES: Final = (BUNDLE_V03, BUNDLE_V03_OLD, BUNDLE_V02, BUNDLE_V01)

MAX_BUNDLE_BYTES: Final = 192 * 1024 * 1024  # an attestation of 128 MiB, in base64
MAX_ENTRIES: Final = 32
MAX_TIMESTAMPS: Final = 32
MAX_INTERMEDIATES: Final = 10
MAX_CERTIFICATE_BYTES: Final = 64 * 1024


class MessageSignature(msgspec.Struct, frozen=True):
    """A signature over an artifact; hash algorithm and digest are unauthenticated hints, absent in some."""

    hash_algorithm: HashAlgorithm | None
    digest: bytes
    signature: bytes

    def __post_init__(self) -> None:
        if not self.signature:
            raise MalformedInput("the bundle's signature is empty")
        if self.hash_algorithm is not None and len(self.digest) != self.hash_algorithm.size:
            raise MalformedInput(
                f"a {self.hash_algorithm.name} digest has {self.hash_algorithm.size} bytes, "
                f"not {len(self.digest)}"
            )


class Bundle(msgspec.Struct, frozen=True, kw_only=True):
    """A signature with what is needed to verify it offline; times, proofs and names in it are claims.

    Either `certificate` (DER) or `public_key_hint` is there, and either `message_signature` or `envelope`.
    `intermediates` stand in versions 0.1 and 0.2, and in version 0.3 with `holds_chain`: a bundle with the
    chain of the older versions, as OpenSSF model signing writes it for a CA of one's own. Constructing one
    that breaks a rule of its version raises `MalformedInput`.
    """

    media_type: str = BUNDLE_V03
    certificate: bytes | None = None
    intermediates: tuple[bytes, ...] = ()
    public_key_hint: str | None = None
    tlog_entries: tuple[TransparencyLogEntry, ...] = ()
    timestamps: tuple[bytes, ...] = ()
    message_signature: MessageSignature | None = None
    envelope: Envelope | None = None
    holds_chain: bool = False

    def __post_init__(self) -> None:
        check_media_type(self.media_type, MEDIA_TYPES, what="the bundle")
        self._check_content()
        self._check_key_material()
        self._check_evidence()

    def _check_content(self) -> None:
        if (self.message_signature is None) == (self.envelope is None):
            raise MalformedInput("a bundle has either a message signature or a DSSE envelope")
        if self.envelope is not None and len(self.envelope.signatures) != 1:
            raise MalformedInput(
                f"the envelope in a bundle has one signature, not {len(self.envelope.signatures)}"
            )

    def _check_key_material(self) -> None:
        if (self.certificate is None) == (self.public_key_hint is None):
            raise MalformedInput("a bundle has either a certificate or the hint of a public key")
        if self.intermediates and (self.certificate is None or (_is_v03(self) and not self.holds_chain)):
            raise MalformedInput("a bundle of this kind has no certificate chain")
        if len(self.intermediates) > MAX_INTERMEDIATES:
            raise MalformedInput(f"the bundle has more than {MAX_INTERMEDIATES} intermediate certificates")
        leaf = () if self.certificate is None else (self.certificate,)
        for der in (*leaf, *self.intermediates):
            if not 1 <= len(der) <= MAX_CERTIFICATE_BYTES:
                raise MalformedInput(f"a certificate of {len(der)} bytes in the bundle")

    def _check_evidence(self) -> None:
        if len(self.tlog_entries) > MAX_ENTRIES:
            raise MalformedInput(f"the bundle has more than {MAX_ENTRIES} log entries")
        if len(self.timestamps) > MAX_TIMESTAMPS:
            raise MalformedInput(f"the bundle has more than {MAX_TIMESTAMPS} timestamps")
        if _has_duplicates((entry.log_id, entry.log_index) for entry in self.tlog_entries):
            raise MalformedInput("the bundle has the same log entry twice", code="duplicate_entry")
        for entry in self.tlog_entries:
            self._check_entry(entry)

    def _check_entry(self, entry: TransparencyLogEntry) -> None:
        if self.media_type == BUNDLE_V01:
            if entry.inclusion_promise is None:
                raise MalformedInput("a log entry of a v0.1 bundle needs an inclusion promise")
        elif entry.inclusion_proof is None or not entry.inclusion_proof.checkpoint:
            raise MalformedInput("a log entry of the bundle needs an inclusion proof with a checkpoint")

    @property
    def signature(self) -> bytes:
        """The message signature, or the one signature of the envelope."""
        if self.message_signature is not None:
            return self.message_signature.signature
        if self.envelope is None:
            raise ValueError("the bundle has no content")  # __post_init__ excludes it
        return self.envelope.signatures[0].signature

    def to_json(self) -> bytes:
        """Print the bundle in version 0.3, zero values included: some readers need them.

        Raises `MalformedInput` for a v0.1 bundle that lacks what v0.3 demands.
        """
        current = msgspec.structs.replace(self, media_type=BUNDLE_V03, intermediates=())
        return msgspec.json.encode(_to_message(current))


def _is_v03(bundle: Bundle) -> bool:
    return bundle.media_type in (BUNDLE_V03, BUNDLE_V03_OLD)


def _has_duplicates(items: Iterable[object]) -> bool:
    listed = list(items)
    return len(set(listed)) != len(listed)


class _RawBytes(Message, frozen=True):
    raw_bytes: str | None = ""


class _Chain(Message, frozen=True):
    certificates: tuple[_RawBytes, ...] | None = ()


class _PublicKey(Message, frozen=True):
    hint: str | None = ""


class _SignedTimestamp(Message, frozen=True):
    signed_timestamp: str | None = ""


class _TimestampData(Message, frozen=True):
    rfc3161_timestamps: tuple[_SignedTimestamp, ...] | None = ()


class _Material(Message, frozen=True):
    public_key: _PublicKey | msgspec.UnsetType | None = msgspec.UNSET
    x509_certificate_chain: _Chain | msgspec.UnsetType | None = msgspec.UNSET
    certificate: _RawBytes | msgspec.UnsetType | None = msgspec.UNSET
    tlog_entries: tuple[TransparencyLogEntryMessage, ...] | None = ()
    timestamp_verification_data: _TimestampData | msgspec.UnsetType | None = msgspec.UNSET


class _Digest(Message, frozen=True):
    algorithm: Enum = ""
    digest: str | None = ""


class _MessageSignature(Message, frozen=True):
    message_digest: _Digest | msgspec.UnsetType | None = msgspec.UNSET
    signature: str | None = ""


class _Bundle(Message, frozen=True):
    media_type: str
    verification_material: _Material | None = None
    message_signature: _MessageSignature | msgspec.UnsetType | None = msgspec.UNSET
    dsse_envelope: EnvelopeMessage | msgspec.UnsetType | None = msgspec.UNSET


def parse_bundle(data: bytes) -> Bundle:
    """Read the JSON of a bundle; raises `MalformedInput`."""
    found = decode_message(_Bundle, data, what="the bundle", max_bytes=MAX_BUNDLE_BYTES)
    check_media_type(found.media_type, MEDIA_TYPES, what="the bundle")
    material = found.verification_material or _Material()
    certificates = _parse_certificates(found.media_type, material)
    signature, envelope = found.message_signature, found.dsse_envelope
    return Bundle(
        media_type=found.media_type,
        certificate=certificates[0] if certificates else None,
        intermediates=certificates[1:],
        holds_chain=found.media_type in (BUNDLE_V03, BUNDLE_V03_OLD)
        and isinstance(material.x509_certificate_chain, _Chain),
        public_key_hint=material.public_key.hint or ""
        if isinstance(material.public_key, _PublicKey)
        else None,
        tlog_entries=tuple(entry_from_message(item) for item in material.tlog_entries or ()),
        timestamps=_parse_timestamps(material),
        message_signature=_parse_signature(signature) if isinstance(signature, _MessageSignature) else None,
        envelope=envelope_from_message(envelope) if isinstance(envelope, EnvelopeMessage) else None,
    )


def _parse_certificates(media_type: str, material: _Material) -> tuple[bytes, ...]:
    """The certificates, leaf first; old versions have no single certificate, and none has both forms."""
    single, chain = material.certificate, material.x509_certificate_chain
    old = media_type not in (BUNDLE_V03, BUNDLE_V03_OLD)
    if isinstance(single, _RawBytes) and (old or isinstance(chain, _Chain)):
        raise MalformedInput(f"a bundle of type {media_type!r} holds its certificate in another form")
    found: tuple[_RawBytes, ...] = ()
    if isinstance(single, _RawBytes):
        found = (single,)
    elif isinstance(chain, _Chain):
        found = chain.certificates or ()
    return tuple(parse_bytes(item.raw_bytes or "", what="a certificate") for item in found)


def _parse_timestamps(material: _Material) -> tuple[bytes, ...]:
    data = material.timestamp_verification_data
    if not isinstance(data, _TimestampData):
        return ()
    return tuple(
        parse_bytes(item.signed_timestamp or "", what="a timestamp") for item in data.rfc3161_timestamps or ()
    )


def _parse_signature(found: _MessageSignature) -> MessageSignature:
    signature = parse_bytes(found.signature or "", what="the signature")
    if not isinstance(found.message_digest, _Digest):
        return MessageSignature(None, b"", signature)
    digest = parse_bytes(found.message_digest.digest or "", what="the message digest")
    name = parse_enum(found.message_digest.algorithm or "", HASH_NUMBERS, what="the hash algorithm")
    return MessageSignature(_parse_hash(name), digest, signature)


def _parse_hash(name: str) -> HashAlgorithm:
    try:
        return HASHES[name]
    except KeyError:
        raise MalformedInput(f"unknown hash algorithm {name[:40]!r}", code="unknown_algorithm") from None


def _to_message(bundle: Bundle) -> _Bundle:
    return _Bundle(
        media_type=bundle.media_type,
        verification_material=_material_to_message(bundle),
        message_signature=msgspec.UNSET
        if bundle.message_signature is None
        else _signature_to_message(bundle.message_signature),
        dsse_envelope=msgspec.UNSET if bundle.envelope is None else envelope_to_message(bundle.envelope),
    )


def _material_to_message(bundle: Bundle) -> _Material:
    key, certificate = bundle.public_key_hint, bundle.certificate
    timestamps = tuple(_SignedTimestamp(signed_timestamp=format_bytes(item)) for item in bundle.timestamps)
    return _Material(
        public_key=msgspec.UNSET if key is None else _PublicKey(hint=key),
        certificate=msgspec.UNSET if certificate is None else _RawBytes(raw_bytes=format_bytes(certificate)),
        tlog_entries=tuple(entry_to_message(item, absent=msgspec.UNSET) for item in bundle.tlog_entries),
        timestamp_verification_data=_TimestampData(rfc3161_timestamps=timestamps),
    )


def _signature_to_message(signature: MessageSignature) -> _MessageSignature:
    algorithm = signature.hash_algorithm
    return _MessageSignature(
        message_digest=msgspec.UNSET
        if algorithm is None
        else _Digest(algorithm=algorithm.wire_name, digest=format_bytes(signature.digest)),
        signature=format_bytes(signature.signature),
    )


def unknown_bundle_fields(data: bytes) -> tuple[str, ...]:
    """Name the fields of a bundle's JSON that `parse_bundle` skips; raises `MalformedInput`."""
    return unknown_fields(_Bundle, data, what="the bundle", max_bytes=MAX_BUNDLE_BYTES)
