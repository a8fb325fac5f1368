"""What a protocol buffer costs to parse, told before it is parsed.

A parser makes an object of every field and holds the interpreter until it is done; to turn the objects into
the mapping that both transports check takes ten microseconds each. So the fields of the messages that may
repeat are counted first, by their tags and lengths alone (https://protobuf.dev/programming-
guides/encoding/).
"""

from collections.abc import Iterator
from typing import Final

from hallmark.errors import MalformedInput

MAX_FIELDS: Final = 256  # an entry of ten signatures and ten verifiers has under 30 in these messages

_REPEATING: Final = ((), (2,), (2, 1))  # the request, its DSSE request, the envelope in that
_VARINT, _BYTES = 0, 2
_WIDTHS: Final = {1: 8, 5: 4, 3: 0, 4: 0}  # groups of proto2 too: their fields count as the message's own


def check_structure(data: bytes) -> None:
    """Refuse a request with too many fields; raises `MalformedInput` (`malformed_json`).

    What is damaged is left to the parser, which says so.
    """
    budget = MAX_FIELDS
    for path in _REPEATING:
        for message in _messages(memoryview(data), path):
            for _ in _fields(message):
                budget -= 1
                if not budget:
                    raise MalformedInput(
                        f"the request has more than {MAX_FIELDS - 1} fields", code="malformed_json"
                    )


def _messages(data: memoryview, path: tuple[int, ...]) -> Iterator[memoryview]:
    """Find every message at this path of field numbers."""
    if not path:
        yield data
        return
    for number, value in _fields(data):
        if number == path[0]:
            yield from _messages(value, path[1:])


def _fields(data: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Walk the fields of a message; gives the number of each, and the bytes of those that have a length."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        kind, value = tag & 7, data[:0]
        if kind == _VARINT:
            _, at = _varint(data, at)
        elif kind == _BYTES:
            size, at = _varint(data, at)
            value = data[at : at + size]
            at += size
        elif kind in _WIDTHS:
            at += _WIDTHS[kind]
        else:
            return
        yield tag >> 3, value


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            break
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    return 0, len(data)  # damaged: nothing more is counted
