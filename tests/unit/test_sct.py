"""Signed certificate timestamps and the TLS presentation language."""

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from tests.support import world as w

from hallmark.core.encoding.tls import Reader, uint, vector
from hallmark.core.keys import wrap_public_key
from hallmark.core.x509.sct import (
    PrecertEntry,
    Sct,
    X509Entry,
    leaf_index_extension,
    merkle_tree_leaf,
    parse_leaf_index,
    parse_sct,
    parse_sct_list,
    sct_list_extension,
    timestamped_entry,
    verify_sct,
)
from hallmark.errors import InvalidCertificate, MalformedInput

SCT = Sct(b"i" * 32, 1_000, b"ext", 4, 3, b"signature")


def test_reads_integers_and_vectors():
    reader = Reader(uint(5, 1) + uint(0x0102, 2) + vector(b"abc", 3), "the message")
    assert (reader.uint(1), reader.uint(2), reader.vector(3)) == (5, 0x0102, b"abc")
    assert reader.at_end
    reader.finish()


@pytest.mark.parametrize("data", [b"", b"\x05", b"\x00\x05abcd"])
def test_refuses_to_read_past_the_end(data):
    with pytest.raises(MalformedInput, match="the message ends early"):
        Reader(data, "the message").vector(2)


def test_refuses_what_follows_the_end():
    with pytest.raises(MalformedInput, match="1 bytes too many"):
        Reader(b"x", "the message").finish()


def test_integers_and_vectors_do_not_overflow():
    with pytest.raises(OverflowError):
        uint(256, 1)
    with pytest.raises(OverflowError):
        vector(b"x" * 256, 1)


def test_prints_the_bytes_of_the_rfc():
    expected = b"\x00" + b"i" * 32 + b"\0\0\0\0\0\0\x03\xe8" + b"\0\x03ext" + b"\x04\x03\0\x09signature"
    assert SCT.to_bytes() == expected
    assert parse_sct(expected) == SCT


def test_what_is_signed_is_what_the_tree_hashes():
    entry = PrecertEntry(b"k" * 32, b"tbs")
    assert timestamped_entry(1, entry, b"e") == bytes(7) + b"\x01\0\x01" + b"k" * 32 + b"\0\0\x03tbs\0\x01e"
    assert merkle_tree_leaf(1, entry, b"e") == b"\0\0" + timestamped_entry(1, entry, b"e")
    assert X509Entry(b"cert").to_bytes() == b"\0\0\0\0\x04cert"


@pytest.mark.parametrize(
    "data", [b"", b"\x01" + SCT.to_bytes()[1:], SCT.to_bytes()[:-1], SCT.to_bytes() + b"x"]
)
def test_refuses_a_broken_sct(data):
    with pytest.raises(MalformedInput):
        parse_sct(data)


def test_lists_of_scts_are_read_back():
    for scts in ((), (SCT,), (SCT, SCT)):
        assert parse_sct_list(sct_list_extension(scts)) == scts


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"\x04\x00",
        b"\x04\x03\x00\x02a",
        b"\x04\x03\x00\x00a",
        b"\x0c\x02\x00\x00",
        sct_list_extension([SCT] * 33),
    ],
)
def test_refuses_a_broken_list(value):
    with pytest.raises(MalformedInput):
        parse_sct_list(value)


def test_the_leaf_index_is_read_back():
    assert leaf_index_extension(7) == b"\x00\x00\x05\x00\x00\x00\x00\x07"
    for index in (0, 7, 2**40 - 1):
        assert parse_leaf_index(leaf_index_extension(index)) == index
    assert parse_leaf_index(b"") is None
    assert parse_leaf_index(b"\x01\x00\x01x" + leaf_index_extension(9)) == 9


@pytest.mark.parametrize(
    "data", [b"\x00\x00\x04abcd", leaf_index_extension(1) * 2, b"\x00", b"\x00\x00\x05abc"]
)
def test_refuses_a_broken_leaf_index(data):
    with pytest.raises(MalformedInput):
        parse_leaf_index(data)


def signed(key: str, **changes: object) -> Sct:
    entry = X509Entry(b"certificate")
    fields = {
        "log_id": w.public_key(key).key_id,
        "timestamp": 5,
        "extensions": b"",
        "hash_algorithm": 4,
        "signature_algorithm": 3,
        "signature": w.sign(key, merkle_tree_leaf(5, entry, b"")),
    }
    return Sct(**{**fields, **changes})


def test_verifies_with_the_logs_key():
    verify_sct(signed("p256-ct"), X509Entry(b"certificate"), w.public_key("p256-ct"))


@pytest.mark.parametrize(
    "changes", [{"timestamp": 6}, {"extensions": b"x"}, {"signature": b""}, {"hash_algorithm": 5}]
)
def test_refuses_an_sct_that_was_changed(changes):
    with pytest.raises(InvalidCertificate) as caught:
        verify_sct(signed("p256-ct", **changes), X509Entry(b"certificate"), w.public_key("p256-ct"))
    assert caught.value.code == "invalid_sct"


def test_refuses_an_sct_of_something_else():
    for entry, key in ((X509Entry(b"another"), "p256-ct"), (X509Entry(b"certificate"), "p256-otherct")):
        with pytest.raises(InvalidCertificate):
            verify_sct(signed("p256-ct"), entry, w.public_key(key))


def test_refuses_a_log_key_of_a_kind_that_ct_does_not_know():
    with pytest.raises(InvalidCertificate):
        verify_sct(signed("p256-ct"), X509Entry(b"certificate"), w.public_key("ed25519-log"))


@pytest.mark.parametrize(("named", "good"), [(1, True), (3, False), (2, False)])
def test_an_sct_names_the_algorithm_of_an_rsa_log(named, good):
    key = w.private_key("rsa-2048")
    entry = X509Entry(b"cert")
    signature = key.sign(merkle_tree_leaf(1, entry, b""), padding.PKCS1v15(), hashes.SHA256())
    log_key = wrap_public_key(key.public_key())
    sct = Sct(log_key.key_id, 1, b"", 4, named, signature)
    if good:
        verify_sct(sct, entry, log_key)
    else:
        with pytest.raises(InvalidCertificate, match="other algorithms"):
            verify_sct(sct, entry, log_key)
