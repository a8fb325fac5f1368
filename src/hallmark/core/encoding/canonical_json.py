"""Canonical JSON (RFC 8785, JCS)."""

from typing import Any

import rfc8785

from hallmark.errors import MalformedInput


def canonical_json(value: Any) -> bytes:
    """Print a JSON value in its canonical form; raises `MalformedInput` for what JCS cannot express."""
    try:
        return rfc8785.dumps(value)
    except (rfc8785.CanonicalizationError, RecursionError) as error:
        raise MalformedInput(f"the value has no canonical JSON form: {error}") from None
