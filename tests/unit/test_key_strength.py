"""Keys that nobody holds or everybody does are refused by every reader of keys."""

import asyncio
import base64
import json
import math
from functools import partial

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from tests.support import small_order
from tests.support import world as w
from tests.support.rekor import RekorLog, b64, dsse, hashedrekord
from tests.support.steps import finish

from hallmark.adapters.keys.file import read_key, write_key
from hallmark.ca.possession import KeyAndProof, SigningRequestCsr, prove_possession
from hallmark.core.algorithms import ALGORITHMS
from hallmark.core.entries.pem import pem_to_der
from hallmark.core.key_strength import SMALLEST_FACTOR, check_strength
from hallmark.core.keys import (
    MAX_PUBLIC_KEY_BYTES,
    parse_pkcs1_public_key,
    parse_public_key,
    parse_public_key_pem,
    wrap_public_key,
)
from hallmark.core.oidc.identity import Principal
from hallmark.core.oidc.jwks import MAX_RSA_BITS, MIN_RSA_BITS, parse_jwks
from hallmark.core.vkey import ED25519, ED25519_COSIGNATURE, ML_DSA_44_COSIGNATURE, verifier_key
from hallmark.core.x509.certificate import parse_signing_certificate
from hallmark.core.x509.tsa_chain import check_tsa_chain
from hallmark.ctlog.acceptance import AcceptedRoots, load_certificate
from hallmark.errors import ConfigurationError, HallmarkError, InvalidCertificate, MalformedInput
from hallmark.tlog.requests import DsseRequest, parse_create_entry
from hallmark.tlog.service import Submission, TlogService

CONSTANT = bytes([1]) + bytes(63)
"""R is the identity and S is zero: over a key that is the identity, a signature of any message."""

TABLE = json.loads(small_order.TABLE.read_text())
SMALL = [bytes.fromhex(row["encoding"]) for row in TABLE]
LARGE_Y = small_order.non_canonical_encodings()
REFUSED = sorted({*SMALL, *LARGE_Y})
PRINCIPAL = Principal(oidc_issuer="i", name="a@b.c", san_kind="email", san="a@b.c", extensions=())
ALLOWED = frozenset(row.name for row in ALGORITHMS.values())


def point(raw: bytes) -> ed25519.Ed25519PublicKey:
    return ed25519.Ed25519PublicKey.from_public_bytes(raw)


def spki(key) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def pem(key) -> bytes:
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def test_the_table_is_what_the_equation_of_the_curve_gives():
    assert small_order.table() == TABLE
    assert sorted(small_order.small_order_points().values()) == [1, 2, 4, 4, 8, 8, 8, 8]
    assert len(set(SMALL)) == 14
    assert len(set(LARGE_Y)) == 38


def test_one_signature_holds_over_any_message_for_the_library():
    """Why the keys are refused: the library takes every one of them, and this signature with the first."""
    for raw in REFUSED:
        point(raw)
    point(SMALL[0]).verify(CONSTANT, b"one message")
    point(SMALL[0]).verify(CONSTANT, b"another")


@pytest.mark.parametrize("raw", REFUSED, ids=bytes.hex)
def test_refuses_an_ed25519_key_of_small_order_or_not_canonical(raw):
    refused(lambda: check_strength(point(raw)))


def test_takes_the_keys_next_to_those_refused():
    """Both bounds: the largest reduced y that is of no small order, and the neighbours of each that is."""
    for raw in SMALL:
        y = int.from_bytes(raw, "little") & (2**255 - 1)
        for near in ((y % small_order.P - 2), (y % small_order.P + 2)):
            if 1 < near < small_order.P - 1:
                check_strength(point(near.to_bytes(32, "little")))
    check_strength(point((small_order.P - 2).to_bytes(32, "little")))


def refused(read) -> None:
    with pytest.raises(MalformedInput) as caught:
        read()
    assert caught.value.code == "weak_key"


def csr_of(raw: bytes) -> bytes:
    """A request whose key is `raw`, signed with the constant signature."""
    key = ed25519.Ed25519PrivateKey.generate()
    request = x509.CertificateSigningRequestBuilder(x509.Name([])).sign(key, None)
    der = request.public_bytes(Encoding.DER)
    changed = der.replace(key.public_key().public_bytes_raw(), raw).replace(request.signature, CONSTANT)
    text = base64.encodebytes(changed).decode()
    return f"-----BEGIN CERTIFICATE REQUEST-----\n{text}-----END CERTIFICATE REQUEST-----\n".encode()


