"""Bounds of checkpoints, cosignatures and policies, and logs of every kind that sign them."""

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey

from hallmark.core.checkpoint import MAX_EXTENSIONS, Checkpoint, parse_checkpoint
from hallmark.core.cosignature import (
    MAX_TIMESTAMP,
    cosign,
    cosigned_message,
    cosigner_vkey,
    find_cosignature,
    verify_signed_by,
)
from hallmark.core.keys import wrap_public_key
from hallmark.core.merkle import MAX_TREE_SIZE
from hallmark.core.note import Note, NoteSignature
from hallmark.core.vkey import ctlog_vkey, log_vkey
from hallmark.core.witness_policy import (
    MAX_GROUPS,
    MAX_LOGS,
    MAX_POLICY_BYTES,
    MAX_URL_BYTES,
    MAX_WITNESSES,
    parse_witness_policy,
)
from hallmark.core.x509.sth import sth_note_signature
from hallmark.errors import InvalidSignature, MalformedInput

STATED = Checkpoint("log.example", 5, bytes(32))


def refused(act, code: str, reason: str | None = None) -> None:
    with pytest.raises(MalformedInput, match=reason) as caught:
        act()
    assert caught.value.code == code


@pytest.mark.parametrize("lines", [0, 1, MAX_EXTENSIONS, MAX_EXTENSIONS + 1])
def test_a_checkpoint_has_up_to_16_extension_lines(lines):
    stated = Checkpoint("log.example", 5, bytes(32), ("more",) * lines)
    if lines > MAX_EXTENSIONS:
        refused(lambda: parse_checkpoint(stated.to_text()), "malformed_checkpoint")
    else:
        assert parse_checkpoint(stated.to_text()) == stated


@pytest.mark.parametrize(
    "size", ["0", str(MAX_TREE_SIZE), str(MAX_TREE_SIZE + 1), "9" * 5000, "05", "+5", "\u0665", "\u00b2", ""]
)
def test_a_checkpoint_states_its_size_in_one_way(size):
    text = STATED.to_text().replace("\n5\n", f"\n{size}\n")
    if size in {"0", str(MAX_TREE_SIZE)}:
        assert parse_checkpoint(text).size == int(size)
    else:
        refused(lambda: parse_checkpoint(text), "malformed_checkpoint")


@pytest.mark.parametrize(
    "root", ["", "AA==", "A" * 44, "A" * 43 + "=\u00e9", "A" * 20 + "!" + "A" * 23 + "="]
)
def test_a_checkpoint_has_a_root_hash(root):
    text = STATED.to_text().rsplit("\n", 2)[0] + f"\n{root}\n"
    refused(lambda: parse_checkpoint(text), "malformed_checkpoint")


@pytest.mark.parametrize(
    "key", [Ed25519PrivateKey.generate(), MLDSA44PrivateKey.generate()], ids=["ed", "ml"]
)
@pytest.mark.parametrize("time", [-1, 0, MAX_TIMESTAMP, MAX_TIMESTAMP + 1])
def test_a_cosignature_states_a_time_from_1970_on(key, time):
    vkey = cosigner_vkey("w.example", key)
    if 0 <= time <= MAX_TIMESTAMP:
        assert cosigned_message(STATED, vkey, time)
    else:
        refused(lambda: cosigned_message(STATED, vkey, time), "malformed_cosignature")


@pytest.mark.parametrize("length", [1, 255, 256])
def test_an_ml_dsa_cosignature_states_names_of_up_to_255_bytes(length):
    key = MLDSA44PrivateKey.generate()
    stated = Checkpoint("l" * length, 5, bytes(32))
    for vkey, what in ((cosigner_vkey("w", key), stated), (cosigner_vkey("w" * length, key), STATED)):
        if length > 255:
            refused(lambda vkey=vkey, what=what: cosigned_message(what, vkey, 1), "malformed_cosignature")
        else:
            assert cosigned_message(what, vkey, 1)


def test_a_name_that_is_empty_cannot_be_stated():
    vkey = cosigner_vkey("w", MLDSA44PrivateKey.generate())
    refused(lambda: cosigned_message(Checkpoint("", 5, bytes(32)), vkey, 1), "malformed_cosignature")


ED, EC, ML = (
    Ed25519PrivateKey.generate(),
    ec.generate_private_key(ec.SECP256R1()),
    MLDSA44PrivateKey.generate(),
)
OTHER_ED, OTHER_EC = Ed25519PrivateKey.generate(), ec.generate_private_key(ec.SECP256R1())


def plain(key: Ed25519PrivateKey, message: str) -> NoteSignature:
    vkey = log_vkey("log.example", wrap_public_key(ED.public_key()))
    return NoteSignature(vkey.name, vkey.key_id, key.sign(message.encode()))


