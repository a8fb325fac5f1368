"""In-toto statements (in-toto attestation framework, Statement v1 and v0.1)."""

from typing import Any, Final

import msgspec

from hallmark.core.encoding.json_document import decode_document, decode_value
from hallmark.errors import MalformedInput

STATEMENT_V1: Final = "https://in-toto.io/Statement/v1"
STATEMENT_V01: Final = "https://in-toto.io/Statement/v0.1"
MAX_STATEMENT_BYTES: Final = 128 * 1024 * 1024
MAX_SUBJECTS: Final = 100_000


class Subject(msgspec.Struct, frozen=True):
    """What a statement is about: `digests` are pairs of algorithm (`sha256`) and lower-case hex."""

    name: str
    digests: tuple[tuple[str, str], ...]


class Statement(msgspec.Struct, frozen=True, kw_only=True):
    """A statement about subjects; `predicate` is its JSON as it stands in the payload."""

    type: str
    subjects: tuple[Subject, ...]
    predicate_type: str
    predicate: bytes

    def to_builtins(self) -> dict[str, Any]:
        """Give the statement as plain JSON values."""
        return {
            "_type": self.type,
            "subject": [{"name": item.name, "digest": dict(item.digests)} for item in self.subjects],
            "predicateType": self.predicate_type,
            "predicate": msgspec.json.decode(self.predicate),
        }


class _Subject(msgspec.Struct, frozen=True):
    digest: dict[str, str]
    name: str | None = None


class _Statement(msgspec.Struct, frozen=True, rename="camel"):
    type: str = msgspec.field(name="_type")
    subject: tuple[_Subject, ...]
    predicate_type: str
    predicate: msgspec.Raw = msgspec.Raw(b"null")


_DECODER: Final = msgspec.json.Decoder(_Statement)


def parse_statement(payload: bytes) -> Statement:
    """Read the payload of an attestation; raises `MalformedInput`."""
    found = decode_document(_DECODER, payload, what="the statement", max_bytes=MAX_STATEMENT_BYTES)
    if found.type not in (STATEMENT_V1, STATEMENT_V01):
        raise MalformedInput(f"the statement is of type {found.type[:100]!r}, not {STATEMENT_V1!r}")
    if not 1 <= len(found.subject) <= MAX_SUBJECTS:
        raise MalformedInput(f"the statement has {len(found.subject)} subjects")
    if not found.predicate_type:
        raise MalformedInput("the statement names no predicate type")
    predicate = bytes(found.predicate)
    decode_value(predicate, what="the predicate", max_bytes=MAX_STATEMENT_BYTES)
    return Statement(
        type=found.type,
        subjects=tuple(_subject(item) for item in found.subject),
        predicate_type=found.predicate_type,
        predicate=predicate,
    )


def _subject(found: _Subject) -> Subject:
    if not found.digest:
        raise MalformedInput("a subject of the statement has no digest")
    return Subject(found.name or "", tuple((name, value.lower()) for name, value in found.digest.items()))
