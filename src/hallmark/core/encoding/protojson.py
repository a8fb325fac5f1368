"""The JSON mapping of protocol buffers (proto3 JSON), as Sigstore's messages use it.

Readers accept what the mapping allows: standard or URL-safe base64 with or without padding, 64-bit
integers as strings or numbers. Writers print standard padded base64 and 64-bit integers as strings.
"""

import base64
import binascii
from datetime import UTC, datetime

from hallmark.errors import MalformedInput

_URL_SAFE = str.maketrans("-_", "+/")


def parse_bytes(text: str, *, what: str) -> bytes:
    """Read a `bytes` field; raises `MalformedInput` naming `what`."""
    standard = text.translate(_URL_SAFE).rstrip("=")
    try:
        return base64.b64decode(standard + "=" * (-len(standard) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise MalformedInput(f"{what} is not base64", code="malformed_base64") from None


def format_bytes(value: bytes) -> str:
    """Print a `bytes` field."""
    return base64.b64encode(value).decode("ascii")


def parse_int64(value: str | int, *, what: str) -> int:
    """Read an `int64` field; raises `MalformedInput` for what is no integer of 64 bits."""
    if isinstance(value, str):
        digits = value.removeprefix("-")
        if not (digits.isascii() and digits.isdigit() and len(digits) <= 19):
            raise MalformedInput(f"{what} is not an integer")
        value = int(value)
    if isinstance(value, bool) or not -(2**63) <= value < 2**63:
        raise MalformedInput(f"{what} is not an integer of 64 bits")
    return value


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
