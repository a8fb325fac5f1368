"""Files with signatures, of whatever tool wrote them: one bundle, several, or what can be read as one.

    Sigstore bundle, also one a line (.sigstore.jsonl)
    npm and GitHub     {"attestations": [{"bundle": ...}]}
    PEP 740            {"envelope": ..., "verification_material": ...}, or a provenance with several of them
    cosign before 3    {"base64Signature": ..., "cert": ..., "rekorBundle": ...}
    DSSE envelope      its signers' certificates beside the signatures, where it has them

Nothing here is verified. What is not a signature is named for what it is.
"""

import base64
import binascii
from collections.abc import Callable
from typing import Final, TypeVar

import msgspec

from hallmark.core.bundle import MAX_BUNDLE_BYTES, MEDIA_TYPES, Bundle, parse_bundle, unknown_bundle_fields
from hallmark.core.encoding.json_document import decode_members, decode_value
from hallmark.core.foreign_signatures import (
    parse_cosign_bundle,
    parse_envelope_bundles,
    parse_pep740_attestation,
)
from hallmark.errors import MalformedInput

MAX_BUNDLES: Final = 256
_HINT: Final = "pass the file that holds the signature with --bundle"

Parts = dict[str, msgspec.Raw]
T = TypeVar("T")


class FoundBundle(msgspec.Struct, frozen=True):
    """A bundle, where in its file it stands (`bundle 2 of 3`, empty for the only one), and its JSON.

    `text` is empty where the file has another form than that of a Sigstore bundle.
    """

    bundle: Bundle
    place: str = ""
    text: bytes = b""

    @property
    def unknown_fields(self) -> tuple[str, ...]:
        """Name the fields that were skipped, by their paths."""
        return unknown_bundle_fields(self.text) if self.text else ()


Part = FoundBundle | MalformedInput


class BrokenBundle(msgspec.Struct, frozen=True):
    """A part of a file that should hold a bundle and does not parse."""

    place: str
    error: MalformedInput


class SignatureFile(msgspec.Struct, frozen=True):
    """What a file holds: at least one bundle, and in words what kind of file it is.

    `broken` are other parts of it that do not parse: one of several must not hide the others.
    """

    kind: str
    bundles: tuple[FoundBundle, ...]
    broken: tuple[BrokenBundle, ...] = ()


class _Attestation(msgspec.Struct, frozen=True):
    bundle: msgspec.Raw


class _Attestations(msgspec.Struct, frozen=True):
    attestations: tuple[_Attestation, ...]


class _AttestationBundle(msgspec.Struct, frozen=True):
    attestations: tuple[msgspec.Raw, ...]


class _Provenance(msgspec.Struct, frozen=True):
    attestation_bundles: tuple[_AttestationBundle, ...]


_ATTESTATIONS: Final = msgspec.json.Decoder(_Attestations)
_PROVENANCE: Final = msgspec.json.Decoder(_Provenance)


def parse_signature_file(data: bytes) -> SignatureFile:
    """Read every bundle of a file.

    Raises `MalformedInput`, with code `not_a_signature` for a file of another kind.
    """
    if len(data) > MAX_BUNDLE_BYTES:
        raise MalformedInput(
            f"the file has {len(data)} bytes, more than {MAX_BUNDLE_BYTES}", code="too_large"
        )
    documents = _split(data)
    found = [_read_one(item) for item in documents]
    kind = found[0][0] if len(found) == 1 else "JSON lines"
    parts = [part for _, several in found for part in several]
    if not parts:
        raise _not_a_signature(f"{kind} without any signature")
    _check_count(len(parts))
    return _file(kind, parts)


def _read_one(document: bytes) -> tuple[str, list[Part]]:
    """Read a document; one that is broken is told with the others."""
    try:
        return _read(document)
    except MalformedInput as error:
        return "", [error]


def _file(kind: str, parts: list[Part]) -> SignatureFile:
    """Give each part its place; raises what is wrong with the first where none is a bundle."""
    bundles: list[FoundBundle] = []
    broken: list[BrokenBundle] = []
    for number, part in enumerate(parts, 1):
        place = f"bundle {number} of {len(parts)}" if len(parts) > 1 else ""
        if isinstance(part, FoundBundle):
            bundles.append(msgspec.structs.replace(part, place=place))
        else:
            broken.append(BrokenBundle(place, part))
    if not bundles:
        raise broken[0].error
    return SignatureFile(kind, tuple(bundles), tuple(broken))


def _split(data: bytes) -> list[bytes]:
    """Split JSON lines. A document that is printed over several lines has one that is not an object."""
    text = data.strip()
    if text[:1] != b"{":
        raise _not_a_signature(_name_text(text))
    lines = [line for line in (line.strip() for line in text.split(b"\n")) if line]
    if len(lines) == 1 or not _is_object(lines[0]):
        return [text]
    _check_count(len(lines))
    return lines


