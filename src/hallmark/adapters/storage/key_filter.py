"""The filter of a run: says from memory, of seven in eight keys that the run lacks, that it lacks them.

One bit for each key that the run holds, among eight times as many: where a key's bit is clear, the run lacks
it. The beginning of the key says which bit, so callers who choose their keys can make the filter useless;
a lookup then costs what it would without. It is one bit and not more because each look at a large filter
waits for memory, and a run that is asked in vain costs a read of one block.
"""

import struct
from typing import Final

_BITS: Final = 8
_PREFIX_BITS: Final = 32
_MASKS: Final = tuple(1 << bit for bit in range(8))


class KeyFilter:
    """A filter for `count` keys, of `count` bytes; an empty one unless `data` is given."""

    def __init__(self, count: int, data: bytes | None = None) -> None:
        self._width = _BITS * count
        self._data = bytearray(count) if data is None else bytearray(data)

    def add(self, records: bytes, record_size: int) -> None:
        """Add the keys of joined records, each of which begins with its key."""
        data, width = self._data, self._width
        prefixes = struct.iter_unpack(f">I{record_size - 4}x", records)
        for (prefix,) in prefixes:
            at = prefix * width >> _PREFIX_BITS
            data[at >> 3] |= _MASKS[at & 7]

    def may_hold(self, key: bytes) -> bool:
        """Say whether the run has to be asked for this key."""
        at = int.from_bytes(key[:4], "big") * self._width >> _PREFIX_BITS
        return self._data[at >> 3] & _MASKS[at & 7] != 0

    def to_bytes(self) -> bytes:
        """Give the filter as it stands in the file."""
        return bytes(self._data)
