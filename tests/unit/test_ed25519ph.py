"""Ed25519ph against the example of RFC 8032 section 7.3 and against changes of it."""

import hashlib

import pytest

from hallmark.core.ed25519ph import verify_ed25519ph
from hallmark.errors import InvalidSignature, MalformedInput

KEY = bytes.fromhex("ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf")
SIGNATURE = bytes.fromhex(
    "98a70222f0b8121aa9d30f813d683f809e462b469c7ff87639499bb94e6dae41"
    "31f85042463c2a355a2003d062adf5aaa10b8c61e636062aaad11c2a26083406"
)
DIGEST = hashlib.sha512(b"abc").digest()
ORDER = 2**252 + 27742317777372353535851937790883648493


def test_accepts_the_example_of_the_specification():
    verify_ed25519ph(KEY, SIGNATURE, DIGEST)


@pytest.mark.parametrize("position", [0, 31, 32, 63])
def test_refuses_any_other_signature(position):
    changed = bytearray(SIGNATURE)
    changed[position] ^= 1
    with pytest.raises(InvalidSignature):
        verify_ed25519ph(KEY, bytes(changed), DIGEST)


@pytest.mark.parametrize("signature", [b"", SIGNATURE[:-1], SIGNATURE + b"\0"])
def test_refuses_a_signature_of_another_length(signature):
    with pytest.raises(InvalidSignature):
        verify_ed25519ph(KEY, signature, DIGEST)


def test_refuses_the_second_spelling_of_a_signature():
    scalar = int.from_bytes(SIGNATURE[32:], "little") + ORDER
    with pytest.raises(InvalidSignature):
        verify_ed25519ph(KEY, SIGNATURE[:32] + scalar.to_bytes(32, "little"), DIGEST)


@pytest.mark.parametrize("digest", [b"", DIGEST[:-1], bytes(64), hashlib.sha256(b"abc").digest()])
def test_refuses_another_digest(digest):
    reason = "does not verify" if len(digest) == 64 else "a digest of 64 bytes"
    with pytest.raises(InvalidSignature, match=reason):
        verify_ed25519ph(KEY, SIGNATURE, digest)


@pytest.mark.parametrize("key", [b"", bytes(31), b"\xff" * 32])
def test_refuses_a_key_that_is_no_point(key):
    with pytest.raises(MalformedInput):
        verify_ed25519ph(key, SIGNATURE, DIGEST)