def _is_object(line: bytes) -> bool:
    """Whether a line is a document by itself."""
    try:
        decode_members(line, what="a line", max_bytes=MAX_BUNDLE_BYTES)
    except MalformedInput:
        return False
    return True


def _read(document: bytes) -> tuple[str, list[Part]]:
    """Read the bundles of one JSON object, and say what it is."""
    parts = decode_members(document, what="the file", max_bytes=MAX_BUNDLE_BYTES)
    media_type = _text(parts, "mediaType") or _text(parts, "media_type")
    if media_type in MEDIA_TYPES or parts.keys() & {
        "verificationMaterial",
        "messageSignature",
        "dsseEnvelope",
    }:
        return "a Sigstore bundle", [_bundle(document)]
    if media_type:
        raise _not_a_signature(f"a document of media type {media_type[:100]!r}")
    for names, kind, parse in _FORMS:
        if names <= parts.keys():
            return kind, parse(document)
    raise _not_a_signature(_name_object(parts))


def _bundle(document: bytes) -> FoundBundle:
    return FoundBundle(parse_bundle(document), text=document)


def _attestation(document: bytes) -> FoundBundle:
    return FoundBundle(parse_pep740_attestation(document))


def _part(read: Callable[[bytes], FoundBundle], document: bytes) -> Part:
    try:
        return read(document)
    except MalformedInput as error:
        return error


def _envelope(document: bytes) -> list[Part]:
    return [FoundBundle(item) for item in parse_envelope_bundles(document)]


def _npm(document: bytes) -> list[Part]:
    found = _split_members(_ATTESTATIONS, document)
    _check_count(len(found.attestations))
    return [_part(_bundle, bytes(item.bundle)) for item in found.attestations]


def _provenance(document: bytes) -> list[Part]:
    found = _split_members(_PROVENANCE, document)
    items = [item for group in found.attestation_bundles for item in group.attestations]
    _check_count(len(items))
    return [_part(_attestation, bytes(item)) for item in items]


def _split_members(decoder: msgspec.json.Decoder[T], document: bytes) -> T:
    """Find the bundles in a document as text; each is checked when it is read."""
    try:
        return decoder.decode(document)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedInput(f"the file does not parse: {error}") from None


def _check_count(count: int) -> None:
    if count > MAX_BUNDLES:
        raise MalformedInput(f"the file holds more than {MAX_BUNDLES} signatures", code="too_large")


_FORMS: Final[tuple[tuple[frozenset[str], str, Callable[[bytes], list[Part]]], ...]] = (
    (frozenset({"attestations"}), "attestations of a package registry", _npm),
    (frozenset({"attestation_bundles"}), "a PEP 740 provenance", _provenance),
    (
        frozenset({"envelope", "verification_material"}),
        "a PEP 740 attestation",
        lambda document: [_attestation(document)],
    ),
    (
        frozenset({"base64Signature"}),
        "a bundle of cosign 1 or 2",
        lambda document: [FoundBundle(parse_cosign_bundle(document))],
    ),
    (frozenset({"payload", "payloadType", "signatures"}), "a DSSE envelope", _envelope),
)


def _text(parts: Parts, name: str) -> str:
    raw = parts.get(name)
    if raw is None:
        return ""
    found = decode_value(bytes(raw), what=name, max_bytes=MAX_BUNDLE_BYTES)
    return found if isinstance(found, str) else ""


def _name_object(parts: Parts) -> str:
    if "_type" in parts:
        return "an in-toto statement that nobody has signed"
    if {"signed", "signatures"} <= parts.keys():
        return "TUF metadata"
    if {"SignedEntryTimestamp", "Payload"} <= parts.keys():
        return "a log's promise without the signature that it is about"
    return f"JSON with {_names(parts)}"


def _names(parts: Parts) -> str:
    named = ", ".join(repr(name[:40]) for name in list(parts)[:3])
    return f"the fields {named}" if named else "no fields"


def _name_text(text: bytes) -> str:
    if not text:
        return "an empty file"
    if text.startswith(b"-----BEGIN "):
        label = text[len(b"-----BEGIN ") :].partition(b"-----")[0][:40].decode("ascii", "replace")
        return f"a PEM {label.lower()}"
    try:
        inner = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return "text or data of another kind"
    return "a bare signature in base64" if inner else "an empty file"


def _not_a_signature(what: str) -> MalformedInput:
    return MalformedInput(f"it is {what}, not a Sigstore bundle", code="not_a_signature", hint=_HINT)