def entry_with(raw: bytes, key_details: str) -> bytes:
    if key_details == "PKIX_ED25519":
        request = dsse(key_details)
        inner = request["dsseRequestV002"]
        inner["envelope"]["signatures"][0]["sig"] = b64(CONSTANT)
        inner["verifiers"][0]["publicKey"]["rawBytes"] = b64(spki(point(raw)))
    else:
        request = hashedrekord(key_details)
        signature = request["hashedRekordRequestV002"]["signature"]
        signature["content"] = b64(CONSTANT)
        signature["verifier"]["publicKey"]["rawBytes"] = b64(spki(point(raw)))
    return json.dumps(request).encode()


@pytest.fixture(scope="module")
def service():
    with RekorLog() as log:
        yield log.service


def check(service: TlogService, body: bytes) -> None:
    async def run() -> None:
        submission = Submission(len(body), partial(parse_create_entry, body))
        found = await service.read(submission)
        if isinstance(found, DsseRequest):
            await service.check_envelope(found, submission)

    asyncio.run(run())


def certificate_of(key) -> bytes:
    """A signing certificate that a CA was made to issue for the key."""
    return w.World().certificate(public=key)


def prove(subject) -> None:
    prove_possession(subject, PRINCIPAL, ALLOWED)


READERS = {
    "der": lambda key: parse_public_key(spki(key)),
    "pem": lambda key: parse_public_key_pem(pem(key)),
    "key object": wrap_public_key,
    "entry of a v1 log": lambda key: pem_to_der(pem(key)),
    "proof of possession, der": lambda key: prove(KeyAndProof(spki(key), CONSTANT)),
    "proof of possession, pem": lambda key: prove(KeyAndProof(pem(key), CONSTANT)),
    "certificate": lambda key: parse_signing_certificate(certificate_of(key)),
}


@pytest.mark.parametrize("read", READERS.values(), ids=READERS)
@pytest.mark.parametrize("raw", [*SMALL, LARGE_Y[-1]], ids=bytes.hex)
def test_every_reader_of_keys_refuses_them(read, raw):
    refused(lambda: read(point(raw)))


@pytest.mark.parametrize("raw", SMALL, ids=bytes.hex)
def test_a_signing_request_for_such_a_key_is_refused(raw):
    refused(lambda: prove(SigningRequestCsr(csr_of(raw))))


@pytest.mark.parametrize("key_details", ["PKIX_ED25519", "PKIX_ED25519_PH"])
@pytest.mark.parametrize("raw", SMALL, ids=bytes.hex)
def test_the_log_refuses_an_entry_of_such_a_key(service, raw, key_details):
    refused(lambda: check(service, entry_with(raw, key_details)))


@pytest.mark.parametrize("kind", [ED25519, ED25519_COSIGNATURE])
@pytest.mark.parametrize("raw", SMALL, ids=bytes.hex)
def test_logs_and_witnesses_have_no_such_key(raw, kind):
    refused(lambda: verifier_key("witness.example/w", kind, raw))


@pytest.mark.parametrize("raw", SMALL, ids=bytes.hex)
def test_identity_tokens_are_not_checked_with_such_a_key(raw):
    encoded = base64.urlsafe_b64encode(raw).decode().rstrip("=")
    key = {"kty": "OKP", "crv": "Ed25519", "x": encoded}
    assert parse_jwks(json.dumps({"keys": [key]}).encode()).keys == ()
    other = base64.urlsafe_b64encode(point_of_somebody()).decode().rstrip("=")
    assert len(parse_jwks(json.dumps({"keys": [key | {"x": other}]}).encode()).keys) == 1


def point_of_somebody() -> bytes:
    return ed25519.Ed25519PrivateKey.generate().public_key().public_bytes_raw()


def test_identity_tokens_are_not_checked_with_keys_of_other_curves():
    for key in ({"kty": "OKP", "crv": "Ed448", "x": "A" * 76}, secp256k1_jwk()):
        assert parse_jwks(json.dumps({"keys": [key]}).encode()).keys == ()


def secp256k1_jwk() -> dict:
    numbers = ec.generate_private_key(ec.SECP256K1()).public_key().public_numbers()
    encoded = {
        name: base64.urlsafe_b64encode(getattr(numbers, name).to_bytes(32, "big")) for name in ("x", "y")
    }
    return {"kty": "EC", "crv": "secp256k1"} | {
        name: text.decode().rstrip("=") for name, text in encoded.items()
    }


