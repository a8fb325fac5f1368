"""The JSON mapping of protocol buffers (proto3 JSON), as Sigstore's messages use it.

Readers accept what the mapping allows: standard or URL-safe base64 with or without padding, 64-bit
integers as strings or numbers, enums as names or numbers. Writers print standard padded base64, 64-bit
integers as strings and enums as names.
"""

import base64
import binascii
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

from hallmark.errors import MalformedInput

_MAX_DIGITS: Final = 19
_URL_SAFE = str.maketrans("-_", "+/")


def parse_bytes(text: str, *, what: str) -> bytes:
    """Read a `bytes` field; raises `MalformedInput` naming `what`."""
    standard = text.rstrip("=")
    if "-" in standard or "_" in standard:  # a translation takes longer than decoding does
        standard = standard.translate(_URL_SAFE)
    try:
        return base64.b64decode(standard + "=" * (-len(standard) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise MalformedInput(f"{what} is not base64", code="malformed_base64") from None


def format_bytes(value: bytes) -> str:
    """Print a `bytes` field."""
    return base64.b64encode(value).decode("ascii")


def parse_int64(value: str | float, *, what: str) -> int:
    """Read an `int64` field; raises `MalformedInput` for what is not an integer of 64 bits."""
    if isinstance(value, str):
        digits = value.removeprefix("-")
        if not (digits.isascii() and digits.isdigit() and len(digits) <= _MAX_DIGITS):
            raise MalformedInput(f"{what} is not an integer")
        value = int(value)
    if isinstance(value, float):
        value = _whole(value, what)
    if isinstance(value, bool) or not -(2**63) <= value < 2**63:
        raise MalformedInput(f"{what} is not an integer of 64 bits")
    return value


def _whole(value: float, what: str) -> int:
    """Read `1.0` or `1e3`, which the mapping allows; above 2^53 a float is not any particular integer."""
    if not value.is_integer() or abs(value) > 2**53:
        raise MalformedInput(f"{what} is not an integer")
    return int(value)


def parse_int32(value: str | float, *, what: str) -> int:
    """Read an `int32` field; raises `MalformedInput`."""
    number = parse_int64(value, what=what)
    if not -(2**31) <= number < 2**31:
        raise MalformedInput(f"{what} is not an integer of 32 bits")
    return number


def parse_enum(value: str | float, names: Mapping[int, str], *, what: str) -> str:
    """Read an enum as its name; a number that `names` lacks, as newer writers may use, gives its digits.

    Raises `MalformedInput`.
    """
    if isinstance(value, str):
        return value
    number = parse_int32(value, what=what)
    return names.get(number, str(number))


def parse_timestamp(text: str, *, what: str) -> datetime:
    """Read a `google.protobuf.Timestamp` (RFC 3339); raises `MalformedInput`."""
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:
            raise MalformedInput(f"{what} has no time zone: {text[:40]!r}")
        return moment.astimezone(UTC)
    except (ValueError, OverflowError):
        raise MalformedInput(f"{what} is not an RFC 3339 time: {text[:40]!r}") from None


def format_timestamp(moment: datetime) -> str:
    """Print a `google.protobuf.Timestamp` in UTC; whole seconds carry no fraction."""
    text = moment.astimezone(UTC).isoformat(timespec="microseconds" if moment.microsecond else "seconds")
    return text.replace("+00:00", "Z")
