"""Read a JSON document into a typed value: bounded, and with one kind of error.

The readers of Sigstore's messages describe the JSON as msgspec structs (`Message` sets the proto3 JSON
names), read it with `decode_document`, and then build their own frozen values.
"""

import json
from collections.abc import Iterable
from datetime import datetime
from typing import Any, Final, TypeVar

import msgspec

from hallmark.core.encoding.protojson import parse_timestamp
from hallmark.errors import MalformedInput

T = TypeVar("T")

MAX_DEPTH: Final = 128
_ANY: Final = msgspec.json.Decoder()

Int64 = int | str | None
"""A 64-bit integer in proto3 JSON: a number, a decimal string, or null for zero."""


class Message(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """A message in proto3 JSON; unknown fields are ignored, so that newer writers can be read."""


class TimeRange(Message, frozen=True):
    """`dev.sigstore.common.v1.TimeRange`."""

    start: str | msgspec.UnsetType | None = msgspec.UNSET
    end: str | msgspec.UnsetType | None = msgspec.UNSET


def decode_document(
    decoder: msgspec.json.Decoder[T], data: bytes, *, what: str, max_bytes: int, canonical: bool = False
) -> T:
    """Decode `data`; raises `MalformedInput` naming `what` for anything that does not fit.

    An object that names a member twice is refused: of two readers each could see another value. With
    `canonical` the caller compares the bytes with what it would print, which refuses it too. Depth is
    bounded: msgspec's own recursion guard ends it.
    """
    if len(data) > max_bytes:
        raise MalformedInput(f"{what} has {len(data)} bytes, more than {max_bytes}", code="too_large")
    try:
        decoded = decoder.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise MalformedInput(f"{what} does not parse: {error}") from None
    except RecursionError:
        raise MalformedInput(f"{what} is nested too deeply") from None
    if not canonical:
        check_names(data, what=what)
    return decoded


def check_names(data: bytes, *, what: str) -> None:
    """Check that no object names a member twice; raises `MalformedInput` with code `repeated_name`.

    RFC 8259 section 4 leaves it open which of two counts: msgspec and many others take the last.
    """
    try:
        load_unique(data)
    except RecursionError:
        raise MalformedInput(f"{what} is nested too deeply") from None
    except ValueError as error:
        raise MalformedInput(f"{what} does not parse: {str(error)[:200]}") from None
    except RepeatedName as error:
        raise MalformedInput(f"{what} names {error.name!r} twice", code="repeated_name") from None


class RepeatedName(Exception):
    """Raised by `load_unique` for an object that names a member twice; `name` is cut short."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name[:80]


def load_unique(data: bytes) -> Any:
    """Decode JSON of any shape; raises `RepeatedName`, and `ValueError` for what is no JSON."""
    return json.loads(data.decode("utf-8"), object_pairs_hook=_unique)


def _unique(members: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(members)
    if len(found) != len(members):
        names = [name for name, _ in members]
        raise RepeatedName(next(name for name in names if names.count(name) > 1))
    return found


def decode_value(data: bytes, *, what: str, max_bytes: int) -> Any:
    """Decode JSON of any shape; raises `MalformedInput`, also for more than `MAX_DEPTH` levels.

    What nests deeper could be read here, and would end every reader of the value with a RecursionError.
    """
    value = decode_document(_ANY, data, what=what, max_bytes=max_bytes)
    if data.count(b"[") + data.count(b"{") > MAX_DEPTH:
        _check_depth(value, what)
    return value


def _check_depth(value: Any, what: str) -> None:
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        level = [inner for item in level for inner in _members(item)]
        if not level:
            return
    raise MalformedInput(f"{what} is nested too deeply")


def _members(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def check_media_type(found: str, accepted: tuple[str, ...], *, what: str) -> None:
    """Check a document's media type; raises `MalformedInput` with code `unknown_media_type`."""
    if found not in accepted:
        raise MalformedInput(
            f"{what} has the media type {found[:100]!r}, not {accepted[0]!r}", code="unknown_media_type"
        )


def parse_time(text: str, *, what: str) -> datetime:
    """Read a timestamp; raises `MalformedInput`, also for one that no calendar year holds."""
    try:
        return parse_timestamp(text, what=what)
    except OverflowError:
        raise MalformedInput(f"{what} is out of range: {text[:40]!r}") from None