def authority(key, name: str, issuer: str, signer) -> bytes:
    """A CA's certificate over `key`, signed by `signer`."""
    builder = x509.CertificateBuilder(w.x509_name(issuer), w.x509_name(name), key, 1, w.BEGINNING, w.NOW)
    usage = w.key_usage(key_cert_sign=True)
    for extension in (x509.BasicConstraints(ca=True, path_length=None), usage):
        builder = builder.add_extension(extension, critical=True)
    return builder.sign(signer, hashes.SHA256()).public_bytes(Encoding.DER)


def test_neither_ct_log_nor_timestamps_trust_an_authority_with_such_a_key():
    """The intermediate's own signature holds; what it issued is the constant signature's work."""
    root_key = w.private_key("p384-root")
    root = authority(root_key.public_key(), "root", "root", root_key)
    weak = authority(point(SMALL[0]), "weak", "root", root_key)
    leaf = forged_leaf()
    with pytest.raises(InvalidCertificate) as caught:
        finish(AcceptedRoots([root]).issuer_path(load_certificate(leaf), (weak,)))
    assert caught.value.code == "broken_chain"
    refused(lambda: check_tsa_chain((leaf, weak, root)))


def forged_leaf() -> bytes:
    """A timestamping leaf by the CA "weak" with the constant signature."""
    key = ed25519.Ed25519PrivateKey.generate()
    leaf = w.private_key("p256-leaf").public_key()
    builder = x509.CertificateBuilder(w.x509_name("weak"), w.x509_name("leaf"), leaf, 1, w.BEGINNING, w.NOW)
    made = builder.add_extension(w.TIME_STAMPING, critical=True).sign(key, None)
    return made.public_bytes(Encoding.DER).replace(made.signature, CONSTANT)


# --- RSA

EXPONENTS = [3, 17, 65535, 65539, 2**32 + 1, 2**2040 + 1]
GOOD_RSA = w.private_key("rsa-2048").public_key().public_numbers()


def rsa_key(n: int = GOOD_RSA.n, e: int = 65537) -> rsa.RSAPublicKey:
    return rsa.RSAPublicNumbers(e, n).public_key()


def odd_product(factor: int) -> int:
    """A modulus of 2,048 bits with the factor, and with no smaller one but by chance of its cofactor."""
    rest = (1 << 2047) // factor + 1
    while math.gcd(rest, math.factorial(SMALLEST_FACTOR)) != 1 or (rest * factor).bit_length() != 2048:
        rest += 1
    return rest * factor


@pytest.mark.parametrize(
    "exponent", [3, 17, 65535, 65539, 2**32 + 1, 2**2040 + 1], ids=lambda e: e.bit_length()
)
@pytest.mark.parametrize("read", READERS.values(), ids=READERS)
def test_every_reader_refuses_exponents_other_than_65537(read, exponent):
    refused(lambda: read(rsa_key(e=exponent)))


@pytest.mark.parametrize("factor", [2, 3, 5, 743, 751])
def test_refuses_a_modulus_with_a_small_factor(factor):
    refused(lambda: wrap_public_key(rsa_key(odd_product(factor))))


def test_takes_a_modulus_whose_smallest_factor_is_beyond_the_bound():
    assert wrap_public_key(rsa_key(odd_product(757))).algorithm.parameter == "2048"


def test_refuses_a_modulus_that_is_a_square():
    root = math.isqrt(1 << 2047) + 1
    while math.gcd(root, math.factorial(SMALLEST_FACTOR)) != 1:
        root += 1
    refused(lambda: wrap_public_key(rsa_key(root * root)))


def jwk_of_bits(bits: int, e: int = 65537) -> dict:
    n = (1 << bits - 1) + 1
    while math.gcd(n, math.factorial(SMALLEST_FACTOR)) != 1:
        n += 2
    return {"kty": "RSA", "n": number(n), "e": number(e)}


