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

from hallmark.errors import MalformedInput

_X509_ENTRY = 0
_PRECERT_ENTRY = 1


def _entry_length(data: memoryview, start: int) -> tuple[int, int]:
    """Measure the TileLeaf at `start`: where its TimestampedEntry ends, and where it ends itself."""
    offset = _skip(data, start, 8)
    entry_type = int.from_bytes(data[offset : offset + 2], "big")
    offset = _skip(data, offset, 2)
    if entry_type == _PRECERT_ENTRY:
        offset = _skip(data, offset, 32)
    elif entry_type != _X509_ENTRY:
        raise MalformedInput(f"the entry bundle has an entry of type {entry_type}")
    end = _skip_vector(data, _skip_vector(data, offset, 3), 2)
    whole = _skip_vector(data, end, 3) if entry_type == _PRECERT_ENTRY else end
    return end, _skip_vector(data, whole, 2)


def _skip(data: memoryview, offset: int, size: int) -> int:
    if offset + size > len(data):
        raise MalformedInput("the entry bundle ends early")
    return offset + size


def _skip_vector(data: memoryview, offset: int, size: int) -> int:
    start = _skip(data, offset, size)
    return _skip(data, start, int.from_bytes(data[offset:start], "big"))


def split_tile_leaves(data: bytes, limit: int | None = None) -> list[bytes]:
    """Cut joined TileLeaf structures; raises `MalformedInput`, also for more than `limit` of them."""
    leaves: list[bytes] = []
    start, view = 0, memoryview(data)
    while start < len(data):
        if len(leaves) == limit:
            raise MalformedInput(f"the entry bundle has more than {limit} entries")
        _, end = _entry_length(view, start)
        leaves.append(data[start:end])
        start = end
    return leaves


def merkle_tree_leaf_of(tile_leaf: bytes) -> bytes:
    """Rebuild the MerkleTreeLeaf that the log's tree hashes from a TileLeaf; raises `MalformedInput`."""
    end, _ = _entry_length(memoryview(tile_leaf), 0)
    return b"\x00\x00" + tile_leaf[:end]
