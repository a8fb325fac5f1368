"""Signed notes and checkpoints (C2SP signed-note, tlog-checkpoint)."""

import base64
import hashlib

import pytest
from tests.support import world as w

from hallmark.core.checkpoint import Checkpoint, parse_checkpoint, verify_checkpoint
from hallmark.core.merkle import EMPTY_ROOT, MAX_TREE_SIZE
from hallmark.core.note import (
    MAX_NOTE_BYTES,
    MAX_SIGNATURES,
    Note,
    NoteSignature,
    check_key_name,
    ed25519_key_hash,
    note_key_hash,
    parse_note,
    verify_note,
)
from hallmark.errors import InvalidProof, InvalidSignature, MalformedInput

LINE = NoteSignature("log.example", b"abcd", b"signature")
NOTE = Note("text\n", (LINE,))
CHECKPOINT = Checkpoint("log.example", 5, bytes(32))


def test_prints_and_reads_notes():
    text = "text\n\nafter an empty line\n"
    for note in (NOTE, Note(text, (LINE, LINE)), Note("\n", (LINE,)), Note("\u00e9\n", (LINE,))):
        assert parse_note(note.to_bytes()) == note
        assert parse_note(note.to_bytes()).to_bytes() == note.to_bytes()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"text\n",
        b"text\n\n",
        NOTE.to_bytes()[:-1],
        NOTE.to_bytes() + b"\n",
        b"te\x00xt\n\n" + LINE.to_text().encode(),
        b"te\rxt\n\n" + LINE.to_text().encode(),
        b"te\xffxt\n\n" + LINE.to_text().encode(),
        b"text\n\n- log.example YWJjZGU=\n",
        b"text\n\nlog.example YWJjZGU=\n",
        b"x" + LINE.to_text().encode(),
        "text\n\n\u2014 log.example\n".encode(),
        "text\n\n\u2014 log.example YWJjZA==\n".encode(),
        "text\n\n\u2014 log.example YWJjZGU\n".encode(),
        "text\n\n\u2014 log.example YWJjZGV=\n".encode(),
        "text\n\n\u2014 log.example !!!!\n".encode(),
        "text\n\n\u2014 log+example YWJjZGU=\n".encode(),
        "text\n\n\u2014  YWJjZGU=\n".encode(),
        "text\n\n\u2014 log\u00a0example YWJjZGU=\n".encode(),
        "text\n\n\u2014 log.example YWJjZGU= \n".encode(),
        Note("text\n", (LINE,) * 65).to_bytes(),
        Note("x" * 300_000 + "\n", (LINE,)).to_bytes(),
    ],
)
def test_refuses_a_note_that_it_would_not_print(data):
    with pytest.raises(MalformedInput):
        parse_note(data)


def test_a_note_has_up_to_sixty_four_signatures():
    assert len(parse_note(Note("text\n", (LINE,) * MAX_SIGNATURES).to_bytes()).signatures) == MAX_SIGNATURES
    with pytest.raises(MalformedInput, match="more than 64"):
        parse_note(Note("text\n", (LINE,) * (MAX_SIGNATURES + 1)).to_bytes())


def test_a_note_has_up_to_a_quarter_of_a_mebibyte():
    bare = len(Note("\n", (LINE,)).to_bytes())
    note = Note("x" * (MAX_NOTE_BYTES - bare) + "\n", (LINE,))
    assert len(note.to_bytes()) == MAX_NOTE_BYTES == 256 * 1024
    assert parse_note(note.to_bytes()) == note
    with pytest.raises(MalformedInput, match="too large"):
        parse_note(b"x" + note.to_bytes())


def test_a_signature_has_at_least_one_byte_behind_its_key_id():
    (line,) = parse_note("text\n\n\u2014 log.example YWJjZGU=\n".encode()).signatures
    assert (line.key_id, line.signature) == (b"abcd", b"e")


@pytest.mark.parametrize("name", ["", "a b", "a+b", "a\tb", "a\u2003b"])
def test_refuses_a_name_that_no_key_may_have(name):
    with pytest.raises(MalformedInput):
        check_key_name(name)


