"""The Merkle tree, compared with its definition (RFC 6962 section 2.1)."""

import hashlib

import pytest

from hallmark.core.merkle import (
    EMPTY_ROOT,
    Growth,
    consistency_path,
    inclusion_path,
    leaf_hash,
    node_hash,
    root_of_edge,
    verify_consistency,
    verify_inclusion,
)
from hallmark.errors import InvalidProof

SIZES = range(1, 40)
LEAVES = [leaf_hash(b"leaf %d" % number) for number in range(max(SIZES) + 1)]


def tree_hash(leaves: list[bytes]) -> bytes:
    """MTH by its definition."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    split = largest_power(len(leaves))
    return hashlib.sha256(b"\x01" + tree_hash(leaves[:split]) + tree_hash(leaves[split:])).digest()


def largest_power(size: int) -> int:
    power = 1
    while power * 2 < size:
        power *= 2
    return power


def path(index: int, leaves: list[bytes]) -> list[bytes]:
    """PATH by its definition."""
    if len(leaves) == 1:
        return []
    split = largest_power(len(leaves))
    if index < split:
        return [*path(index, leaves[:split]), tree_hash(leaves[split:])]
    return [*path(index - split, leaves[split:]), tree_hash(leaves[:split])]


def subproof(old: int, leaves: list[bytes], known: bool) -> list[bytes]:
    """SUBPROOF by its definition."""
    if old == len(leaves):
        return [] if known else [tree_hash(leaves)]
    split = largest_power(len(leaves))
    if old <= split:
        return [*subproof(old, leaves[:split], known), tree_hash(leaves[split:])]
    return [*subproof(old - split, leaves[split:], False), tree_hash(leaves[:split])]


def grown(leaves: list[bytes], base: int = 0) -> Growth:
    growth = Growth(0, ())
    for leaf in leaves[:base]:
        growth.append(leaf)
    growth = Growth(base, growth.edge())
    for leaf in leaves[base:]:
        growth.append(leaf)
    return growth


def test_leaves_and_nodes_are_hashed_apart():
    assert leaf_hash(b"") == hashlib.sha256(b"\x00").digest()
    assert node_hash(b"a", b"b") == hashlib.sha256(b"\x01ab").digest()
    assert hashlib.sha256(b"").digest() == EMPTY_ROOT


def test_the_worked_example_of_seven_leaves():
    """RFC 6962 section 2.1.3: which nodes of the tree form which proof."""
    d = LEAVES[:7]
    a, b, c, e, f, j = d[0], d[1], d[2], d[3], d[4], d[6]
    g, h = node_hash(a, b), node_hash(c, e)
    i = node_hash(f, d[5])
    k, m = node_hash(g, h), node_hash(i, j)
    root = node_hash(k, m)
    assert tree_hash(d) == root
    assert path(0, d) == [b, h, m]
    assert path(3, d) == [c, g, m]
    assert path(4, d) == [d[5], j, k]
    assert path(6, d) == [i, k]
    assert subproof(3, d, True) == [c, e, g, m]
    assert subproof(4, d, True) == [m]
    assert subproof(6, d, True) == [i, j, k]


@pytest.mark.parametrize("size", SIZES)
def test_inclusion_of_every_leaf(size):
    leaves = LEAVES[:size]
    root = tree_hash(leaves)
    for index in range(size):
        proof = path(index, leaves)
        verify_inclusion(leaves[index], index, size, proof, root)
        ranges = inclusion_path(index, size)
        assert [tree_hash(leaves[start:end]) for start, end in ranges] == proof


@pytest.mark.parametrize("size", SIZES)
def test_no_other_proof_holds(size):
    leaves = LEAVES[:size]
    root = tree_hash(leaves)
    for index in range(size):
        proof = path(index, leaves)
        wrong = [
            (LEAVES[size], index, size, proof, root),
            (leaves[index], index, size, [*proof, bytes(32)], root),
            (leaves[index], index, size, proof, bytes(32)),
            (leaves[index], index + size, size, proof, root),
            (leaves[index], -1, size, proof, root),
        ]
        if proof:
            wrong.append((leaves[index], index, size, proof[:-1], root))
            wrong.append((leaves[index], index, size, [bytes(32), *proof[1:]], root))
            wrong += [(leaves[index], other, size, proof, root) for other in range(size) if other != index]
        for arguments in wrong:
            with pytest.raises(InvalidProof):
                verify_inclusion(*arguments)


@pytest.mark.parametrize("new", SIZES)
def test_consistency_of_every_prefix(new):
    leaves = LEAVES[:new]
    for old in range(1, new + 1):
        proof = subproof(old, leaves, True)
        verify_consistency(old, tree_hash(leaves[:old]), new, tree_hash(leaves), proof)
        assert [tree_hash(leaves[start:end]) for start, end in consistency_path(old, new)] == proof


@pytest.mark.parametrize("new", range(2, 20))
def test_no_other_consistency_proof_holds(new):
    leaves = LEAVES[:new]
    new_root = tree_hash(leaves)
    for old in range(1, new):
        old_root, proof = tree_hash(leaves[:old]), subproof(old, leaves, True)
        wrong = [
            (old, old_root, new, new_root, proof[:-1]),
            (old, old_root, new, new_root, [*proof, bytes(32)]),
            (old, old_root, new, new_root, [bytes(32), *proof[1:]]),
            (old, bytes(32), new, new_root, proof),
            (old, old_root, new, bytes(32), proof),
            (old, old_root, new, new_root, []),
            (new, new_root, old, old_root, proof),
            (-1, old_root, new, new_root, proof),
        ]
        for arguments in wrong:
            with pytest.raises(InvalidProof):
                verify_consistency(*arguments)


@pytest.mark.parametrize("size", range(1, 20))
def test_a_superfluous_hash_is_refused_though_the_root_is_made_for_it(size):
    """The sum works out: only its length tells that the proof is of no tree of this size."""
    extra, root = bytes(32), tree_hash(LEAVES[:size])
    for index in range(size):
        proof = [*path(index, LEAVES[:size]), extra]
        for made in (node_hash(extra, root), node_hash(root, extra)):
            with pytest.raises(InvalidProof, match="too long"):
                verify_inclusion(LEAVES[index], index, size, proof, made)
    for old in range(1, size):
        proof = [*subproof(old, LEAVES[:size], True), extra]
        old_root = tree_hash(LEAVES[:old])
        roots = node_hash(extra, old_root), node_hash(extra, root)
        if old & (old - 1):  # else the old root begins the proof
            with pytest.raises(InvalidProof, match="too long"):
                verify_consistency(old, roots[0], size, roots[1], proof)


@pytest.mark.parametrize("size", range(2, 20))
def test_a_missing_hash_is_refused_though_the_root_is_made_for_it(size):
    leaves = LEAVES[:size]
    for index in range(size):
        proof = path(index, leaves)
        split = largest_power(size)
        start, end = (0, split) if index < split else (split, size)  # what the last hash is joined to
        with pytest.raises(InvalidProof, match="too short"):
            verify_inclusion(leaves[index], index, size, proof[:-1], tree_hash(leaves[start:end]))


def test_a_proof_that_ends_below_the_new_root_is_too_short():
    """The old tree is the left half; without the last hash the sum ends at a root of its own making."""
    for old in (3, 5, 6, 7):
        leaves, low = LEAVES[:16], LEAVES[:8]
        proof = subproof(old, leaves, True)[:-1]
        with pytest.raises(InvalidProof, match="too short"):
            verify_consistency(old, tree_hash(LEAVES[:old]), 16, tree_hash(low), proof)


@pytest.mark.parametrize("old", [1, 2, 4, 8])
def test_an_empty_proof_of_growth_is_too_short(old):
    root = tree_hash(LEAVES[:old])
    with pytest.raises(InvalidProof, match="too short"):
        verify_consistency(old, root, 2 * old, root, [])
    with pytest.raises(InvalidProof, match="too short"):
        verify_consistency(3, root, 5, root, [])


def test_both_roots_of_a_consistency_proof_count():
    proof, roots = subproof(3, LEAVES[:7], True), (tree_hash(LEAVES[:3]), tree_hash(LEAVES[:7]))
    verify_consistency(3, roots[0], 7, roots[1], proof)
    for old, new in ((bytes(32), roots[1]), (roots[0], bytes(32))):
        with pytest.raises(InvalidProof, match="other root hashes"):
            verify_consistency(3, old, 7, new, proof)


@pytest.mark.parametrize("size", range(20))
def test_no_leaf_is_beyond_the_end_of_a_tree(size):
    for index in (-1, size, size + 1):
        for proof in ([], [bytes(32)]):
            with pytest.raises(InvalidProof, match="not in a tree"):
                verify_inclusion(LEAVES[0], index, size, proof, LEAVES[0])


def test_equal_and_empty_trees_need_no_proof():
    root = tree_hash(LEAVES[:5])
    verify_consistency(5, root, 5, root, [])
    verify_consistency(0, EMPTY_ROOT, 5, root, [])
    for arguments in (
        (5, root, 5, bytes(32), []),
        (5, root, 5, root, [root]),
        (0, EMPTY_ROOT, 5, root, [root]),
        (0, bytes(32), 5, root, []),
    ):
        with pytest.raises(InvalidProof):
            verify_consistency(*arguments)


@pytest.mark.parametrize("base", range(20))
@pytest.mark.parametrize("added", [0, 1, 2, 7, 19])
def test_a_tree_grows_from_its_right_edge(base, added):
    leaves = LEAVES[: base + added]
    growth = grown(leaves, base)
    assert growth.size == len(leaves)
    assert growth.root() == tree_hash(leaves) == root_of_edge(growth.edge())
    proofs = growth.proofs()
    for index in range(base, len(leaves)):
        assert proofs.inclusion_proof(index) == tuple(path(index, leaves))


def test_a_grown_tree_knows_its_new_nodes_only():
    growth = grown(LEAVES[:13], base=8)
    assert growth.node(0, 8) == LEAVES[8]
    assert growth.node(2, 2) == tree_hash(LEAVES[8:12])
    assert growth.first_node(0) == 8
    with pytest.raises(LookupError):
        growth.node(0, 3)


def test_an_edge_has_one_hash_for_each_subtree():
    with pytest.raises(ValueError, match="2 hashes"):
        Growth(5, (bytes(32),))


@pytest.mark.parametrize(("index", "size"), [(0, 0), (5, 5), (-1, 5)])
def test_leaves_outside_the_tree_have_no_path(index, size):
    with pytest.raises(InvalidProof):
        inclusion_path(index, size)


@pytest.mark.parametrize(("old", "new"), [(0, 5), (6, 5), (-1, 5)])
def test_sizes_that_cannot_follow_have_no_path(old, new):
    with pytest.raises(InvalidProof):
        consistency_path(old, new)


def test_no_node_is_known_of_a_level_that_the_tree_has_not_reached():
    growth = grown([b"a", b"b", b"c", b"d"])
    assert [growth.first_node(level) for level in range(5)] == [0, 0, 0, 0, 0]
    assert Growth(8, (bytes(32),)).first_node(4) == 0
    assert Growth(8, (bytes(32),)).first_node(3) == 0
    assert Growth(8, (bytes(32),)).first_node(0) == 8


@pytest.mark.parametrize("base", range(18))
def test_a_proof_is_that_in_a_subtree_and_the_subtrees_own(base):
    for size in range(base + 1, base + 20):
        leaves = [leaf_hash(b"%d" % index) for index in range(size)]
        growth = grown(leaves, base)
        proofs, root = growth.proofs(), growth.root()
        for index in range(base, size):
            found = proofs.subtree(index)
            verify_inclusion(found.root, found.index, found.count, found.path, root)
            inside = proofs.within(index)
            verify_inclusion(leaves[index], index - found.start, found.width, inside, found.root)
            assert (*inside, *found.path) == proofs.inclusion_proof(index)
