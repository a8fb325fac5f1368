"""Witnesses, for any input: exact codecs, quorums by their definition, never two histories signed."""

import itertools
import tempfile
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.small_log import tree_hash
from tests.support.witness_server import SmallWitness

from hallmark.core.checkpoint import Checkpoint, parse_checkpoint
from hallmark.core.cosignature import cosign, cosigner_vkey, find_cosignature
from hallmark.core.merkle import consistency_path, leaf_hash
from hallmark.core.note import Note, NoteSignature, parse_note, parse_signature_lines
from hallmark.core.vkey import ED25519, ED25519_COSIGNATURE, parse_vkey, verifier_key
from hallmark.core.witness_policy import NONE, PolicyGroup, PolicyWitness, WitnessPolicy, parse_witness_policy
from hallmark.errors import HallmarkError, MalformedInput
from hallmark.witness.requests import parse_add_checkpoint, parse_size, print_add_checkpoint, print_size

ED = Ed25519PrivateKey.from_private_bytes(b"e" * 32)
ML = MLDSA44PrivateKey.from_seed_bytes(b"m" * 32)
names = st.text(
    st.characters(codec="utf-8", exclude_categories=["C", "Z"], exclude_characters="+"),
    min_size=1,
    max_size=40,
)
sizes = st.integers(0, 2**63 - 1)
roots = st.binary(min_size=32, max_size=32)
checkpoints = st.builds(Checkpoint, names, sizes, roots)


@given(names, st.sampled_from([ED25519, ED25519_COSIGNATURE]), roots)
def test_verifier_keys_survive_printing(name, signature_type, seed):
    material = Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()
    key = verifier_key(name, signature_type, material)
    assert parse_vkey(key.to_text()).to_text() == key.to_text()


@given(st.text(max_size=120))
def test_a_verifier_key_that_parses_is_printed_as_it_was(text):
    try:
        key = parse_vkey(text)
    except MalformedInput:
        return
    assert key.to_text() == text


@pytest.mark.parametrize("key", [ED, ML], ids=["ed25519", "ml-dsa-44"])
@given(data=st.data())
@settings(max_examples=30, deadline=None)
def test_a_cosignature_verifies_on_its_checkpoint_and_on_no_other(key, data):
    checkpoint, other = data.draw(checkpoints), data.draw(checkpoints)
    vkey = cosigner_vkey(data.draw(names), key)
    timestamp = data.draw(sizes)
    note = Note(checkpoint.to_text(), (cosign(checkpoint, vkey, key, timestamp),))
    assert find_cosignature(note, checkpoint, vkey).timestamp == timestamp
    if other != checkpoint:
        with pytest.raises(HallmarkError):
            find_cosignature(note, other, vkey)


@given(
    sizes, st.lists(roots, max_size=63), checkpoints, st.lists(st.binary(min_size=1, max_size=90), min_size=1)
)
def test_requests_survive_printing(old, proof, checkpoint, signatures):
    lines = tuple(NoteSignature("n", b"abcd", item) for item in signatures[:64])
    note = Note(checkpoint.to_text(), lines)
    body = print_add_checkpoint(old, proof, note.to_bytes())
    parsed = parse_add_checkpoint(body)
    assert (parsed.old_size, parsed.proof, parsed.note) == (old, tuple(proof), note)
    assert parsed.checkpoint == checkpoint
    assert parse_signature_lines("".join(line.to_text() for line in lines)) == lines


GOOD_NOTE = Note(Checkpoint("o", 9, b"r" * 32).to_text(), (NoteSignature("n", b"abcd", b"s"),))
GOOD = print_add_checkpoint(5, [b"h" * 32, b"i" * 32], GOOD_NOTE.to_bytes())


@given(st.binary(max_size=300) | st.builds(
    lambda at, cut, new: GOOD[:at] + new + GOOD[at + cut :],
    st.integers(0, len(GOOD)), st.integers(0, 4), st.binary(max_size=4),
))  # fmt: skip
def test_a_request_that_parses_is_printed_as_it_was(body):
    try:
        parsed = parse_add_checkpoint(body)
    except MalformedInput:
        return
    assert print_add_checkpoint(parsed.old_size, parsed.proof, parsed.note.to_bytes()) == body
    assert parse_checkpoint(parsed.note.text).to_text() == parsed.note.text