def test_key_ids_depend_on_the_kind_of_key():
    key = w.public_key("ed25519-log")
    expected = hashlib.sha256(b"log.example\n\x01" + key.spki[-32:]).digest()
    assert note_key_hash("log.example", key) == ed25519_key_hash("log.example", key.spki[-32:]) == expected
    key = w.public_key("p256-log")
    assert note_key_hash("log.example", key) == hashlib.sha256(key.spki).digest()


def test_the_key_id_of_the_public_logs_key():
    """The log id that the public Rekor v2 log of 2025 has in the public trusted root."""
    raw_key = base64.b64decode("t8rlp1knGwjfbcXAYPYAkn0XiLz1x8O4t0YkEhie244=")
    found = ed25519_key_hash("log2025-1.rekor.sigstore.dev", raw_key)
    assert base64.b64encode(found) == b"zxGZFVvd0FEmjR8WrFwMdcAJ9vtaY/QXf44Y1wUeP6A="


@pytest.mark.parametrize("key", ["ed25519-log", "p256-log", "p384-log"])
def test_verifies_a_note_of_each_kind_of_key(key):
    verify_note(
        parse_note(w.signed_checkpoint(CHECKPOINT, "log.example", key)), "log.example", w.public_key(key)
    )


def test_lines_of_other_names_and_keys_are_ignored():
    key = w.public_key("ed25519-log")
    note = parse_note(w.signed_checkpoint(CHECKPOINT, "log.example", "ed25519-log"))
    key_id = note.signatures[0].key_id
    others = [
        NoteSignature("other.example", key_id, bytes(64)),
        NoteSignature("log.example", b"abcd", bytes(64)),
    ]
    verify_note(Note(note.text, (*others, *note.signatures)), "log.example", key)
    for other in others:
        with pytest.raises(InvalidSignature) as caught:
            verify_note(Note(note.text, (other,)), "log.example", key)
        assert caught.value.code == "unsigned_note"


def test_a_second_false_signature_of_the_same_key_is_refused():
    note = parse_note(w.signed_checkpoint(CHECKPOINT, "log.example", "ed25519-log"))
    false = NoteSignature("log.example", note.signatures[0].key_id, bytes(64))
    with pytest.raises(InvalidSignature):
        verify_note(Note(note.text, (*note.signatures, false)), "log.example", w.public_key("ed25519-log"))


@pytest.mark.parametrize(
    "checkpoint",
    [
        CHECKPOINT,
        Checkpoint("log.example", 0, EMPTY_ROOT),
        Checkpoint("log.example/path", MAX_TREE_SIZE, bytes(32), ("extension", "two")),
        Checkpoint("rekor.local - 1193050959916656506", 5, bytes(32)),
    ],
)
def test_prints_and_reads_checkpoints(checkpoint):
    assert parse_checkpoint(checkpoint.to_text()) == checkpoint


ROOT = base64.b64encode(bytes(32)).decode()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "log.example\n",
        f"log.example\n5\n{ROOT}",
        f"\n5\n{ROOT}\n",
        f"log.example\n05\n{ROOT}\n",
        f"log.example\n-5\n{ROOT}\n",
        f"log.example\n+5\n{ROOT}\n",
        f"log.example\n\u0665\n{ROOT}\n",
        f"log.example\n{MAX_TREE_SIZE + 1}\n{ROOT}\n",
        f"log.example\n{'9' * 5000}\n{ROOT}\n",
        f"log.example\n5\n{ROOT[:-1]}\n",
        f"log.example\n5\n{ROOT[:-2]}B=\n",
        "log.example\n5\nYWJj\n",
        "log.example\n5\n!!\n",
        f"log.example\n5\n{ROOT}\n\n",
        f"log.example\n5\n{ROOT}\n" + "extension\n" * 17,
    ],
)
def test_refuses_a_checkpoint_that_it_would_not_print(text):
    with pytest.raises(MalformedInput):
        parse_checkpoint(text)


def test_verifies_a_signed_checkpoint():
    key, envelope = w.public_key("ed25519-log"), w.signed_checkpoint(CHECKPOINT, "log.example", "ed25519-log")
    found = verify_checkpoint(envelope, origin="log.example", key_name="log.example", key=key)
    assert found == CHECKPOINT
    with pytest.raises(InvalidProof):
        verify_checkpoint(envelope, origin="other.example", key_name="log.example", key=key)
    with pytest.raises(InvalidSignature):
        verify_checkpoint(envelope, origin="log.example", key_name="other.example", key=key)