def number(value: int) -> str:
    raw = value.to_bytes((value.bit_length() + 7) // 8, "big")
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


@pytest.mark.parametrize(
    ("jwk", "taken"),
    [
        (jwk_of_bits(MIN_RSA_BITS), 1),
        (jwk_of_bits(MIN_RSA_BITS - 1), 0),
        (jwk_of_bits(MAX_RSA_BITS), 1),
        (jwk_of_bits(MAX_RSA_BITS + 1), 0),
        (jwk_of_bits(2048, e=3), 0),
        (jwk_of_bits(2048, e=2**2000 + 1), 0),
    ],
    ids=["least", "below", "most", "above", "e=3", "e=huge"],
)
def test_keys_of_identity_providers_have_bounds(jwk, taken):
    assert len(parse_jwks(json.dumps({"keys": [jwk]}).encode()).keys) == taken


@pytest.mark.parametrize(
    "key",
    [rsa.generate_private_key(3, 2048), ec.generate_private_key(ec.SECP256K1())],
    ids=["rsa-e3", "secp256k1"],
)
def test_an_instance_does_not_start_with_a_key_file_that_others_refuse(tmp_path, key):
    write_key(tmp_path / "weak.pem", key)
    with pytest.raises(ConfigurationError) as caught:
        read_key(tmp_path / "weak.pem")
    assert caught.value.code == "damaged_state"


# --- ECDSA and ML-DSA

CURVES = (ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1())


def with_point(curve: ec.EllipticCurve, encoded: bytes) -> bytes:
    """The SubjectPublicKeyInfo of the curve around another encoding of a point."""
    algorithm = {
        "secp256r1": "301306072a8648ce3d020106082a8648ce3d030107",
        "secp384r1": "301006072a8648ce3d020106052b81040022",
        "secp521r1": "301006072a8648ce3d020106052b81040023",
    }[curve.name]
    bits = tlv(3, b"\0" + encoded)
    return tlv(0x30, bytes.fromhex(algorithm) + bits)


def tlv(tag: int, content: bytes) -> bytes:
    length = bytes([len(content)]) if len(content) < 128 else bytes([0x81, len(content)])
    return bytes([tag]) + length + content


@pytest.mark.parametrize("curve", CURVES, ids=lambda curve: curve.name)
def test_an_elliptic_key_has_one_encoding(curve):
    key = ec.generate_private_key(curve).public_key()
    uncompressed = key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    compressed = key.public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
    hybrid = bytes([6 + (uncompressed[-1] & 1)]) + uncompressed[1:]
    assert parse_public_key(with_point(curve, uncompressed)).spki == spki(key)
    off_curve = uncompressed[:-1] + bytes([uncompressed[-1] ^ 1])
    for other in (
        compressed,
        hybrid,
        off_curve,
        b"\0",
        b"\4" + bytes(len(uncompressed) - 1),
        uncompressed + b"\0",
    ):
        with pytest.raises(MalformedInput) as caught:
            parse_public_key(with_point(curve, other))
        assert caught.value.code == "malformed_key"


def test_a_key_is_no_pkcs1_structure_where_a_subject_public_key_info_is_due():
    pkcs1 = rsa_key().public_bytes(Encoding.DER, PublicFormat.PKCS1)
    with pytest.raises(MalformedInput) as caught:
        parse_public_key(pkcs1)
    assert caught.value.code == "malformed_key"


@pytest.mark.parametrize("integers", [(0, 1), (1, 0), (0, 0)])
@pytest.mark.parametrize("curve", CURVES, ids=lambda curve: curve.name)
def test_no_signature_of_zeros_verifies(curve, integers):
    key = wrap_public_key(ec.generate_private_key(curve).public_key())
    signature = tlv(0x30, b"".join(tlv(2, bytes([value])) for value in integers))
    with pytest.raises(HallmarkError):
        key.verify(signature, b"message")


def test_refuses_an_ml_dsa_key_that_hides_nothing():
    raw = MLDSA44PrivateKey.generate().public_key().public_bytes_raw()
    verifier_key("w", ML_DSA_44_COSIGNATURE, raw)
    refused(lambda: verifier_key("w", ML_DSA_44_COSIGNATURE, raw[:32] + bytes(len(raw) - 32)))
    verifier_key("w", ML_DSA_44_COSIGNATURE, raw[:32] + bytes(len(raw) - 33) + b"\1")
    verifier_key("w", ML_DSA_44_COSIGNATURE, raw[:32] + b"\1" + bytes(len(raw) - 33))


def test_reads_a_pkcs1_key_and_no_other_form_of_it():
    key = rsa_key()
    pkcs1 = key.public_bytes(Encoding.DER, PublicFormat.PKCS1)
    assert parse_pkcs1_public_key(pkcs1) == wrap_public_key(key)
    elliptic = spki(ec.generate_private_key(ec.SECP256R1()).public_key())
    for other in (spki(key), pkcs1 + b"\0", elliptic, b"", bytes(MAX_PUBLIC_KEY_BYTES + 1)):
        with pytest.raises(MalformedInput) as caught:
            parse_pkcs1_public_key(other)
        assert caught.value.code == "malformed_key"
    refused(lambda: parse_pkcs1_public_key(rsa_key(e=3).public_bytes(Encoding.DER, PublicFormat.PKCS1)))
