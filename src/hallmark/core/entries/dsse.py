"""Log entries of kind dsse: 0.0.1 (Rekor v1) and 0.0.2 (Rekor v2 before 2.3).

{"apiVersion":"0.0.1","kind":"dsse","spec":{
    "envelopeHash":{"algorithm":"sha256","value":hex},"payloadHash":{"algorithm":"sha256","value":hex},
    "signatures":[{"signature":b64,"verifier":b64(PEM)}]}}

{"apiVersion":"0.0.2","kind":"dsse","spec":{"dsseV002":{
    "payloadHash":{"algorithm":"SHA2_256","digest":b64},
    "signatures":[{"content":b64,
        "verifier":{"keyDetails":...,"publicKey":{"rawBytes":b64} | "x509Certificate":{"rawBytes":b64}}}]}}}

The envelope's hash is over JSON that nobody can rebuild, so nothing is checked against it.
"""

import hashlib
from typing import Final, Literal

import msgspec

from hallmark.core.algorithms import SHA2_256
from hallmark.core.encoding.json_document import decode_document
from hallmark.core.entries.pem import pem_to_der
from hallmark.core.entries.signed_content import SignedContent, check_equal
from hallmark.errors import InvalidEntry, MalformedInput

MAX_DSSE_ENTRY_BYTES: Final = 4 * 1024 * 1024
MAX_DSSE_SIGNATURES: Final = 32


class LoggedSignature(msgspec.Struct, frozen=True):
    """One signature of a logged envelope; `verifier` is a certificate or a SubjectPublicKeyInfo, DER."""

    signature: bytes
    verifier: bytes


class DsseEntry(msgspec.Struct, frozen=True):
    """The body of an entry about an envelope: the payload's SHA-256 and all its signatures."""

    payload_digest: bytes
    signatures: tuple[LoggedSignature, ...]

    def check(self, content: SignedContent) -> None:
        """Check that the entry is about this envelope and its one signature; raises `InvalidEntry`."""
        if content.envelope is None:
            raise InvalidEntry(
                "the log entry is about an envelope, the bundle holds none", code="entry_mismatch"
            )
        check_equal(self.payload_digest, hashlib.sha256(content.envelope.payload).digest(), "payload")
        expected = (LoggedSignature(content.signature, content.verifier),)
        check_equal(self.signatures, expected, "signature or signer")


class _Strict(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    pass


class _HexHash(_Strict, frozen=True):
    algorithm: Literal["sha256"]
    value: str


class _SignatureV001(_Strict, frozen=True):
    signature: bytes
    verifier: bytes


class _SpecV001(_Strict, frozen=True):
    envelope_hash: _HexHash
    payload_hash: _HexHash
    signatures: tuple[_SignatureV001, ...]


class _EntryV001(_Strict, frozen=True):
    api_version: Literal["0.0.1"]
    kind: Literal["dsse"]
    spec: _SpecV001


class _RawBytes(_Strict, frozen=True):
    raw_bytes: bytes


class _Verifier(_Strict, frozen=True):
    key_details: str
    public_key: _RawBytes | None = None
    x509_certificate: _RawBytes | None = None


class _SignatureV002(_Strict, frozen=True):
    content: bytes
    verifier: _Verifier


class _Hash(_Strict, frozen=True):
    algorithm: Literal["SHA2_256"]
    digest: bytes


class _DsseV002(_Strict, frozen=True):
    payload_hash: _Hash
    signatures: tuple[_SignatureV002, ...]


class _SpecV002(_Strict, frozen=True):
    dsse_v002: _DsseV002 = msgspec.field(name="dsseV002")


class _EntryV002(_Strict, frozen=True):
    api_version: Literal["0.0.2"]
    kind: Literal["dsse"]
    spec: _SpecV002


_DECODER_V001: Final = msgspec.json.Decoder(_EntryV001)
_DECODER_V002: Final = msgspec.json.Decoder(_EntryV002)


def parse_dsse_v001(body: bytes) -> DsseEntry:
    """Read a body of version 0.0.1; raises `MalformedInput`."""
    found = decode_document(_DECODER_V001, body, what="the dsse entry", max_bytes=MAX_DSSE_ENTRY_BYTES).spec
    _check_count(len(found.signatures))
    return DsseEntry(
        parse_hex_digest(found.payload_hash.value),
        tuple(LoggedSignature(item.signature, pem_to_der(item.verifier)) for item in found.signatures),
    )


def parse_dsse_v002(body: bytes) -> DsseEntry:
    """Read a body of version 0.0.2; raises `MalformedInput`."""
    found = decode_document(_DECODER_V002, body, what="the dsse entry", max_bytes=MAX_DSSE_ENTRY_BYTES)
    entry = found.spec.dsse_v002
    _check_count(len(entry.signatures))
    return DsseEntry(
        entry.payload_hash.digest,
        tuple(LoggedSignature(item.content, _verifier(item.verifier)) for item in entry.signatures),
    )


def parse_hex_digest(value: str) -> bytes:
    """Read a SHA-256 in hex; raises `MalformedInput`."""
    try:
        digest = bytes.fromhex(value)
    except ValueError:
        digest = b""
    if len(digest) != SHA2_256.size:
        raise MalformedInput(f"{value[:80]!r} is no SHA-256 in hex")
    return digest


def _verifier(found: _Verifier) -> bytes:
    chosen = found.x509_certificate or found.public_key
    if chosen is None or (found.x509_certificate and found.public_key):
        raise MalformedInput("a signature of the dsse entry has not exactly one verifier")
    return chosen.raw_bytes


def _check_count(count: int) -> None:
    if not 1 <= count <= MAX_DSSE_SIGNATURES:
        raise MalformedInput(f"the dsse entry has {count} signatures")
