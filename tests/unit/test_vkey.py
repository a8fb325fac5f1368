"""Verifier keys: names, types and keys that fit each other, in one spelling."""

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from hallmark.core.checkpoint import Checkpoint
from hallmark.core.cosignature import cosign, cosigner_vkey, verify_cosignature
from hallmark.core.note import NoteSignature
from hallmark.core.vkey import (
    ECDSA,
    ED25519,
    ED25519_COSIGNATURE,
    MAX_VKEY_CHARS,
    TREE_HEAD,
    parse_vkey,
    verifier_key,
)
from hallmark.errors import InvalidSignature, MalformedInput

RAW = ed25519.Ed25519PrivateKey.generate().public_key().public_bytes_raw()


def spki(key) -> bytes:
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


P256, P384 = (spki(ec.generate_private_key(curve)) for curve in (ec.SECP256R1(), ec.SECP384R1()))
RSA = spki(rsa.generate_private_key(65537, 2048))
MATERIAL = {"raw": RAW, "short": RAW[:-1], "none": b"", "p256": P256, "p384": P384, "rsa": RSA}


def refused(act, code: str = "malformed_vkey") -> str:
    with pytest.raises(MalformedInput) as caught:
        act()
    assert caught.value.code == code
    return caught.value.message


@pytest.mark.parametrize(
    ("kind", "material"),
    [(ED25519, "raw"), (ED25519_COSIGNATURE, "raw"), (ECDSA, "p256"), (ECDSA, "p384"), (TREE_HEAD, "p256")],
)
def test_a_key_is_read_as_it_is_printed(kind, material):
    key = verifier_key("log.example", kind, MATERIAL[material])
    assert parse_vkey(key.to_text()) == key


@pytest.mark.parametrize(
    ("kind", "material"),
    [
        (ECDSA, "rsa"),
        (TREE_HEAD, "rsa"),
        (TREE_HEAD, "p384"),
        (ED25519, "short"),
        (ED25519, "none"),
        (ECDSA, "raw"),
    ],
)
def test_a_type_has_its_kinds_of_keys(kind, material):
    with pytest.raises(MalformedInput) as caught:
        verifier_key("log.example", kind, MATERIAL[material])
    assert caught.value.code != "unsupported_vkey"


@pytest.mark.parametrize("kind", [0, 3, 7, 255])
def test_other_types_are_not_supported(kind):
    refused(lambda: verifier_key("log.example", kind, RAW), "unsupported_vkey")


@pytest.mark.parametrize("name", ["", "a b", "a+b", "a\nb"])
def test_a_name_can_stand_in_a_note(name):
    with pytest.raises(MalformedInput):
        verifier_key(name, ED25519, RAW)


def test_a_name_can_be_printed():
    assert "not a valid name" in refused(lambda: verifier_key("a\u200bb", ED25519, RAW))


@pytest.mark.parametrize(
    "text", ["", "x", "x+", "x+00000000", "x+00000000+", "x+00000000+*", "x+00000000+AQ=="]
)
def test_what_holds_no_key_is_refused(text):
    refused(lambda: parse_vkey(text))


def test_each_key_has_one_spelling():
    text = verifier_key("log.example", ED25519, RAW).to_text()
    name, key_id, encoded = text.split("+", 2)
    for other in (
        f"{name}+{key_id.upper()}+{encoded}" if key_id.upper() != key_id else f"{name}+0{key_id}+{encoded}",
        f"{name}+{key_id[:-1]}+{encoded}",
        f"{name}+{key_id}0+{encoded}",
        f"other+{key_id}+{encoded}",
        text + "\n",
        f"{name}+{key_id}+ {encoded}",
    ):
        refused(lambda other=other: parse_vkey(other))


@pytest.mark.parametrize("more", [0, 1])
def test_a_key_has_up_to_so_many_characters(more):
    rest = len(verifier_key("n", ED25519, RAW).to_text()) - 1
    text = verifier_key("n" * (MAX_VKEY_CHARS - rest + more), ED25519, RAW).to_text()
    assert len(text) == MAX_VKEY_CHARS + more
    if more:
        refused(lambda: parse_vkey(text))
    else:
        assert parse_vkey(text).to_text() == text


def test_only_the_named_key_cosigns():
    key, other = (ed25519.Ed25519PrivateKey.generate() for _ in range(2))
    vkey, stranger = cosigner_vkey("w.example", key), cosigner_vkey("w.example", other)
    stated = Checkpoint("log.example", 5, bytes(32))
    line = cosign(stated, vkey, key, 7)
    assert verify_cosignature(line, stated, vkey).timestamp == 7
    plain = verifier_key("w.example", ED25519, vkey.material)
    for wrong in (stranger, cosigner_vkey("v.example", key), plain):
        with pytest.raises(InvalidSignature) as caught:
            verify_cosignature(line, stated, wrong)
        assert caught.value.code == "unsigned_note"


def test_a_cosignature_has_its_length_and_is_of_a_key_that_cosigns():
    key = ed25519.Ed25519PrivateKey.generate()
    vkey = cosigner_vkey("w.example", key)
    stated = Checkpoint("log.example", 5, bytes(32))
    line = cosign(stated, vkey, key, 7)
    for signature in (line.signature[:-1], line.signature + b"x"):
        with pytest.raises(InvalidSignature, match=f"has {len(signature)} bytes"):
            verify_cosignature(NoteSignature(line.name, line.key_id, signature), stated, vkey)
    plain = verifier_key("w.example", ED25519, vkey.material)
    with pytest.raises(InvalidSignature, match="is not by"):
        verify_cosignature(NoteSignature(plain.name, plain.key_id, line.signature), stated, plain)


def test_a_key_that_is_not_base64_is_refused():
    encoded = base64.b64encode(bytes([ED25519]) + RAW).decode()
    refused(lambda: parse_vkey(f"n+00000000+{encoded[:8]}!{encoded[8:]}"))
