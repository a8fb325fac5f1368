"""In-toto statements (in-toto attestation framework, Statement v1 and v0.1)."""

from typing import Any, Final

import msgspec

from hallmark.core.encoding.json_document import count_values, decode_members, decode_value
from hallmark.errors import MalformedInput

STATEMENT_V1: Final = "https://in-toto.io/Statement/v1"
STATEMENT_V01: Final = "https://in-toto.io/Statement/v0.1"
MAX_STATEMENT_BYTES: Final = 128 * 1024 * 1024
MAX_SUBJECTS: Final = 100_000
MAX_DECODED_VALUES: Final = 1 << 20  # 100,000 subjects with five digests each; about 100 MB of memory


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
        """Give the statement as plain JSON values; of a predicate that is too large to show, its size."""
        shown = _is_small(self.predicate)
        predicate = (
            {"predicate": _decode(self.predicate)} if shown else {"predicateBytes": len(self.predicate)}
        )
        return {
            "_type": self.type,
            "subject": [{"name": item.name, "digest": dict(item.digests)} for item in self.subjects],
            "predicateType": self.predicate_type,
            **predicate,
        }


class _Subject(msgspec.Struct, frozen=True):
    digest: dict[str, str]
    name: str | None = None


class _Statement(msgspec.Struct, frozen=True, rename="camel"):
    type: str = msgspec.field(name="_type")
    subject: tuple[_Subject, ...]
    predicate_type: str


_NAMES: Final = frozenset(_Statement.__struct_encode_fields__)
_WHAT: Final = "the statement"


def parse_statement(payload: bytes) -> Statement:
    """Read the payload of an attestation; raises `MalformedInput`, also for a name that stands twice.

    A large predicate stays text: decoded, it could take a hundred times its size in memory. Of it no more
    than the JSON syntax is checked, and nothing here decodes it.
    """
    parts = decode_members(payload, what=_WHAT, max_bytes=MAX_STATEMENT_BYTES)
    predicate = bytes(parts.pop("predicate", msgspec.Raw(b"null")))
    if _is_small(predicate):
        _decode(predicate)
    found = _convert({name: _decode(bytes(item)) for name, item in parts.items() if name in _NAMES})
    if found.type not in (STATEMENT_V1, STATEMENT_V01):
        raise MalformedInput(f"the statement is of type {found.type[:100]!r}, not {STATEMENT_V1!r}")
    if not 1 <= len(found.subject) <= MAX_SUBJECTS:
        raise MalformedInput(f"the statement has {len(found.subject)} subjects")
    if not found.predicate_type:
        raise MalformedInput("the statement names no predicate type")
    return Statement(
        type=found.type,
        subjects=tuple(_subject(item) for item in found.subject),
        predicate_type=found.predicate_type,
        predicate=predicate,
    )


def _is_small(predicate: bytes) -> bool:
    return count_values(predicate) <= MAX_DECODED_VALUES


def _decode(part: bytes) -> Any:
    return decode_value(part, what=_WHAT, max_bytes=MAX_STATEMENT_BYTES, max_values=MAX_DECODED_VALUES)


def _convert(parts: dict[str, Any]) -> _Statement:
    try:
        return msgspec.convert(parts, _Statement)
    except msgspec.ValidationError as error:
        raise MalformedInput(f"{_WHAT} does not parse: {error}") from None


def _subject(found: _Subject) -> Subject:
    if not found.digest:
        raise MalformedInput("a subject of the statement has no digest")
    return Subject(found.name or "", tuple((name, value.lower()) for name, value in found.digest.items()))
