"""What clients send to a Rekor v2 log (`CreateEntryRequest`, proto3 JSON).

Nearly every client prints the one spelling that `_Strict` reads in a single pass. Whatever else the mapping
allows (snake_case names, URL-safe or unpadded base64, enum numbers) takes the slower way, which also finds
the reason why a request is refused. A field that the message does not have is refused.
"""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from hallmark.core.algorithms import ALGORITHMS_BY_NUMBER, Algorithm, parse_key_details
from hallmark.core.dsse import Envelope, EnvelopeSignature
from hallmark.core.encoding.json_document import RepeatedName, load_unique
from hallmark.core.encoding.protojson import parse_bytes
from hallmark.core.entries.hashedrekord import HashedRekordV002
from hallmark.errors import MalformedInput


class Verifier(msgspec.Struct, frozen=True):
    """What checks a signature: a certificate or a public key, DER, and the algorithm it was used with."""

    der: bytes
    is_certificate: bool
    algorithm: Algorithm


class DsseRequest(msgspec.Struct, frozen=True):
    """An envelope to be logged, and what its signatures are checked with."""

    envelope: Envelope
    verifiers: tuple[Verifier, ...]


EntryRequest = HashedRekordV002 | DsseRequest


class MalformedDsseRequest(MalformedInput):
    """A request for a dsse entry that does not parse: the protocol words its refusal differently."""


