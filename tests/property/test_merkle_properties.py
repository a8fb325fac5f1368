"""Trees of any size and growth obey the definition of the Merkle tree."""

from hypothesis import given, settings
from hypothesis import strategies as st

from hallmark.core.merkle import (
    EMPTY_ROOT,
    Growth,
    consistency_path,
    inclusion_path,
    leaf_hash,
    node_hash,
    verify_consistency,
    verify_inclusion,
)

LEAVES = [leaf_hash(b"%d" % number) for number in range(600)]


def range_hash(start: int, end: int) -> bytes:
    """The hash of the leaves [start, end), by the definition."""
    if start == end:
        return EMPTY_ROOT
    if end - start == 1:
        return LEAVES[start]
    split = start + (1 << ((end - start - 1).bit_length() - 1))
    return node_hash(range_hash(start, split), range_hash(split, end))


@settings(max_examples=60)
@given(st.integers(0, 300), st.integers(1, 300), st.data())
def test_a_grown_tree_proves_its_new_leaves_and_its_past(base, added, data):
    size = base + added
    seed = Growth(0, ())
    for leaf in LEAVES[:base]:
        seed.append(leaf)
    growth = Growth(base, seed.edge())
    for leaf in LEAVES[base:size]:
        growth.append(leaf)
    root = growth.root()
    assert root == range_hash(0, size)
    index = data.draw(st.integers(base, size - 1))
    proofs = growth.proofs()
    verify_inclusion(LEAVES[index], index, size, proofs.inclusion_proof(index), root)
    subtree = proofs.subtree(index)
    assert subtree.root == range_hash(subtree.start, subtree.start + subtree.width)
    verify_inclusion(LEAVES[index], index - subtree.start, subtree.width, proofs.within(index), subtree.root)
    verify_inclusion(subtree.root, subtree.index, subtree.count, subtree.path, root)
    assert len({proofs.subtree(item) for item in range(base, size)}) <= 2
    if base:
        proof = [range_hash(*ends) for ends in consistency_path(base, size)]
        verify_consistency(base, range_hash(0, base), size, root, proof)


@settings(max_examples=100)
@given(st.integers(1, 2**62), st.data())
def test_paths_in_enormous_trees_are_short_and_complete(size, data):
    index = data.draw(st.integers(0, size - 1))
    ranges = inclusion_path(index, size)
    assert len(ranges) <= 62
    assert sum(end - start for start, end in ranges) == size - 1
    old = data.draw(st.integers(1, size))
    assert len(consistency_path(old, size)) <= 63
