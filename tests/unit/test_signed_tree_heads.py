"""The signature of a CT log's checkpoint: its form, its algorithm, and which of several times counts."""

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from hallmark.core.checkpoint import Checkpoint
from hallmark.core.keys import wrap_public_key
from hallmark.core.note import Note, NoteSignature
from hallmark.core.x509.sth import sth_note_signature, tree_head_signature_input, verify_sth_note
from hallmark.errors import InvalidSignature, MalformedInput

ORIGIN = "log.example/ct"
SIGNER = ec.generate_private_key(ec.SECP256R1())
KEY = wrap_public_key(SIGNER.public_key())
STATED = Checkpoint(ORIGIN, 5, bytes(32))


def line(time_ms: int) -> NoteSignature:
    def sign(data: bytes) -> bytes:
        return SIGNER.sign(data, ec.ECDSA(hashes.SHA256()))

    return sth_note_signature(ORIGIN, KEY.key_id, sign, size=5, root=bytes(32), time_ms=time_ms)


def verify(*lines: NoteSignature):
    return verify_sth_note(Note(STATED.to_text(), lines).to_bytes(), origin=ORIGIN, key=KEY)


def changed(change) -> NoteSignature:
    made = line(1000)
    return NoteSignature(made.name, made.key_id, change(made.signature))


@pytest.mark.parametrize("times", [(1000,), (1000, 2000), (2000, 1000), (1000, 3000, 2000)])
def test_the_latest_time_counts(times):
    assert verify(*map(line, times)).timestamp == max(times)


def test_bytes_behind_a_signature_are_refused():
    with pytest.raises(MalformedInput):
        verify(changed(lambda signature: signature + b"x"))


@pytest.mark.parametrize("algorithm", [b"\x04\x01", b"\x05\x03", b"\x00\x00"])
def test_a_signature_names_its_algorithm(algorithm):
    with pytest.raises(InvalidSignature, match="ECDSA and SHA-256"):
        verify(changed(lambda signature: signature[:8] + algorithm + signature[10:]))


def test_the_time_is_signed():
    with pytest.raises(InvalidSignature):
        verify(changed(lambda signature: (1001).to_bytes(8) + signature[8:]))


def test_what_is_signed_are_the_bytes_of_the_rfc():
    """RFC 6962 section 3.5: version, type, time, size, root hash."""
    expected = b"\x00\x01" + (1000).to_bytes(8) + (5).to_bytes(8) + bytes(32)
    assert tree_head_signature_input(5, bytes(32), 1000) == expected
