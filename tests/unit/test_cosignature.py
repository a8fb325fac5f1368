"""Cosignatures, verifier keys: the bytes are those of the specifications, and nothing else verifies."""

import base64
import hashlib

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey

from hallmark.core.checkpoint import Checkpoint
from hallmark.core.cosignature import (
    cosign,
    cosigned_message,
    cosigner_vkey,
    find_cosignature,
    verify_cosignature,
    verify_signed_by,
)
from hallmark.core.keys import wrap_public_key
from hallmark.core.note import Note, NoteSignature
from hallmark.core.vkey import ED25519, log_vkey, parse_vkey, verifier_key
from hallmark.errors import InvalidSignature, MalformedInput

ROOT = base64.b64decode("CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=")
CHECKPOINT = Checkpoint("example.com/behind-the-sofa", 20852163, ROOT)
TIME = 1679315147
NAME = "witness.example.com/w1"
KEYS = {
    "ed25519": Ed25519PrivateKey.from_private_bytes(bytes(range(32))),
    "ml-dsa-44": MLDSA44PrivateKey.from_seed_bytes(bytes(range(32))),
}
TYPES = {"ed25519": 4, "ml-dsa-44": 6}


@pytest.fixture(params=KEYS)
def kind(request):
    return request.param


def test_signs_the_messages_of_the_specification():
    ed25519 = cosigned_message(CHECKPOINT, cosigner_vkey(NAME, KEYS["ed25519"]), TIME)
    assert ed25519.decode() == (
        "cosignature/v1\ntime 1679315147\nexample.com/behind-the-sofa\n20852163\n"
        "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"
    )
    subtree = cosigned_message(CHECKPOINT, cosigner_vkey(NAME, KEYS["ml-dsa-44"]), TIME)
    assert subtree == (
        b"subtree/v1\n\0" + b"\x16witness.example.com/w1" + bytes.fromhex("00000000641850cb")
        + b"\x1bexample.com/behind-the-sofa" + bytes(8) + (20852163).to_bytes(8, "big") + ROOT
    )  # fmt: skip


def test_lines_and_key_ids_have_the_layout_of_the_specification(kind):
    key, vkey = KEYS[kind], cosigner_vkey(NAME, KEYS[kind])
    raw = key.public_key().public_bytes_raw()
    identified = hashlib.sha256(NAME.encode() + b"\n" + bytes([TYPES[kind]]) + raw).digest()[:4]
    encoded = base64.b64encode(bytes([TYPES[kind]]) + raw).decode()
    assert vkey.to_text() == f"{NAME}+{identified.hex()}+{encoded}"
    line = cosign(CHECKPOINT, vkey, key, TIME)
    assert (line.name, line.key_id) == (NAME, identified)
    assert line.signature[:8] == TIME.to_bytes(8, "big")
    assert len(line.signature) == 8 + {"ed25519": 64, "ml-dsa-44": 2420}[kind]
    key.public_key().verify(line.signature[8:], cosigned_message(CHECKPOINT, vkey, TIME))


def test_a_cosignature_verifies_and_says_when_it_was_made(kind):
    vkey = cosigner_vkey(NAME, KEYS[kind])
    line = cosign(CHECKPOINT, vkey, KEYS[kind], TIME)
    verified = verify_cosignature(line, CHECKPOINT, vkey)
    assert (verified.timestamp, verified.line, verified.key.name) == (TIME, line, NAME)
    verify_signed_by(Note(CHECKPOINT.to_text(), (line,)), CHECKPOINT, vkey)


@pytest.mark.parametrize(
    "change",
    [
        lambda line: msgspec.structs.replace(line, signature=bytes(8) + line.signature[8:]),
        lambda line: msgspec.structs.replace(line, signature=line.signature[:-1] + b"\xff"),
        lambda line: msgspec.structs.replace(line, signature=line.signature + b"\0"),
        lambda line: msgspec.structs.replace(line, signature=line.signature[:8]),
        lambda line: msgspec.structs.replace(line, name="other"),
        lambda line: msgspec.structs.replace(line, key_id=b"none"),
    ],
)
def test_refuses_a_changed_cosignature(kind, change):
    vkey = cosigner_vkey(NAME, KEYS[kind])
    line = change(cosign(CHECKPOINT, vkey, KEYS[kind], TIME))
    with pytest.raises(InvalidSignature):
        verify_cosignature(line, CHECKPOINT, vkey)