class _RawBytes(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    rawBytes: bytes  # noqa: N815  the wire's name


class _Verifier(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    keyDetails: str  # noqa: N815
    x509Certificate: _RawBytes | None = None  # noqa: N815
    publicKey: _RawBytes | None = None  # noqa: N815


class _Signature(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    content: bytes
    verifier: _Verifier


class _HashedRekord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    digest: bytes
    signature: _Signature


class _Strict(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    hashedRekordRequestV002: _HashedRekord  # noqa: N815


_DECODER: Final = msgspec.json.Decoder(_Strict)
_COLONS: Final = 8
"""One for each member of a request that `_Strict` reads; one named twice, or a second key, makes more."""

MAX_DSSE_VERIFIERS: Final = 10
MAX_DSSE_SIGNATURES: Final = 10


def parse_create_entry(body: bytes) -> EntryRequest:
    """Read a request to add an entry.

    Raises `MalformedInput`: code `malformed_json` for what is no such message at all, `unsupported_entry` for
    no entry or two, else the code of the check that failed.
    """
    try:
        request = _DECODER.decode(body).hashedRekordRequestV002
        verifier = request.signature.verifier
        certificate, key = verifier.x509Certificate, verifier.publicKey
        raw = certificate or key
        told = request.digest and request.signature.content
        if raw is not None and raw.rawBytes and told and body.count(b":") == _COLONS:
            algorithm = parse_key_details(verifier.keyDetails)
            chosen = Verifier(raw.rawBytes, certificate is not None, algorithm)
            return _hashedrekord(request.digest, request.signature.content, chosen)
    except msgspec.ValidationError:
        pass  # another spelling, or a reason that the slower way names
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass  # no JSON, or more of it than this way reads
    return parse_message(_load(body or b"{}"))


def parse_message(value: Any) -> EntryRequest:
    """Read a request that was decoded from JSON already; raises `MalformedInput` as `parse_create_entry`."""
    message = _Fields(value, "the request")
    message.only({"hashedRekordRequestV002", "dsseRequestV002"})
    hashedrekord, dsse = message.get("hashedRekordRequestV002"), message.get("dsseRequestV002")
    if (hashedrekord is None) is (dsse is None):
        raise MalformedInput("the request holds no entry, or more than one", code="unsupported_entry")
    if dsse is None:
        return _parse_hashedrekord(message.message("hashedRekordRequestV002"))
    try:
        return _parse_dsse(message.message("dsseRequestV002"))
    except MalformedInput as error:
        raise MalformedDsseRequest(error.message, code=error.code) from None


def _hashedrekord(digest: bytes, signature: bytes, verifier: Verifier) -> HashedRekordV002:
    return HashedRekordV002(
        digest=digest,
        signature=signature,
        algorithm=verifier.algorithm,
        verifier=verifier.der,
        is_certificate=verifier.is_certificate,
    )


def _parse_hashedrekord(request: "_Fields") -> HashedRekordV002:
    request.only({"digest", "signature"})
    signature = request.message("signature")
    signature.only({"content", "verifier"})
    content = signature.bytes("content")
    verifier = _parse_verifier(signature.message("verifier"))
    return _hashedrekord(request.bytes("digest"), content, verifier)


def _parse_dsse(request: "_Fields") -> DsseRequest:
    request.only({"envelope", "verifiers"})
    verifiers = tuple(_parse_verifier(item) for item in request.messages("verifiers", MAX_DSSE_VERIFIERS))
    if len({item.der for item in verifiers}) != len(verifiers):
        raise MalformedInput("a verifier is named twice", code="duplicate_verifier")
    return DsseRequest(_parse_envelope(request.message("envelope")), verifiers)


def _parse_envelope(message: "_Fields") -> Envelope:
    message.only({"payload", "payloadType", "signatures"})
    found = message.messages("signatures", MAX_DSSE_SIGNATURES)
    for item in found:
        item.only({"sig", "keyid"})
        if not isinstance(item.get("keyid") or "", str):
            raise MalformedInput("keyid is not a string", code="malformed_json")
    signatures = tuple(EnvelopeSignature(item.bytes("sig"), item.get("keyid") or "") for item in found)
    if len({item.signature for item in signatures}) != len(signatures):
        raise MalformedInput("the envelope holds a signature twice", code="duplicate_signature")
    return Envelope(
        payload=message.bytes("payload") if message.get("payload") else b"",
        payload_type=message.text("payloadType"),
        signatures=signatures,
    )


def _parse_verifier(message: "_Fields") -> Verifier:
    message.only({"keyDetails", "x509Certificate", "publicKey"})
    certificate, key = message.get("x509Certificate"), message.get("publicKey")
    if (certificate is None) is (key is None):
        raise MalformedInput("a verifier needs one of certificate and public key", code="missing_verifier")
    raw = message.message("publicKey" if certificate is None else "x509Certificate")
    raw.only({"rawBytes"})
    return Verifier(raw.bytes("rawBytes"), certificate is not None, _algorithm(message.get("keyDetails")))


def _algorithm(value: Any) -> Algorithm:
    if isinstance(value, int) and value in ALGORITHMS_BY_NUMBER:
        return ALGORITHMS_BY_NUMBER[value]
    if not isinstance(value, str):
        raise MalformedInput("the verifier names no key details", code="unknown_algorithm")
    return parse_key_details(value)


def _load(body: bytes) -> Any:
    try:
        return load_unique(body)
    except RepeatedName as error:
        raise MalformedInput(f"the body names {error.name!r} twice", code="malformed_json") from None
    except (ValueError, RecursionError) as error:
        raise MalformedInput(f"the body is not JSON: {str(error)[:200]}", code="malformed_json") from None


class _Fields:
    """A JSON object read as a message: each name in lowerCamelCase or in snake_case."""

    def __init__(self, value: Any, what: str) -> None:
        if not isinstance(value, Mapping):
            raise MalformedInput(f"{what} is not an object", code="malformed_json")
        self._what = what
        self._value = {_camel(name): item for name, item in value.items()}
        if len(self._value) != len(value):
            raise MalformedInput(f"{what} names a field twice", code="malformed_json")

    def only(self, names: set[str]) -> None:
        unknown = self._value.keys() - names
        if unknown:
            raise MalformedInput(
                f"{self._what} has an unknown field {min(unknown)[:80]!r}", code="malformed_json"
            )

    def get(self, name: str) -> Any:
        return self._value.get(name)

    def message(self, name: str) -> "_Fields":
        value = self._value.get(name)
        if value is None:
            raise MalformedInput(f"{self._what} has no {name}", code="missing_field")
        return _Fields(value, name)

    def messages(self, name: str, most: int) -> list["_Fields"]:
        value = self._value.get(name) or []
        if not isinstance(value, list):
            raise MalformedInput(f"{name} is not a list", code="malformed_json")
        if not 1 <= len(value) <= most:
            raise MalformedInput(
                f"{self._what} has {len(value)} {name}, not 1 to {most}", code=f"wrong_number_of_{name}"
            )
        return [_Fields(item, f"an item of {name}") for item in value]

    def text(self, name: str) -> str:
        value = self._value.get(name)
        if not isinstance(value, str) or not value:
            raise MalformedInput(f"{self._what} has no {name}", code="missing_field")
        if not value.isprintable():  # lone surrogates among others, which have no UTF-8
            raise MalformedInput(f"{name} has characters that cannot be printed", code="malformed_text")
        return value

    def bytes(self, name: str) -> bytes:
        value = self._value.get(name)
        if value is None or value == "":
            raise MalformedInput(f"{self._what} has no {name}", code="missing_field")
        if not isinstance(value, str):
            raise MalformedInput(f"{name} is not base64", code="malformed_base64")
        return parse_bytes(value, what=name)


_SPELLINGS: Final = {
    "hashed_rekord_request_v002": "hashedRekordRequestV002",
    "dsse_request_v002": "dsseRequestV002",
    "key_details": "keyDetails",
    "x509_certificate": "x509Certificate",
    "public_key": "publicKey",
    "raw_bytes": "rawBytes",
    "payload_type": "payloadType",
}


def _camel(name: str) -> str:
    return _SPELLINGS.get(name, name)
