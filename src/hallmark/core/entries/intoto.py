"""Log entries of kind intoto 0.0.2 (Rekor v1), as old npm and GitHub attestations have them.

{"apiVersion":"0.0.2","kind":"intoto","spec":{"content":{
    "envelope":{"payload"?:b64(b64) or b64,"payloadType":...,
                "signatures":[{"keyid"?:...,"publicKey":b64(PEM),"sig":b64(b64)}]},
    "hash":{"algorithm":"sha256","value":hex},"payloadHash":{"algorithm":"sha256","value":hex}}}}

Signatures are in base64 twice, and so is the payload where the log keeps it; some writers encode that once.
"""

import base64
import binascii
from typing import Final, Literal

import msgspec

from hallmark.core.encoding.json_document import decode_document
from hallmark.core.entries.dsse import (
    MAX_DSSE_ENTRY_BYTES,
    MAX_DSSE_SIGNATURES,
    DsseEntry,
    LoggedSignature,
    parse_hex_digest,
)
from hallmark.core.entries.pem import pem_to_der
from hallmark.core.entries.signed_content import SignedContent, check_equal
from hallmark.errors import MalformedInput


class IntotoEntry(msgspec.Struct, frozen=True):
    """The body of an intoto entry: a dsse entry that knows the payload's type too."""

    payload_type: str
    logged: DsseEntry
    payload: bytes | None = None

    def check(self, content: SignedContent) -> None:
        """Check that the entry is about this envelope and its one signature; raises `InvalidEntry`."""
        self.logged.check(content)
        if content.envelope is not None:
            check_equal(self.payload_type, content.envelope.payload_type, "payload type")
            if self.payload is not None:
                check_equal(content.envelope.payload in self._payloads(), True, "payload")

    def _payloads(self) -> tuple[bytes, ...]:
        """What the logged payload can mean; the log's own digest of it is compared in any case."""
        once = self.payload or b""
        try:
            return once, base64.b64decode(once, validate=True)
        except (binascii.Error, ValueError):
            return (once,)


class _Strict(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    pass


class _HexHash(_Strict, frozen=True):
    algorithm: Literal["sha256"]
    value: str


class _Signature(_Strict, frozen=True):
    public_key: bytes
    sig: bytes
    keyid: str = ""


class _Envelope(_Strict, frozen=True):
    payload_type: str
    signatures: tuple[_Signature, ...]
    payload: bytes | None = None


class _Content(_Strict, frozen=True):
    envelope: _Envelope
    hash: _HexHash
    payload_hash: _HexHash


class _Spec(_Strict, frozen=True):
    content: _Content


class _Entry(_Strict, frozen=True):
    api_version: Literal["0.0.2"]
    kind: Literal["intoto"]
    spec: _Spec


_DECODER: Final = msgspec.json.Decoder(_Entry)


def parse_intoto_v002(body: bytes) -> IntotoEntry:
    """Read a body; raises `MalformedInput`."""
    found = decode_document(_DECODER, body, what="the intoto entry", max_bytes=MAX_DSSE_ENTRY_BYTES)
    content = found.spec.content
    if not 1 <= len(content.envelope.signatures) <= MAX_DSSE_SIGNATURES:
        raise MalformedInput(f"the intoto entry has {len(content.envelope.signatures)} signatures")
    signatures = tuple(
        LoggedSignature(_decode(item.sig), pem_to_der(item.public_key))
        for item in content.envelope.signatures
    )
    entry = DsseEntry(parse_hex_digest(content.payload_hash.value), signatures)
    return IntotoEntry(content.envelope.payload_type, entry, content.envelope.payload)


def _decode(signature: bytes) -> bytes:
    try:
        return base64.b64decode(signature, validate=True)
    except (binascii.Error, ValueError):
        raise MalformedInput("a signature of the intoto entry is not base64 twice") from None
