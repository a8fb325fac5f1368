"""The entry of a static-ct-api bundle, in parts (see `tile_leaf` for its structure)."""

from typing import Final

import msgspec

from hallmark.core.encoding.tls import Reader
from hallmark.core.x509.sct import LogEntry, PrecertEntry, X509Entry, parse_leaf_index
from hallmark.errors import MalformedInput

FINGERPRINT_SIZE: Final = 32
_WHAT: Final = "the entry of the bundle"


class TileEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One entry: `timestamp` in milliseconds, `certificate` what was submitted (DER).

    `index` is what its leaf_index extension says, None without one; `issuers` the SHA-256 fingerprints of
    the issuing chain, the direct issuer first.
    """

    timestamp: int
    entry: LogEntry
    index: int | None
    certificate: bytes
    issuers: tuple[bytes, ...]


def parse_tile_entry(record: bytes) -> TileEntry:
    """Read one TileLeaf; raises `MalformedInput`."""
    reader = Reader(record, _WHAT)
    timestamp = reader.uint(8)
    entry = _parse_entry(reader)
    extensions = reader.vector(2)
    certificate = reader.vector(3) if isinstance(entry, PrecertEntry) else entry.certificate
    chain = reader.vector(2)
    reader.finish()
    if len(chain) % FINGERPRINT_SIZE:
        raise MalformedInput(f"{_WHAT} has {len(chain)} bytes of fingerprints")
    return TileEntry(
        timestamp=timestamp,
        entry=entry,
        index=parse_leaf_index(extensions),
        certificate=certificate,
        issuers=tuple(
            chain[start : start + FINGERPRINT_SIZE] for start in range(0, len(chain), FINGERPRINT_SIZE)
        ),
    )


def _parse_entry(reader: Reader) -> LogEntry:
    kind = reader.uint(2)
    if kind == 0:
        return X509Entry(reader.vector(3))
    if kind == 1:
        return PrecertEntry(reader.take(32), reader.vector(3))
    raise MalformedInput(f"{_WHAT} is of type {kind}")
