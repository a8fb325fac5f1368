"""How a log's entry bundles are cut into records, and what of a record the tree hashes."""

from collections.abc import Callable
from typing import Protocol

import msgspec

from hallmark.errors import MalformedInput


class Split(Protocol):
    """Cuts joined records."""

    def __call__(self, data: bytes, /, limit: int | None = None) -> list[bytes]:
        """Cut `data`; raises `MalformedInput`, also where a stranger's data has more than `limit` records."""
        ...


class RecordFormat(msgspec.Struct, frozen=True):
    """One kind of entry bundle.

    `folder` is its word in paths below `tile/`. `split` cuts joined records, each with its framing, and
    raises `MalformedInput` for anything but whole records; `leaf` gives what the tree hashes of one of
    them; `entry` its content without framing.
    """

    folder: str
    split: Split
    leaf: Callable[[bytes], bytes]
    entry: Callable[[bytes], bytes]


def _split_prefixed(data: bytes, limit: int | None = None) -> list[bytes]:
    records: list[bytes] = []
    start, total = 0, len(data)
    while start < total:
        if len(records) == limit:
            raise MalformedInput(f"the entry bundle has more than {limit} entries")
        end = start + 2 + int.from_bytes(data[start : start + 2], "big")
        if end > total:
            raise MalformedInput("the entry bundle ends early")
        records.append(data[start:end])
        start = end
    return records


def _without_prefix(record: bytes) -> bytes:
    return record[2:]


TLOG_TILES = RecordFormat("entries", _split_prefixed, _without_prefix, _without_prefix)
"""C2SP tlog-tiles: uint16 length, entry; the tree hashes the entry."""