def test_refuses_a_cosignature_of_another_checkpoint(kind):
    vkey = cosigner_vkey(NAME, KEYS[kind])
    line = cosign(CHECKPOINT, vkey, KEYS[kind], TIME)
    for change in ({"size": 20852164}, {"root": bytes(32)}, {"origin": "example.com/other"}):
        with pytest.raises(InvalidSignature):
            verify_cosignature(line, msgspec.structs.replace(CHECKPOINT, **change), vkey)


def test_ml_dsa_commits_to_the_name_and_ed25519_does_not_to_extension_lines_alone():
    key = KEYS["ml-dsa-44"]
    line = cosign(CHECKPOINT, cosigner_vkey(NAME, key), key, TIME)
    other = cosigner_vkey("witness.example.com/w2", key)
    renamed = NoteSignature(other.name, other.key_id, line.signature)
    with pytest.raises(InvalidSignature):
        verify_cosignature(renamed, CHECKPOINT, other)
    extended = msgspec.structs.replace(CHECKPOINT, extensions=("more",))
    verify_cosignature(line, extended, cosigner_vkey(NAME, key))
    vkey = cosigner_vkey(NAME, KEYS["ed25519"])
    with pytest.raises(InvalidSignature):
        verify_cosignature(cosign(CHECKPOINT, vkey, KEYS["ed25519"], TIME), extended, vkey)


def test_a_false_line_of_a_known_key_spoils_the_note_and_lines_of_others_do_not(kind):
    vkey = cosigner_vkey(NAME, KEYS[kind])
    good = cosign(CHECKPOINT, vkey, KEYS[kind], TIME)
    stranger = NoteSignature(NAME, b"else", b"x")
    text = CHECKPOINT.to_text()
    assert find_cosignature(Note(text, (stranger, good)), CHECKPOINT, vkey).line == good
    assert find_cosignature(Note(text, (stranger,)), CHECKPOINT, vkey) is None
    with pytest.raises(InvalidSignature):
        find_cosignature(Note(text, (good, NoteSignature(NAME, vkey.key_id, b"x"))), CHECKPOINT, vkey)


def test_cannot_state_a_time_or_name_that_does_not_fit():
    vkey = cosigner_vkey(NAME, KEYS["ed25519"])
    with pytest.raises(MalformedInput):
        cosign(CHECKPOINT, vkey, KEYS["ed25519"], 2**63)
    long = cosigner_vkey("n" * 256, KEYS["ml-dsa-44"])
    with pytest.raises(MalformedInput):
        cosign(CHECKPOINT, long, KEYS["ml-dsa-44"], TIME)


def test_log_keys_are_printed_and_read_in_their_own_types():
    ed25519 = wrap_public_key(KEYS["ed25519"].public_key())
    ecdsa = wrap_public_key(ec.generate_private_key(ec.SECP256R1()).public_key())
    for key, signature_type in ((ed25519, 1), (ecdsa, 2)):
        vkey = log_vkey("log.example", key)
        assert vkey.signature_type == signature_type
        assert parse_vkey(vkey.to_text()) == vkey
    assert log_vkey("log.example", ecdsa).key_id == hashlib.sha256(ecdsa.spki).digest()[:4]


def good_vkey() -> str:
    return verifier_key("n", ED25519, KEYS["ed25519"].public_key().public_bytes_raw()).to_text()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "n",
        "n+",
        "n++",
        "+" + good_vkey().partition("+")[2],
        "a b" + good_vkey()[1:],
        good_vkey().upper(),
        good_vkey().replace("n+", "m+"),
        good_vkey() + "=",
        good_vkey() + "\n",
        good_vkey()[:-4],
        "n+00000000+AQ==",
        "n+00000000+" + base64.b64encode(b"\x05" + bytes(32)).decode(),
        "n+00000000+" + base64.b64encode(b"\x02" + bytes(91)).decode(),
        "n+00000000+" + "A" * 5000,
    ],
)
def test_refuses_malformed_verifier_keys(text):
    with pytest.raises(MalformedInput):
        parse_vkey(text)
