"""Signed tree heads and precertificates, for whatever values."""

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509 import ObjectIdentifier
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.small_ca import NOW, ORIGIN

from hallmark.adapters.keys.file import SoftwareKey
from hallmark.core.checkpoint import Checkpoint
from hallmark.core.keys import parse_public_key
from hallmark.core.note import Note, parse_note
from hallmark.core.x509.oids import PRECERTIFICATE_POISON
from hallmark.core.x509.sth import sth_note_signature, verify_sth_note
from hallmark.core.x509.tbs import POISON_VALUE, remove_poison
from hallmark.errors import HallmarkError, InvalidProof, InvalidSignature, MalformedInput

KEY = ec.generate_private_key(ec.SECP256R1())
SIGNER = SoftwareKey(KEY)
PUBLIC = parse_public_key(SIGNER.spki)
OTHER = parse_public_key(SoftwareKey(ec.generate_private_key(ec.SECP256R1())).spki)


def tree_head(size: int = 3, root: bytes = b"r" * 32, time_ms: int = 5, origin: str = ORIGIN) -> Note:
    line = sth_note_signature(origin, PUBLIC.key_id, SIGNER.sign, size=size, root=root, time_ms=time_ms)
    return Note(Checkpoint(origin, size, root).to_text(), (line,))


@given(
    size=st.integers(0, 2**63 - 1),
    root=st.binary(min_size=32, max_size=32),
    time_ms=st.integers(0, 2**64 - 1),
)
def test_a_signed_tree_head_verifies_and_says_what_was_signed(size, root, time_ms):
    head = verify_sth_note(tree_head(size, root, time_ms).to_bytes(), origin=ORIGIN, key=PUBLIC)
    assert (head.checkpoint, head.timestamp) == (Checkpoint(ORIGIN, size, root), time_ms)


NOTE = tree_head().to_bytes()  # made once: ECDSA signatures differ in length, and examples must not


@given(data=st.data())
def test_any_changed_byte_is_refused(data):
    note = bytearray(NOTE)
    position = data.draw(st.integers(0, len(note) - 1))
    note[position] ^= data.draw(st.integers(1, 255))
    with pytest.raises(HallmarkError):
        verify_sth_note(bytes(note), origin=ORIGIN, key=PUBLIC)


def test_refuses_another_origin_key_or_extension_lines():
    with pytest.raises(InvalidProof):
        verify_sth_note(tree_head(origin="other/ctlog").to_bytes(), origin=ORIGIN, key=PUBLIC)
    with pytest.raises(InvalidSignature):
        verify_sth_note(tree_head().to_bytes(), origin=ORIGIN, key=OTHER)
    note = tree_head()
    with pytest.raises(InvalidProof):
        verify_sth_note(Note(note.text + "more\n", note.signatures).to_bytes(), origin=ORIGIN, key=PUBLIC)


def test_signatures_of_others_are_ignored_but_all_of_ours_must_hold():
    note = tree_head()
    (line,) = note.signatures
    witness = msgspec.structs.replace(line, name="witness.example", key_id=b"1234")
    verify_sth_note(Note(note.text, (witness, line)).to_bytes(), origin=ORIGIN, key=PUBLIC)
    (other,) = tree_head(size=4).signatures
    with pytest.raises(InvalidSignature):
        verify_sth_note(Note(note.text, (line, other)).to_bytes(), origin=ORIGIN, key=PUBLIC)
    short = msgspec.structs.replace(line, signature=line.signature[:20])
    with pytest.raises(MalformedInput):
        verify_sth_note(Note(note.text, (short,)).to_bytes(), origin=ORIGIN, key=PUBLIC)


def test_the_signature_line_has_the_specified_layout():
    (line,) = parse_note(tree_head(time_ms=0x0102030405060708).to_bytes()).signatures
    assert line.signature[:8] == bytes(range(1, 9))
    assert line.signature[8:10] == b"\x04\x03"
    assert int.from_bytes(line.signature[10:12], "big") == len(line.signature) - 12


extensions = st.lists(
    st.tuples(st.integers(1, 2**31), st.booleans(), st.binary(max_size=40)),
    max_size=6,
    unique_by=lambda item: item[0],
)


@settings(max_examples=50)
@given(before=extensions, after=extensions, serial=st.integers(1, 2**159 - 1))
def test_removing_the_poison_leaves_every_other_byte(before, after, serial):
    def build(*, poison: bool) -> bytes:
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([]))
            .issuer_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Ünïcode")]))
            .public_key(KEY.public_key())
            .serial_number(serial)
            .not_valid_before(NOW)
            .not_valid_after(NOW.replace(year=2051))
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        )
        arcs = [("1.3.9999.1", before), ("1.3.9999.2", after)]
        for position, (arc, items) in enumerate(arcs):
            for number, critical, value in items:
                unknown = x509.UnrecognizedExtension(ObjectIdentifier(f"{arc}.{number}"), value)
                builder = builder.add_extension(unknown, critical)
            if poison and position == 0:
                poison_extension = x509.UnrecognizedExtension(PRECERTIFICATE_POISON, POISON_VALUE)
                builder = builder.add_extension(poison_extension, critical=True)
        return builder.sign(KEY, hashes.SHA256()).tbs_certificate_bytes

    assert remove_poison(build(poison=True)) == build(poison=False)


@given(data=st.binary(max_size=200))
def test_bytes_that_are_no_certificate_are_refused(data):
    with pytest.raises(MalformedInput):
        remove_poison(data)
