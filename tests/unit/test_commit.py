"""A commit checks what it is about to write and to answer: a fault of memory, key or code stops the log."""

import hashlib

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from hallmark.adapters.keys.file import SoftwareKey
from hallmark.core.merkle import EMPTY_ROOT, Growth, GrowthProofs, leaf_hash
from hallmark.errors import InvalidProof, InvalidSignature
from hallmark.ports import LogHead
from hallmark.tiledlog.commit import Waiting, build_commit, fixed_leaf
from hallmark.tiledlog.signer import NoteSigner

KEY = Ed25519PrivateKey.from_private_bytes(b"k" * 32)
SIGNER = NoteSigner("log.example", SoftwareKey(KEY))
NOW = 1_700_000_000_000


def head(size: int) -> LogHead:
    growth = Growth(0, ())
    for index in range(size):
        growth.append(leaf_hash(b"%d" % index))
    root = growth.root() if size else EMPTY_ROOT
    return LogHead(
        size=size,
        root=root,
        time=NOW,
        edge=growth.edge(),
        checkpoint=SIGNER.sign(size, root, NOW),
        applied=size,
        applied_edge=growth.edge(),
    )


def waiting(count: int) -> list[Waiting]:
    leaves = [b"new %d" % index for index in range(count)]
    return [Waiting(hashlib.sha256(leaf).digest(), fixed_leaf(leaf)) for leaf in leaves]


def build(size: int, count: int, signer=SIGNER):
    return build_commit(head(size), waiting(count), {}, now=NOW, signer=signer)


def test_what_a_commit_writes_is_what_it_signed():
    commit = build(5, 3)
    stated = SIGNER.verify(commit.staged.checkpoint)
    assert (stated.size, stated.root) == (8, commit.staged.root)


class OtherTree(NoteSigner):
    """Signs another tree than it was asked to."""

    def __init__(self, size: int, root: bytes | None) -> None:
        super().__init__("log.example", SoftwareKey(KEY))
        self._more, self._other = size, root

    def sign(self, size: int, root: bytes, time: int) -> bytes:
        return super().sign(size + self._more, self._other or root, time)


@pytest.mark.parametrize(("size", "root"), [(1, None), (0, bytes(32))])
def test_a_checkpoint_of_another_tree_is_not_written(size, root):
    with pytest.raises(InvalidProof) as caught:
        build(5, 3, OtherTree(size, root))
    assert caught.value.code == "damaged_log"


class FalseKey(SoftwareKey):
    """A key whose signatures are another's."""

    def sign(self, message: bytes) -> bytes:
        return Ed25519PrivateKey.generate().sign(message)


def test_a_checkpoint_whose_signature_is_false_is_not_written():
    with pytest.raises(InvalidSignature):
        build(5, 3, NoteSigner("log.example", FalseKey(KEY)))


def test_an_edge_that_does_not_lead_to_the_root_stops_the_commit():
    damaged = msgspec.structs.replace(head(5), root=bytes(32))
    with pytest.raises(InvalidProof) as caught:
        build_commit(damaged, waiting(1), {}, now=NOW, signer=SIGNER)
    assert caught.value.code == "damaged_log"


@pytest.mark.parametrize("part", ["within", "subtree"])
def test_a_proof_that_does_not_hold_is_not_answered(monkeypatch, part):
    """A bit flips in memory after the tree was hashed: in a leaf's part of a proof, or in its subtree's."""
    right = getattr(GrowthProofs, part)

    def flipped(proofs: GrowthProofs, index: int):
        found = right(proofs, index)
        if part == "within":
            return [bytes(32), *found[1:]]
        return msgspec.structs.replace(found, path=(*found.path[:-1], bytes(32)))

    build(100, 9)
    monkeypatch.setattr(GrowthProofs, part, flipped)
    with pytest.raises(InvalidProof):
        build(100, 9)
