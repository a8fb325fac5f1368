"""DSSE envelopes (secure-systems-lab DSSE, protocol and envelope version 1).

    PAE(type, body) = "DSSEv1" + SP + LEN(type) + SP + type + SP + LEN(body) + SP + body

What is signed is the PAE, never the JSON of the envelope.
"""

from typing import Final

import msgspec

from hallmark.core.encoding.message import Message, decode_message
from hallmark.core.encoding.protojson import format_bytes, parse_bytes
from hallmark.errors import MalformedInput

IN_TOTO_PAYLOAD_TYPE: Final = "application/vnd.in-toto+json"
MAX_ENVELOPE_BYTES: Final = 128 * 1024 * 1024
MAX_ENVELOPE_SIGNATURES: Final = 32


class EnvelopeSignature(msgspec.Struct, frozen=True):
    """One signature over the PAE; `keyid` is an unauthenticated hint, often empty."""

    signature: bytes
    keyid: str = ""


class Envelope(msgspec.Struct, frozen=True, kw_only=True):
    """A payload, its type and the signatures over both."""

    payload: bytes
    payload_type: str
    signatures: tuple[EnvelopeSignature, ...]

    def __post_init__(self) -> None:
        if not self.payload_type:
            raise MalformedInput("the DSSE envelope names no payload type")
        if not 1 <= len(self.signatures) <= MAX_ENVELOPE_SIGNATURES:
            raise MalformedInput(f"the DSSE envelope has {len(self.signatures)} signatures")
        if not all(item.signature for item in self.signatures):
            raise MalformedInput("a signature of the DSSE envelope is empty")

    def pae(self) -> bytes:
        """Encode what the signatures are over."""
        return pae(self.payload_type, self.payload)

    def to_json(self) -> bytes:
        """Print the envelope."""
        return msgspec.json.encode(envelope_to_message(self))


def pae(payload_type: str, payload: bytes) -> bytes:
    """Encode type and payload for signing (pre-authentication encoding)."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


class _Signature(Message, frozen=True):
    sig: str | None = ""
    keyid: str | msgspec.UnsetType | None = msgspec.UNSET


class EnvelopeMessage(Message, frozen=True):
    """The JSON of an envelope, field by field."""

    payload: str | None = ""
    payload_type: str | None = ""
    signatures: tuple[_Signature, ...] | None = ()


def parse_envelope(data: bytes) -> Envelope:
    """Read the JSON of an envelope; raises `MalformedInput`."""
    message = decode_message(EnvelopeMessage, data, what="the DSSE envelope", max_bytes=MAX_ENVELOPE_BYTES)
    return envelope_from_message(message)


def envelope_from_message(message: EnvelopeMessage) -> Envelope:
    """Build an envelope from its JSON message; raises `MalformedInput`."""
    return Envelope(
        payload=parse_bytes(message.payload or "", what="the DSSE payload"),
        payload_type=message.payload_type or "",
        signatures=tuple(
            EnvelopeSignature(parse_bytes(item.sig or "", what="a DSSE signature"), item.keyid or "")
            for item in message.signatures or ()
        ),
    )


def envelope_to_message(envelope: Envelope) -> EnvelopeMessage:
    """Build the JSON message of an envelope."""
    return EnvelopeMessage(
        payload=format_bytes(envelope.payload),
        payload_type=envelope.payload_type,
        signatures=tuple(
            _Signature(sig=format_bytes(item.signature), keyid=item.keyid or msgspec.UNSET)
            for item in envelope.signatures
        ),
    )
