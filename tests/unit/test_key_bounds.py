"""Bounds of keys, statements and timestamps, and what a key cannot check."""

import json
from datetime import datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding
from tests.support import world as w
from tests.support.tsa_authority import MESSAGE, NOW, Authority

from hallmark.core.algorithms import SHA2_256, SHA2_384
from hallmark.core.key_strength import check_strength
from hallmark.core.keys import (
    MAX_PUBLIC_KEY_BYTES,
    PublicKey,
    parse_pkcs1_public_key,
    parse_public_key,
    parse_public_key_pem,
)
from hallmark.core.statement import MAX_SUBJECTS, STATEMENT_V1, parse_statement
from hallmark.core.timestamp import (
    MAX_REQUEST_BYTES,
    MAX_RESPONSE_BYTES,
    build_request,
    parse_request,
    parse_timestamp,
    verify_timestamp,
)
from hallmark.core.timestamp_response import token_signer
from hallmark.errors import ConfigurationError, InvalidSignature, InvalidTimestamp, MalformedInput

P256, ED25519, RSA = (w.public_key(name) for name in ("p256-bare", "ed25519-bare", "rsa-bare"))


@pytest.mark.parametrize("parse", [parse_public_key, parse_pkcs1_public_key])
def test_a_key_has_up_to_16_kibibytes(parse):
    with pytest.raises(MalformedInput, match="are not a"):
        parse(bytes(MAX_PUBLIC_KEY_BYTES))
    with pytest.raises(MalformedInput, match="too large"):
        parse(bytes(MAX_PUBLIC_KEY_BYTES + 1))


def test_the_text_of_a_key_has_up_to_32_kibibytes():
    pem = P256.to_pem().encode()
    assert parse_public_key_pem(pem.rjust(2 * MAX_PUBLIC_KEY_BYTES, b"\n")).spki == P256.spki
    with pytest.raises(MalformedInput, match="too large"):
        parse_public_key_pem(pem.rjust(2 * MAX_PUBLIC_KEY_BYTES + 1, b"\n"))


@pytest.mark.parametrize("key", [P256, ED25519, RSA], ids=["ecdsa", "ed25519", "rsa"])
def test_a_key_of_the_registry_is_strong(key):
    check_strength(key.key)


def test_a_digest_is_checked_with_the_hash_of_the_key_or_the_one_that_is_named():
    for hash_name, named in (("sha256", None), ("sha256", SHA2_256), ("sha384", SHA2_384)):
        signature = w.sign("p256-bare", MESSAGE, hash_name)
        digest = (named or SHA2_256).digest(MESSAGE)
        P256.verify_digest(signature, digest, hash_algorithm=named)
        P256.verify(signature, MESSAGE, hash_algorithm=named)
        with pytest.raises(InvalidSignature, match="does not verify"):
            P256.verify_digest(signature, digest[::-1], hash_algorithm=named)
        with pytest.raises(InvalidSignature, match=f"not {len(digest) - 1}"):
            P256.verify_digest(signature, digest[:-1], hash_algorithm=named)


@pytest.mark.parametrize("named", [None, SHA2_256])
def test_ed25519_checks_no_digest(named):
    with pytest.raises(InvalidSignature, match="cannot be checked from a digest"):
        ED25519.verify_digest(w.sign("ed25519-bare", MESSAGE), SHA2_256.digest(MESSAGE), hash_algorithm=named)


def test_a_key_that_hashes_nothing_by_itself_needs_a_hash():
    for key in (P256, RSA):
        nameless = PublicKey(key.key, key.spki, ED25519.algorithm)
        with pytest.raises(InvalidSignature, match="needs a hash"):
            nameless.verify(b"signature", MESSAGE)
        with pytest.raises(InvalidSignature):
            nameless.verify_digest(b"signature", bytes(32))


