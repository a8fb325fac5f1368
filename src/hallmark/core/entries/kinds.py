"""The kinds of log entries: one table."""

from collections.abc import Callable
from typing import Final

from hallmark.core.entries.dsse import parse_dsse_v001, parse_dsse_v002
from hallmark.core.entries.hashedrekord import parse_hashedrekord_v001, parse_hashedrekord_v002
from hallmark.core.entries.intoto import parse_intoto_v002
from hallmark.core.entries.signed_content import LoggedEntry
from hallmark.errors import InvalidEntry

EntryParser = Callable[[bytes], LoggedEntry]

ENTRY_KINDS: Final[dict[tuple[str, str], EntryParser]] = {
    ("hashedrekord", "0.0.1"): parse_hashedrekord_v001,
    ("hashedrekord", "0.0.2"): parse_hashedrekord_v002,
    ("dsse", "0.0.1"): parse_dsse_v001,
    ("dsse", "0.0.2"): parse_dsse_v002,
    ("intoto", "0.0.2"): parse_intoto_v002,
}


def parse_entry_body(kind: str, version: str, body: bytes) -> LoggedEntry:
    """Read the body of an entry; its own kind and version must be the ones named.

    Raises `InvalidEntry` with code `unknown_kind`, and `MalformedInput`.
    """
    parser = ENTRY_KINDS.get((kind, version))
    if parser is None:
        raise InvalidEntry(
            f"log entries of kind {kind[:40]!r} {version[:20]!r} are not supported", code="unknown_kind"
        )
    return parser(body)
