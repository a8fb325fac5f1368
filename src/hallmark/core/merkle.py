"""Merkle tree hashing and proofs (RFC 6962 section 2.1, RFC 9162 section 2.1).

Everything here is a pure function of its arguments. Hashes are 32-byte SHA-256 values; `index` counts
leaves from zero. Levels count from the leaves: the node (level, index) covers the leaves
[index * 2^level, (index + 1) * 2^level).
"""

import hashlib
from collections.abc import Sequence
from typing import Final

import msgspec

from hallmark.errors import InvalidProof

HASH_SIZE: Final = 32
EMPTY_ROOT: Final = hashlib.sha256(b"").digest()
MAX_TREE_SIZE: Final = 2**63 - 1

_sha256 = hashlib.sha256


def leaf_hash(leaf: bytes) -> bytes:
    """Hash a leaf."""
    return _sha256(b"\x00" + leaf).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Hash an inner node."""
    return _sha256(b"\x01" + left + right).digest()


def verify_inclusion(leaf: bytes, index: int, tree_size: int, proof: Sequence[bytes], root: bytes) -> None:
    """Check that the leaf hash `leaf` is at `index` in the tree of `tree_size` leaves with this root.

    RFC 9162 section 2.1.3.2. Raises `InvalidProof` otherwise.
    """
    if not 0 <= index < tree_size:
        raise InvalidProof(f"leaf {index} is not in a tree of size {tree_size}")
    node, last = index, tree_size - 1
    computed = leaf
    for sibling in proof:
        if last == 0:
            raise InvalidProof("the inclusion proof is too long")
        if node & 1 or node == last:
            computed = _sha256(b"\x01" + sibling + computed).digest()
            while not node & 1:  # levels at which the node, the last one and not 0, has no sibling
                node, last = node >> 1, last >> 1
        else:
            computed = _sha256(b"\x01" + computed + sibling).digest()
        node, last = node >> 1, last >> 1
    if last != 0:
        raise InvalidProof("the inclusion proof is too short")
    if computed != root:
        raise InvalidProof("the inclusion proof leads to another root hash")


def verify_consistency(
    old_size: int, old_root: bytes, new_size: int, new_root: bytes, proof: Sequence[bytes]
) -> None:
    """Check that the tree of `old_size` is a prefix of the tree of `new_size`.

    RFC 9162 section 2.1.4.2; the empty tree is a prefix of every tree. Raises `InvalidProof`.
    """
    if not 0 <= old_size <= new_size:
        raise InvalidProof(f"a tree of size {new_size} cannot extend one of size {old_size}")
    if old_size in (0, new_size):
        if proof:
            raise InvalidProof("the consistency proof is too long")
        if old_root != (EMPTY_ROOT if old_size == 0 else new_root):
            raise InvalidProof(f"two different root hashes for size {old_size}")
        return
    _verify_growth(old_size, old_root, new_size, new_root, list(proof))


def _verify_growth(old_size: int, old_root: bytes, new_size: int, new_root: bytes, path: list[bytes]) -> None:
    if old_size & (old_size - 1) == 0:
        path.insert(0, old_root)
    if not path:
        raise InvalidProof("the consistency proof is too short")
    node, last = old_size - 1, new_size - 1
    while node & 1:
        node, last = node >> 1, last >> 1
    old = new = path[0]
    for sibling in path[1:]:
        if last == 0:
            raise InvalidProof("the consistency proof is too long")
        if node & 1 or node == last:
            old, new = node_hash(sibling, old), node_hash(sibling, new)
            while not node & 1:
                node, last = node >> 1, last >> 1
        else:
            new = node_hash(new, sibling)
        node, last = node >> 1, last >> 1
    if last != 0:
        raise InvalidProof("the consistency proof is too short")
    if old != old_root or new != new_root:
        raise InvalidProof("the consistency proof leads to other root hashes")


def inclusion_path(index: int, tree_size: int) -> list[tuple[int, int]]:
    """List the ranges [start, end) whose hashes form the inclusion proof, leaf side first.

    RFC 9162 section 2.1.3.1.
    """
    if not 0 <= index < tree_size:
        raise InvalidProof(f"leaf {index} is not in a tree of size {tree_size}")
    path: list[tuple[int, int]] = []
    start, end = 0, tree_size
    while end - start > 1:
        split = start + _largest_power_below(end - start)
        if index < split:
            path.append((split, end))
            end = split
        else:
            path.append((start, split))
            start = split
    path.reverse()
    return path


def consistency_path(old_size: int, new_size: int) -> list[tuple[int, int]]:
    """List the ranges [start, end) whose hashes form the consistency proof, in order (RFC 9162 2.1.4.1)."""
    if not 0 < old_size <= new_size:
        raise InvalidProof(f"a tree of size {new_size} cannot extend one of size {old_size}")
    path: list[tuple[int, int]] = []
    start, end = 0, new_size
    known = True  # the verifier knows the hash of [start, old_size): it is the old root
    while old_size != end:
        split = start + _largest_power_below(end - start)
        if old_size <= split:
            path.append((split, end))
            end = split
        else:
            path.append((start, split))
            start, known = split, False
    if not known:
        path.append((start, end))
    path.reverse()
    return path


def _largest_power_below(size: int) -> int:
    """The largest power of two smaller than `size` (at least 2)."""
    return 1 << ((size - 1).bit_length() - 1)


class Growth:
    """A tree of a known size, given by its right edge, and the leaves appended to it.

    `edge` holds the roots of the complete subtrees of a tree with `base` leaves, the largest first. After
    `append`, every node that the new leaves touch can be read with `node`, inclusion proofs of new leaves
    with `inclusion_proof`; nothing else of the old tree is needed, so the cost does not grow with its size.
    """

    def __init__(self, base: int, edge: Sequence[bytes]) -> None:
        if len(edge) != base.bit_count():
            raise ValueError(
                f"the edge of a tree of {base} leaves has {base.bit_count()} hashes, not {len(edge)}"
            )
        self.base = base
        self.size = base
        self._levels: list[list[bytes]] = []
        self._offsets: list[int] = []
        remaining = list(edge)
        for level in range(base.bit_length()):
            index = base >> level
            if index & 1:  # a complete subtree of the edge stands at this level
                self._levels.append([remaining.pop()])
                self._offsets.append(index - 1)
            else:
                self._levels.append([])
                self._offsets.append(index)

    def append(self, leaf: bytes) -> None:
        """Append one leaf hash."""
        index, level, node = self.size, 0, leaf
        self.size += 1
        while True:
            if level == len(self._levels):
                self._levels.append([])
                self._offsets.append(index)
            nodes = self._levels[level]
            nodes.append(node)
            if not index & 1:
                return
            node = _sha256(b"\x01" + nodes[-2] + node).digest()
            index >>= 1
            level += 1

    def first_node(self, level: int) -> int:
        """Say from which index on `node` knows the nodes of `level`."""
        return self._offsets[level] if level < len(self._levels) else self.size >> level

    def node(self, level: int, index: int) -> bytes:
        """Read a complete node; raises `LookupError` for one that only the old tree could give."""
        position = index - self._offsets[level]
        if position < 0:
            raise LookupError(f"node {level}/{index} lies in the old tree")
        return self._levels[level][position]

    def edge(self) -> tuple[bytes, ...]:
        """The right edge of the grown tree, the largest subtree first."""
        top = self.size.bit_length()
        return tuple(
            self.node(level, (self.size >> level) - 1)
            for level in range(top - 1, -1, -1)
            if self.size >> level & 1
        )

    def root(self) -> bytes:
        """The root hash of the grown tree."""
        return root_of_edge(self.edge())

    def proofs(self) -> "GrowthProofs":
        """Prepare the inclusion proofs of the grown tree as it stands now."""
        return GrowthProofs(self)


class Subtree(msgspec.Struct, frozen=True):
    """A subtree that holds appended leaves: its hash, and the proof of that in the whole tree.

    The tree is at the same time one of `count` such subtrees, of which this is number `index`: `path` proves
    `root` there as an inclusion proof proves a leaf. `start` is its first leaf, `width` how many it has.
    """

    index: int
    count: int
    start: int
    width: int
    root: bytes
    path: tuple[bytes, ...]


class GrowthProofs:
    """Inclusion proofs for the appended leaves of a `Growth`, without hashing anything twice.

    However large the tree is, the appended leaves stand in two subtrees that are about as large as they are
    many, or in one. A leaf's proof is that within its subtree, followed by the subtree's own.
    """

    def __init__(self, growth: Growth) -> None:
        self._growth = growth
        self._size = growth.size
        self._ragged = _ragged_edge(growth)
        self._level = max(min((growth.size - growth.base).bit_length(), len(self._ragged) - 1), 0)
        self._subtrees: dict[int, Subtree] = {}

    def inclusion_proof(self, index: int) -> tuple[bytes, ...]:
        """The inclusion proof of leaf `index`, which must be one of the appended leaves."""
        return (*self.within(index), *self.subtree(index).path)

    def within(self, index: int) -> list[bytes]:
        """The inclusion proof of a leaf in its subtree."""
        return self._siblings(index, 0, self._level)

    def subtree(self, index: int) -> Subtree:
        """The subtree of a leaf."""
        number = index >> self._level
        found = self._subtrees.get(number)
        if found is None:
            found = self._subtrees[number] = self._make_subtree(number)
        return found

    def _make_subtree(self, number: int) -> Subtree:
        start, complete = number << self._level, self._size >> self._level
        ragged = self._ragged[self._level] if number == complete else None
        return Subtree(
            index=number,
            count=((self._size - 1) >> self._level) + 1,
            start=start,
            width=min(1 << self._level, self._size - start),
            root=ragged or self._growth.node(self._level, number),
            path=tuple(self._siblings(number, self._level, len(self._ragged))),
        )

    def _siblings(self, node: int, bottom: int, top: int) -> list[bytes]:
        """The part of a proof between two levels, from a node of the lower one."""
        proof: list[bytes] = []
        complete = self._size >> bottom
        for level in range(bottom, top):
            sibling, ragged = node ^ 1, self._ragged[level]
            if sibling < complete:
                proof.append(self._growth.node(level, sibling))
            elif sibling == complete and ragged is not None:
                proof.append(ragged)
            node >>= 1
            complete >>= 1
        return proof


def _ragged_edge(growth: Growth) -> list[bytes | None]:
    """For each level the hash of the incomplete subtree at the right end, None where there is none."""
    edges: list[bytes | None] = []
    ragged: bytes | None = None
    for level in range((growth.size - 1).bit_length()):
        edges.append(ragged)
        index = growth.size >> level
        if index & 1:
            node = growth.node(level, index - 1)
            ragged = node if ragged is None else node_hash(node, ragged)
    return edges


def root_of_edge(edge: Sequence[bytes]) -> bytes:
    """The root hash of the tree with this right edge (largest subtree first); no edge is the empty tree."""
    if not edge:
        return EMPTY_ROOT
    root = edge[-1]
    for subtree in reversed(edge[:-1]):
        root = node_hash(subtree, root)
    return root
