"""What makes an entry the same: its body, byte for byte, and the spellings of it that the log refuses."""

import base64
import json

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from tests.support import world as w
from tests.support.asgi_call import call
from tests.support.rekor import (
    ENTRIES,
    RekorLog,
    b64,
    changed,
    digest,
    dsse,
    hashedrekord,
    private_key,
    sign,
    spki,
    to_body,
)

P256 = "PKIX_ECDSA_P256_SHA_256"
P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
ED25519_ORDER = 2**252 + 27742317777372353535851937790883648493
RSA = "PKIX_RSA_PKCS1V15_2048_SHA256"
MESSAGE = b"message"
REQUEST = "hashedRekordRequestV002"
CONTENT = (REQUEST, "signature", "content")


@pytest.fixture
def rekor():
    with RekorLog() as log:
        yield log


def post(log, request: dict) -> int:
    """Add an entry; returns the status."""
    return call(log.routes, "POST", ENTRIES, to_body(request)).status


def with_signature(request: dict, signature: bytes) -> dict:
    return changed(request, *CONTENT, value=b64(signature))


def test_the_other_solution_of_an_ecdsa_signature_is_another_entry(rekor):
    """Verifiers compare an entry's signature with the bundle's: the log may neither change nor refuse it."""
    request = hashedrekord(P256)
    assert [post(rekor, request), post(rekor, request)] == [201, 409]
    r, s = decode_dss_signature(sign(P256, MESSAGE))
    for value in (s, P256_ORDER - s):
        other = with_signature(request, encode_dss_signature(r, value))
        assert [post(rekor, other), post(rekor, other)] == [201, 409]


def tlv(tag: int, content: bytes) -> bytes:
    return bytes([tag, len(content)]) + content


def integer(value: int, padding: bytes = b"") -> bytes:
    return tlv(2, padding + value.to_bytes(value.bit_length() // 8 + 1, "big"))


def ecdsa_spellings(signature: bytes) -> dict[str, bytes]:
    r, s = decode_dss_signature(signature)
    negative = (s - P256_ORDER).to_bytes(33, "big", signed=True)
    return {
        "r padded": tlv(0x30, integer(r, b"\0") + integer(s)),
        "s padded": tlv(0x30, integer(r) + integer(s, b"\0")),
        "long length": b"\x30\x81" + signature[1:],
        "indefinite length": b"\x30\x80" + signature[2:] + b"\0\0",
        "bytes behind": signature + b"\0",
        "bytes behind inside": tlv(0x30, signature[2:] + b"\5\0"),
        "r not reduced": encode_dss_signature(r + P256_ORDER, s),
        "s not reduced": encode_dss_signature(r, s + P256_ORDER),
        "s negative": tlv(0x30, integer(r) + tlv(2, negative)),
        "raw": r.to_bytes(32, "big") + s.to_bytes(32, "big"),
    }


def eddsa_spellings(signature: bytes) -> dict[str, bytes]:
    s = int.from_bytes(signature[32:], "little")
    return {
        "s not reduced": signature[:32] + (s + ED25519_ORDER).to_bytes(32, "little"),
        "bytes behind": signature + b"\0",
    }


def rsa_spellings(signature: bytes) -> dict[str, bytes]:
    value, modulus = int.from_bytes(signature, "big"), private_key(RSA, 0).public_key().public_numbers().n
    return {
        "padded": b"\0" + signature,
        "not reduced": (value + modulus).to_bytes(257, "big"),
        "not reduced, of the right length": ((value + modulus) % 2**2048).to_bytes(256, "big"),
    }


SPELLINGS = [
    (kind, name, spelled)
    for kind, spell in ((P256, ecdsa_spellings), ("PKIX_ED25519_PH", eddsa_spellings), (RSA, rsa_spellings))
    for name, spelled in spell(sign(kind, MESSAGE)).items()
]


@pytest.mark.parametrize(("kind", "name", "signature"), SPELLINGS, ids=[f"{a} {b}" for a, b, _ in SPELLINGS])
def test_a_signature_has_one_spelling_otherwise(rekor, kind, name, signature):
    assert post(rekor, with_signature(hashedrekord(kind), signature)) == 400


def test_a_pure_ed25519_signature_has_one_spelling(rekor):
    request = dsse("PKIX_ED25519")
    path = ("dsseRequestV002", "envelope", "signatures", 0, "sig")
    signed = request["dsseRequestV002"]["envelope"]["signatures"][0]["sig"]
    for spelled in eddsa_spellings(base64.b64decode(signed)).values():
        assert post(rekor, changed(request, *path, value=b64(spelled))) == 400
    assert post(rekor, request) == 201


def test_a_key_has_one_spelling(rekor):
    key: ec.EllipticCurvePublicKey = private_key(P256, 0).public_key()
    compressed = key.public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
    algorithm = bytes.fromhex("301306072a8648ce3d020106082a8648ce3d030107")
    request = hashedrekord(P256)
    for spelled in (tlv(0x30, algorithm + tlv(3, b"\0" + compressed)), spki(P256) + b"\0"):
        path = (REQUEST, "signature", "verifier", "publicKey", "rawBytes")
        assert post(rekor, changed(request, *path, value=b64(spelled))) == 400


def test_a_certificate_has_one_spelling(rekor):
    certificate = w.World().certificate()
    signature = w.sign("p256-leaf", MESSAGE)
    verifier = {"keyDetails": P256, "x509Certificate": {"rawBytes": b64(certificate)}}
    request = with_signature(
        changed(hashedrekord(P256), REQUEST, "signature", "verifier", value=verifier), signature
    )
    path = (REQUEST, "signature", "verifier", "x509Certificate", "rawBytes")
    for spelled in (
        certificate + b"\0",
        b"\x30\x80" + certificate[4:] + b"\0\0",
        b"\x30\x83\0" + certificate[2:],
    ):
        assert post(rekor, changed(request, *path, value=b64(spelled))) == 400
    assert post(rekor, request) == 201


def test_an_envelope_is_the_same_in_any_order_and_whatever_its_keyids_say(rekor):
    request = dsse(P256, P256)
    envelope = ("dsseRequestV002", "envelope", "signatures")
    signatures = request["dsseRequestV002"]["envelope"]["signatures"]
    assert post(rekor, request) == 201
    assert post(rekor, changed(request, *envelope, value=signatures[::-1])) == 409
    named = [{**item, "keyid": "a name"} for item in signatures]
    assert post(rekor, changed(request, *envelope, value=named)) == 409


def test_the_spelling_of_a_request_is_no_part_of_its_entry(rekor):
    request = hashedrekord(P256)
    assert post(rekor, request) == 201
    spaced = json.dumps(request, indent=3).encode()
    assert call(rekor.routes, "POST", ENTRIES, spaced).status == 409
    number = changed(request, REQUEST, "signature", "verifier", "keyDetails", value=5)
    assert post(rekor, number) == 409
    url_safe = b64(digest(P256, MESSAGE)).replace("+", "-").replace("/", "_").rstrip("=")
    assert post(rekor, changed(request, REQUEST, "digest", value=url_safe)) == 409
