"""Messages of protocol buffers in JSON (protobuf language guide, "ProtoJSON format").

Every field may stand under its JSON name (`mediaType`) or its proto name (`media_type`), null stands for
absent, an integer may be a number or a string, an enum a name or a number. Unknown fields are skipped, so
that newer writers can be read; `unknown_fields` names them. A field that is there twice is refused: readers
that take the first and readers that take the last would see two different messages.

The readers of Sigstore's messages describe each as a `Message`, read it with `decode_message`, and then build
their own frozen values.
"""

from collections.abc import Mapping
from functools import cache
from types import UnionType
from typing import Any, Final, TypeVar, get_args, get_origin, get_type_hints

import msgspec

from hallmark.core.encoding.json_document import decode_value
from hallmark.errors import MalformedInput

MAX_UNKNOWN_FIELDS: Final = 32
_MAX_PATH: Final = 200

Int = int | float | str | None
"""An integer: a number, a decimal string, or null for zero."""

Enum = str | int | None
"""An enum: a name, a number, or null for the first value."""


class Message(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """A message, field by field as it stands in the JSON; absent ones have the default."""


class TimeRange(Message, frozen=True):
    """`dev.sigstore.common.v1.TimeRange`."""

    start: str | msgspec.UnsetType | None = msgspec.UNSET
    end: str | msgspec.UnsetType | None = msgspec.UNSET


M = TypeVar("M", bound=Message)


class _Field(msgspec.Struct, frozen=True):
    """Where a field goes: its JSON name, its message (None: a scalar), and whether it is a list of them."""

    name: str
    message: type[Message] | None
    repeated: bool


def decode_message(kind: type[M], data: bytes, *, what: str, max_bytes: int) -> M:
    """Decode a message; raises `MalformedInput` naming `what` for anything that does not fit."""
    return read_message(kind, decode_value(data, what=what, max_bytes=max_bytes), what=what)


def read_message(kind: type[M], value: Any, *, what: str) -> M:
    """Read a message from JSON that `decode_value` has decoded; raises `MalformedInput`."""
    try:
        return msgspec.convert(_fields(value, kind, what, []), kind)
    except msgspec.ValidationError as error:
        raise MalformedInput(f"{what} does not parse: {error}") from None


def unknown_fields(kind: type[Message], data: bytes, *, what: str, max_bytes: int) -> tuple[str, ...]:
    """Name the fields that `decode_message` skips, by their paths, at most `MAX_UNKNOWN_FIELDS`."""
    unknown: list[str] = []
    _fields(decode_value(data, what=what, max_bytes=max_bytes), kind, what, unknown)
    return tuple(item.removeprefix(f"{what}.") for item in unknown)


def _fields(value: Any, kind: type[Message], path: str, unknown: list[str]) -> dict[str, Any]:
    """Give the known fields of a message their JSON names, all the way down."""
    if not isinstance(value, dict):
        raise MalformedInput(f"{path} is not an object")
    schema = _schema(kind)
    found: dict[str, Any] = {}
    for name, item in value.items():
        field = schema.get(name)
        if field is None:
            if len(unknown) < MAX_UNKNOWN_FIELDS:
                unknown.append(f"{path}.{name}"[:_MAX_PATH])
            continue
        if field.name in found:
            raise MalformedInput(f"{path} has the field {field.name} twice", code="repeated_name")
        found[field.name] = _field(item, field, path, unknown)
    return {name: item for name, item in found.items() if item is not None}


def _field(item: Any, field: _Field, path: str, unknown: list[str]) -> Any:
    if field.message is None or item is None:
        return item
    below = f"{path}.{field.name}"
    if not field.repeated:
        return _fields(item, field.message, below, unknown)
    if not isinstance(item, list):
        raise MalformedInput(f"{below} is not a list")
    return [_fields(inner, field.message, below, unknown) for inner in item]


@cache
def _schema(kind: type[Message]) -> Mapping[str, _Field]:
    """The fields of a message by each name that they may have."""
    types = get_type_hints(kind)
    schema: dict[str, _Field] = {}
    for name, json_name in zip(kind.__struct_fields__, kind.__struct_encode_fields__, strict=True):
        schema[name] = schema[json_name] = _Field(json_name, *_submessage(types[name]))
    return schema


def _submessage(annotation: Any) -> tuple[type[Message] | None, bool]:
    """The message that a field holds, and whether it holds a list of them."""
    for option in get_args(annotation) if isinstance(annotation, UnionType) else (annotation,):
        repeated = get_origin(option) is tuple
        item = get_args(option)[0] if repeated else option
        if _is_message(item):
            return item, repeated
    return None, False


def _is_message(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, Message)
