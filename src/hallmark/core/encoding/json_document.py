"""Read a JSON document into a typed value: bounded, and with one kind of error."""

from collections.abc import Iterable
from typing import Any, Final, TypeVar

import msgspec

from hallmark.errors import MalformedInput

T = TypeVar("T")

MAX_DEPTH: Final = 128
MAX_VALUES: Final = 1 << 16  # the largest real trusted root has 600; a value takes about 100 bytes of memory
_FEW_BACKSLASHES: Final = 32
_ANY: Final = msgspec.json.Decoder()
_MEMBERS: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])


def decode_document(
    decoder: msgspec.json.Decoder[T], data: bytes, *, what: str, max_bytes: int, canonical: bool = False
) -> T:
    """Decode `data`; raises `MalformedInput` naming `what` for anything that does not fit.

    Bounded and checked as in `decode_value`. With `canonical` the caller compares the bytes with what it
    would print, which refuses repeated names too.
    """
    decoded = _decode(decoder, data, what=what, max_bytes=max_bytes)
    if not canonical:
        decode_value(data, what=what, max_bytes=max_bytes)
    return decoded


def decode_value(data: bytes, *, what: str, max_bytes: int, max_values: int = MAX_VALUES) -> Any:
    """Decode JSON of any shape.

    Raises `MalformedInput`, also for more than `MAX_DEPTH` levels, for more than `max_values` values (code
    `too_large`), and for an object that names a member twice (code `repeated_name`).
    """
    if len(data) > max_values and count_values(data) > max_values:
        raise MalformedInput(f"{what} has more than {max_values} values", code="too_large")
    value = _decode(_ANY, data, what=what, max_bytes=max_bytes)
    if data.count(b"[") + data.count(b"{") > MAX_DEPTH:
        # What nests deeper could be read here, and would end every reader of it with a RecursionError.
        _check_depth(value, what)
    _check_names(data, value, what)
    return value


def check_names(data: bytes, *, what: str) -> None:
    """Check JSON that something else decodes, and that is bounded; raises `MalformedInput`.

    No object of it names a member twice, and its depth and number of values are bounded as in `decode_value`.
    """
    decode_value(data, what=what, max_bytes=len(data))


def decode_members(data: bytes, *, what: str, max_bytes: int) -> dict[str, msgspec.Raw]:
    """Split an object into its members, each still text; raises `MalformedInput` as `decode_value` does.

    Of the members' own JSON no more than the syntax is checked, in no memory of its own.
    """
    members = _decode(_MEMBERS, data, what=what, max_bytes=max_bytes)
    # the members were not decoded, and finding the name would decode them: they may be huge, or broken
    if _count_quotes(data) != _needed_quotes(members):
        raise MalformedInput(f"{what} names a member twice", code="repeated_name")
    return members


def _decode(decoder: msgspec.json.Decoder[T], data: bytes, *, what: str, max_bytes: int) -> T:
    if len(data) > max_bytes:
        raise MalformedInput(f"{what} has {len(data)} bytes, more than {max_bytes}", code="too_large")
    try:
        return decoder.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise MalformedInput(f"{what} does not parse: {error}") from None
    except RecursionError:
        raise MalformedInput(f"{what} is nested too deeply") from None


def count_values(data: bytes) -> int:
    """Bound from above how many values decoding would make, without decoding.

    A byte or two, as in `[[],[],`, become a hundred in memory. Commas and brackets in strings count too.
    """
    return data.count(b",") + data.count(b"[") + data.count(b"{")


def _check_names(data: bytes, value: Any, what: str) -> None:
    """Check that no object of a decoded document names a member twice.

    RFC 8259 section 4 leaves it open which of two a reader takes: two readers could see two documents. The
    decoder keeps the last, so then the value has fewer strings than the text: counting finds it ten times
    faster than a decoder that looks at each pair.
    """
    if _count_quotes(data) == _needed_quotes(value):
        return
    try:
        load_unique(data)
    except RepeatedName as error:
        raise MalformedInput(f"{what} names {error.name!r} twice", code="repeated_name") from None
    except (ValueError, RecursionError):  # the other decoder takes less than the first
        pass
    raise MalformedInput(f"{what} names a member twice", code="repeated_name")


def _count_quotes(data: bytes) -> int:
    """Count the quotes around strings: none that is escaped, by a backslash that is not itself escaped."""
    if data.count(b"\\") > _FEW_BACKSLASHES:
        return data.replace(b"\\\\", b"").replace(b'\\"', b"").count(b'"')
    escaped, at = 0, data.find(b"\\")
    while at != -1:  # to look for one byte is three times as fast as for two
        escaped += data[at + 1 : at + 2] == b'"'
        at = data.find(b"\\", at + 2)
    return data.count(b'"') - escaped


def _needed_quotes(value: Any) -> int:
    """Count the quotes that the strings of a value take as JSON, names included."""
    count = 0
    rest = [value]
    while rest:
        item = rest.pop()
        if isinstance(item, str):
            count += 2
        elif isinstance(item, dict):
            count += 2 * len(item)
            rest += item.values()
        elif isinstance(item, list):
            rest += item
        elif isinstance(item, msgspec.Raw):
            count += _count_quotes(bytes(item))
    return count


class RepeatedName(Exception):
    """Raised by `load_unique` for an object that names a member twice; `name` is cut short."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name[:80]


def load_unique(data: bytes) -> Any:
    """Decode JSON of any shape; raises `RepeatedName`, and `ValueError` for what is no JSON."""
    import json  # noqa: PLC0415  takes a millisecond, and only a document with a fault comes here

    return json.loads(data.decode("utf-8"), object_pairs_hook=_unique)


def _unique(members: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in members:
        if name in found:
            raise RepeatedName(name)
        found[name] = value
    return found


def _check_depth(value: Any, what: str) -> None:
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [inner for item in level for inner in _members(item) if isinstance(inner, dict | list)]
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
