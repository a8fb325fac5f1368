"""What a fuzz target is."""

from collections.abc import Callable

import msgspec


class Target(msgspec.Struct, frozen=True):
    """A fuzz target and inputs to begin from, which parse."""

    run: Callable[[bytes], None]
    seeds: tuple[bytes, ...]
