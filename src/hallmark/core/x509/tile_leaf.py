"""Entry bundles of a static-ct-api log (`tile/data/`).

struct {
    TimestampedEntry timestamped_entry;
    select (entry_type) {
        case x509_entry: Empty;
        case precert_entry: opaque pre_certificate<1..2^24-1>;
    }
    Fingerprint certificate_chain<0..2^16-1>;      (32 bytes each)
} TileLeaf;
"""

from hallmark.core.encoding.tls import Reader
from hallmark.errors import MalformedInput

_X509_ENTRY = 0
_PRECERT_ENTRY = 1


def _entry_length(data: bytes, start: int) -> tuple[int, int]:
    """Measure the TileLeaf at `start`: where its TimestampedEntry ends, and where it ends itself."""
    reader = Reader(data[start:], "the entry bundle")
    reader.take(8)
    entry_type = reader.uint(2)
    if entry_type == _PRECERT_ENTRY:
        length = 10 + 32
        reader.take(32)
    elif entry_type == _X509_ENTRY:
        length = 10
    else:
        raise MalformedInput(f"the entry bundle has an entry of type {entry_type}")
    length += 3 + len(reader.vector(3))
    length += 2 + len(reader.vector(2))
    whole = length
    if entry_type == _PRECERT_ENTRY:
        whole += 3 + len(reader.vector(3))
    whole += 2 + len(reader.vector(2))
    return start + length, start + whole


def split_tile_leaves(data: bytes) -> list[bytes]:
    """Cut joined TileLeaf structures; raises `MalformedInput`."""
    leaves: list[bytes] = []
    start = 0
    while start < len(data):
        _, end = _entry_length(data, start)
        leaves.append(data[start:end])
        start = end
    return leaves


def merkle_tree_leaf_of(tile_leaf: bytes) -> bytes:
    """Rebuild the MerkleTreeLeaf that the log's tree hashes from a TileLeaf; raises `MalformedInput`."""
    end, _ = _entry_length(tile_leaf, 0)
    return b"\x00\x00" + tile_leaf[:end]
