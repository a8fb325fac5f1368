"""What commands know of witnesses: the policy that a user names."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from hallmark.client.files import read_file
from hallmark.errors import ConfigurationError, MalformedInput

if TYPE_CHECKING:
    from hallmark.core.witness_policy import WitnessPolicy


def read_policy(path: Path) -> WitnessPolicy:
    """Read a policy file; raises `ConfigurationError`. Imported here: most commands need none of it."""
    from hallmark.core.witness_policy import MAX_POLICY_BYTES, parse_witness_policy

    try:
        return parse_witness_policy(read_file(path, max_bytes=MAX_POLICY_BYTES))
    except MalformedInput as error:
        raise ConfigurationError(
            f"{path}: {error.message}", code=error.code, hint="docs/howto/witnesses.md shows a policy"
        ) from None