@pytest.mark.parametrize("more", [0, 1])
def test_a_statement_has_up_to_100000_subjects(more):
    subject = '{"digest":{"sha256":"ab"}}'
    subjects = ",".join([subject] * (MAX_SUBJECTS + more))
    data = (
        f'{{"_type":"{STATEMENT_V1}","predicateType":"t","predicate":{{}},"subject":[{subjects}]}}'.encode()
    )
    if more:
        with pytest.raises(MalformedInput, match="100001 subjects"):
            parse_statement(data)
    else:
        assert len(parse_statement(data).subjects) == MAX_SUBJECTS


def test_a_statement_has_a_subject():
    made = {"_type": STATEMENT_V1, "predicateType": "t", "predicate": {}, "subject": []}
    with pytest.raises(MalformedInput, match="0 subjects"):
        parse_statement(json.dumps(made).encode())


@pytest.mark.parametrize("more", [0, 1])
def test_a_request_for_a_timestamp_has_up_to_16_kibibytes(more):
    rest = len(build_request(bytes(32), nonce=1 << 8 * 1000)) - 1000
    made = build_request(bytes(32), nonce=1 << 8 * (MAX_REQUEST_BYTES - rest + more))
    assert len(made) == MAX_REQUEST_BYTES + more
    if more:
        with pytest.raises(MalformedInput) as caught:
            parse_request(made)
        assert caught.value.code == "request_too_large"
    else:
        assert parse_request(made).nonce


def test_a_request_is_of_version_1_and_holds_a_whole_digest():
    assert build_request(bytes(32))[2:5] == b"\x02\x01\x01"
    for size in (0, 31, 33):
        with pytest.raises(ValueError, match="has 32 bytes"):
            build_request(bytes(size))


def test_a_timestamp_has_up_to_64_kibibytes():
    with pytest.raises(MalformedInput, match="too large"):
        parse_timestamp(bytes(MAX_RESPONSE_BYTES + 1))
    with pytest.raises(MalformedInput) as caught:
        parse_timestamp(bytes(MAX_RESPONSE_BYTES))
    assert "too large" not in caught.value.message


@pytest.mark.parametrize(("status", "told"), [(1, "1"), (5, "5"), (6, "unknown"), (-1, "unknown")])
def test_a_status_is_told_where_the_protocol_has_it(status, told):
    authority = Authority()

    def reject(response):
        response.status.status = status

    with pytest.raises(InvalidTimestamp, match=f"with status {told},"):
        parse_timestamp(authority.forge(reject))


@pytest.mark.parametrize(("year", "tag"), [(2049, b"\x17\x0d49"), (2050, b"\x18\x0f2050")])
def test_a_signing_time_from_2050_on_is_generalized(year, tag):
    moment = NOW.replace(year=year, microsecond=0)
    authority = Authority(not_after=moment + timedelta(days=1))
    token = authority.stamp(time=moment)
    assert tag + moment.strftime("%m%d%H%M%SZ").encode() in token
    assert isinstance(parse_timestamp(token).time, datetime)
    with pytest.raises(InvalidTimestamp):
        verify_timestamp(token, b"another", authority.chain)


def test_an_authority_cannot_sign_with_ed25519():
    key = Ed25519PrivateKey.generate()
    names = w.x509_name("root"), w.x509_name("tsa")
    builder = x509.CertificateBuilder(*names, key.public_key(), 5, w.BEGINNING, w.NOW)
    leaf = builder.sign(key, None).public_bytes(Encoding.DER)
    with pytest.raises(ConfigurationError, match="cannot sign"):
        token_signer((leaf,), lambda _: b"", hash_algorithm=SHA2_256)


def test_an_rsa_signature_is_checked():
    key = w.private_key("rsa-bare")
    for named, algorithm in ((None, hashes.SHA256()), (SHA2_384, hashes.SHA384())):
        signature = key.sign(MESSAGE, padding.PKCS1v15(), algorithm)
        RSA.verify(signature, MESSAGE, hash_algorithm=named)
        for false, message in ((signature, b"another"), (signature[::-1], MESSAGE)):
            with pytest.raises(InvalidSignature, match="does not verify"):
                RSA.verify(false, message, hash_algorithm=named)
        with pytest.raises(InvalidSignature):
            RSA.verify(key.sign(MESSAGE, padding.PSS(padding.MGF1(algorithm), 32), algorithm), MESSAGE)