@given(st.binary(max_size=25))
def test_a_size_that_parses_is_printed_as_it_was(body):
    try:
        size = parse_size(body)
    except MalformedInput:
        return
    assert print_size(size) == body


POLICY = f"""log {verifier_key("l", ED25519, ED.public_key().public_bytes_raw()).to_text()} https://l
witness w {cosigner_vkey("w", ED).to_text()}
group g 1 w
quorum g
""".encode()


@given(st.binary(max_size=200) | st.builds(
    lambda at, cut, new: POLICY[:at] + new + POLICY[at + cut :],
    st.integers(0, len(POLICY)), st.integers(0, 6), st.binary(max_size=6),
))  # fmt: skip
def test_any_bytes_are_a_policy_or_refused(data):
    try:
        policy = parse_witness_policy(data)
    except MalformedInput:
        return
    assert policy.holds(frozenset()) == (policy.quorum == NONE)


@st.composite
def trees(draw):
    """A policy whose quorum is a random tree, and a function that says by definition who makes a quorum."""
    count = draw(st.integers(1, 7))
    free = {f"w{n}": (lambda signed, n=n: f"w{n}" in signed) for n in range(count)}
    groups = []
    for number in range(draw(st.integers(0, 4))):
        members = draw(st.lists(st.sampled_from(sorted(free)), unique=True, min_size=1))
        threshold = draw(st.integers(1, len(members)))
        rules = [free.pop(name) for name in members]
        groups.append(PolicyGroup(f"g{number}", threshold, tuple(members)))
        free[f"g{number}"] = lambda signed, rules=rules, k=threshold: sum(rule(signed) for rule in rules) >= k
    quorum = draw(st.sampled_from(sorted(free)))
    key = cosigner_vkey("w", ED)
    witnesses = tuple(PolicyWitness(f"w{n}", key) for n in range(count))
    return WitnessPolicy(logs=(), witnesses=witnesses, groups=tuple(groups), quorum=quorum), free[quorum]


@given(trees(), st.sets(st.sampled_from([f"w{n}" for n in range(7)])))
def test_a_quorum_is_what_its_definition_says(tree, signed):
    policy, by_definition = tree
    assert policy.holds(signed) == by_definition(signed)


LOG = verifier_key("log", ED25519, ED.public_key().public_bytes_raw())
MOST = 12


def history(size: int, fork: int) -> list[bytes]:
    """Leaf hashes of a log whose history `fork` leaves the others after as many leaves as its number."""
    return [leaf_hash(b"%d %d" % (fork if index >= fork else 0, index)) for index in range(size)]


moves = st.tuples(st.integers(0, MOST), st.integers(0, MOST), st.integers(1, 4), st.booleans())


@given(st.lists(moves, max_size=25))
@settings(max_examples=20, deadline=None)
def test_whatever_it_is_asked_a_witness_signs_one_growing_history(asked):
    with tempfile.TemporaryDirectory() as folder:
        witness = SmallWitness(Path(folder) / "heads.db", "w", LOG)
        signed: list[tuple[int, list[bytes]]] = []
        for old, size, fork, restart in asked:
            leaves = history(size, fork)
            path = consistency_path(old, size) if 0 < old <= size else []
            proof = [tree_hash(leaves[start:end]) for start, end in path]
            text = Checkpoint("log", size, tree_hash(leaves)).to_text()
            line = NoteSignature(LOG.name, LOG.key_id, ED.sign(text.encode()))
            answer = witness.post(print_add_checkpoint(old, proof, Note(text, (line,)).to_bytes()))
            if answer.status == 200:
                signed.append((size, leaves))
            if restart:
                witness.restart()
        for (smaller, first), (larger, second) in itertools.pairwise(signed):
            assert smaller <= larger
            assert tree_hash(first) == tree_hash(second[:smaller])
        if signed:
            head = witness.state.head("log")
            assert (
                parse_note(head.note).text
                == Checkpoint("log", signed[-1][0], tree_hash(signed[-1][1])).to_text()
            )
        witness.close()