def tree_head(key: ec.EllipticCurvePrivateKey, size: int) -> NoteSignature:
    log_id = wrap_public_key(EC.public_key()).key_id
    return sth_note_signature(
        "log.example",
        log_id,
        lambda data: key.sign(data, ec.ECDSA(hashes.SHA256())),
        size=size,
        root=bytes(32),
        time_ms=1,
    )


def signed_by(vkey, line: NoteSignature) -> None:
    verify_signed_by(Note(STATED.to_text(), (line,)), STATED, vkey)


def test_a_log_may_sign_plainly_or_tree_heads_or_as_a_cosigner_and_each_is_checked():
    ml = cosigner_vkey("log.example", ML)
    ct = ctlog_vkey("log.example", wrap_public_key(EC.public_key()))
    log = log_vkey("log.example", wrap_public_key(ED.public_key()))
    good = (log, plain(ED, STATED.to_text())), (ct, tree_head(EC, 5)), (ml, cosign(STATED, ml, ML, 1))
    for vkey, line in good:
        signed_by(vkey, line)
        for other, _ in good:
            if other is not vkey:
                with pytest.raises(InvalidSignature) as caught:
                    signed_by(other, line)
                assert caught.value.code == "unsigned_note"
    false = cosign(Checkpoint("log.example", 6, bytes(32)), ml, ML, 1)
    for vkey, line in (
        (log, plain(ED, "else")),
        (log, plain(OTHER_ED, STATED.to_text())),
        (ct, tree_head(OTHER_EC, 5)),
        (ct, tree_head(EC, 6)),
        (ml, false),
    ):
        with pytest.raises(InvalidSignature):
            signed_by(vkey, line)


def test_a_cosignature_is_found_by_name_and_key():
    vkey = cosigner_vkey("w.example", ED)
    line = cosign(STATED, vkey, ED, 1)
    for other in (NoteSignature("v.example", line.key_id, b"x"), NoteSignature("w.example", b"abcd", b"x")):
        note = Note(STATED.to_text(), (other, line))
        assert find_cosignature(note, STATED, vkey).timestamp == 1
        assert find_cosignature(Note(note.text, (other,)), STATED, vkey) is None


def key_text(number: int) -> str:
    return cosigner_vkey(f"w{number}", Ed25519PrivateKey.from_private_bytes(number.to_bytes(32))).to_text()


def policy(*lines: str, quorum: str = "none"):
    return parse_witness_policy("\n".join([*lines, f"quorum {quorum}"]).encode())


def too_many(reason: str, *lines: str) -> None:
    refused(lambda: policy(*lines), "malformed_witness_policy", reason)


def test_a_policy_has_so_many_logs_witnesses_and_groups():
    logs = [f"log {key_text(number)}" for number in range(1, MAX_LOGS + 2)]
    witnesses = [f"witness n{number} {key_text(number)}" for number in range(1, MAX_WITNESSES + 2)]
    groups = [
        f"group g{number} any {name}"
        for number, name in enumerate(["n1", *(f"g{n}" for n in range(MAX_GROUPS))])
    ]
    assert len(policy(*logs[:-1]).logs) == MAX_LOGS
    assert len(policy(*witnesses[:-1]).witnesses) == MAX_WITNESSES
    assert len(policy(witnesses[0], *groups[:-1]).groups) == MAX_GROUPS
    too_many("more than 48 logs", *logs)
    too_many("more than 48 witnesses", *witnesses)
    too_many("more than 48 groups", witnesses[0], *groups)


def test_a_policy_has_up_to_512_kibibytes():
    line = b"quorum none\n#"
    assert parse_witness_policy(line.ljust(MAX_POLICY_BYTES, b"#")).quorum == "none"
    refused(
        lambda: parse_witness_policy(line.ljust(MAX_POLICY_BYTES + 1, b"#")),
        "malformed_witness_policy",
        "too large",
    )


@pytest.mark.parametrize("more", [0, 1])
def test_a_url_has_up_to_2048_bytes(more):
    line = f"log {key_text(1)} " + "https://x/".ljust(MAX_URL_BYTES + more, "a")
    if more:
        too_many("is not a URL", line)
    else:
        assert len(policy(line).logs[0].url) == MAX_URL_BYTES


@pytest.mark.parametrize(
    ("line", "form"),
    [
        ("log", "log <vkey>"),
        (f"log {key_text(1)} https://x more", "log <vkey>"),
        ("witness n", "witness <name>"),
        (f"witness n {key_text(1)} https://x more", "witness <name>"),
        ("group g any", "group <name>"),
        ("quorum", "quorum <name>"),
        ("quorum none none", "quorum <name>"),
    ],
)
def test_a_line_has_its_words(line, form):
    too_many(f"of the form {form}", line)
