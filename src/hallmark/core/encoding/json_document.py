"""Read a JSON document into a typed value: bounded, and with one kind of error.

The readers of Sigstore's messages describe the JSON as msgspec structs (`Message` sets the proto3 JSON
names), read it with `decode_document`, and then build their own frozen values.
"""

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


def decode_document(decoder: msgspec.json.Decoder[T], data: bytes, *, what: str, max_bytes: int) -> T:
    """Decode `data`; raises `MalformedInput` naming `what` for anything that does not fit.

    Depth is bounded too: msgspec's own recursion guard ends it.
    """
    if len(data) > max_bytes:
        raise MalformedInput(f"{what} has {len(data)} bytes, more than {max_bytes}", code="too_large")
    try:
        return decoder.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise MalformedInput(f"{what} does not parse: {error}") from None
    except RecursionError:
        raise MalformedInput(f"{what} is nested too deeply") from None


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
