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
from binascii import b2a_base64
from typing import Final, Literal

import msgspec

from hallmark.core.algorithms import SHA2_256, Algorithm, parse_key_details
from hallmark.core.encoding.json_document import decode_document
from hallmark.core.entries.pem import pem_to_der
from hallmark.core.entries.signed_content import SignedContent, check_equal
from hallmark.core.tiles import MAX_ENTRY_BYTES
from hallmark.errors import InvalidEntry, MalformedInput

MAX_DSSE_ENTRY_BYTES: Final = 4 * 1024 * 1024
MAX_DSSE_SIGNATURES: Final = 32

_BODY_V002: Final = (
    b'{"apiVersion":"0.0.2","kind":"dsse","spec":{"dsseV002":'
    b'{"payloadHash":{"algorithm":"SHA2_256","digest":"%b"},"signatures":[%b]}}}'
)
_SIGNATURE_V002: Final = (
    b'{"content":"%b","verifier":{"keyDetails":"%b","%b":{"rawBytes":"%b"}}}'  # "p" and "x" sort after "k"
)


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


class VerifiedBy(msgspec.Struct, frozen=True):
    """One signature of a dsse 0.0.2, and what checks it: a certificate or a key (DER) and its algorithm."""

    signature: bytes
    algorithm: Algorithm
    verifier: bytes
    is_certificate: bool


class DsseV002(msgspec.Struct, frozen=True):
    """The body of a dsse 0.0.2: the payload's SHA-256 and its signatures, in the order of their bytes."""

    payload_digest: bytes
    signatures: tuple[VerifiedBy, ...]

    def to_bytes(self) -> bytes:
        """Print the canonical body; a template, because every value is base64 or a name of the registry."""
        printed = b",".join(_print_signature(item) for item in self.signatures)
        return _BODY_V002 % (b2a_base64(self.payload_digest, newline=False), printed)

    def check(self, content: SignedContent) -> None:
        """Check that the entry is about this envelope and its one signature; raises `InvalidEntry`."""
        signatures = tuple(LoggedSignature(item.signature, item.verifier) for item in self.signatures)
        DsseEntry(self.payload_digest, signatures).check(content)


def _print_signature(item: VerifiedBy) -> bytes:
    return _SIGNATURE_V002 % (
        b2a_base64(item.signature, newline=False),
        item.algorithm.key_details.encode("ascii"),
        b"x509Certificate" if item.is_certificate else b"publicKey",
        b2a_base64(item.verifier, newline=False),
    )


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


def parse_dsse_v002(body: bytes) -> DsseV002:
    """Read a body of version 0.0.2; raises `MalformedInput` for anything that `to_bytes` would not print."""
    what = "the dsse entry"
    decoded = decode_document(_DECODER_V002, body, what=what, max_bytes=MAX_ENTRY_BYTES, canonical=True)
    found = decoded.spec.dsse_v002
    _check_count(len(found.signatures))
    signatures = tuple(_signature(item) for item in found.signatures)
    entry = DsseV002(found.payload_hash.digest, signatures)
    if entry.to_bytes() != body:
        raise MalformedInput(f"{what} is not canonical")
    return entry


def parse_hex_digest(value: str) -> bytes:
    """Read a SHA-256 in hex; raises `MalformedInput`."""
    try:
        digest = bytes.fromhex(value)
    except ValueError:
        digest = b""
    if len(digest) != SHA2_256.size:
        raise MalformedInput(f"{value[:80]!r} is not a SHA-256 in hex")
    return digest


def _signature(found: _SignatureV002) -> VerifiedBy:
    certificate, key = found.verifier.x509_certificate, found.verifier.public_key
    chosen = certificate or key
    if chosen is None or not chosen.raw_bytes:  # with both, the body is not what `to_bytes` prints
        raise MalformedInput("a signature of the dsse entry has no verifier")
    algorithm = parse_key_details(found.verifier.key_details)
    return VerifiedBy(found.content, algorithm, chosen.raw_bytes, certificate is not None)


def _check_count(count: int) -> None:
    if not 1 <= count <= MAX_DSSE_SIGNATURES:
        raise MalformedInput(f"the dsse entry has {count} signatures")
