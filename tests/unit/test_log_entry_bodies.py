"""The bodies of log entries: read strictly, printed canonically."""

import json

import pytest
import rfc8785
from tests.support import world as w

from hallmark.core.algorithms import SHA2_256, SHA2_384
from hallmark.core.entries.dsse import (
    MAX_DSSE_ENTRY_BYTES,
    MAX_DSSE_SIGNATURES,
    parse_dsse_v001,
    parse_dsse_v002,
)
from hallmark.core.entries.hashedrekord import (
    MAX_V001_BYTES,
    hashedrekord_v002_body,
    parse_hashedrekord_v001,
    parse_hashedrekord_v002,
)
from hallmark.core.entries.intoto import parse_intoto_v002
from hallmark.core.entries.kinds import ENTRY_KINDS, parse_entry_body
from hallmark.core.entries.pem import MAX_PEM_BYTES, pem_to_der
from hallmark.errors import InvalidEntry, MalformedInput
from hallmark.verify.signature import signed_content

BODY = hashedrekord_v002_body(bytes(32), SHA2_256, b"sig", "PKIX_ECDSA_P256_SHA_256", certificate=b"cert")


def changed(path: tuple[str, ...], value: object) -> bytes:
    found = json.loads(BODY)
    target = found
    for key in path[:-1]:
        target = target[key]
    target[path[-1]] = value
    return rfc8785.dumps(found)


SPEC = ("spec", "hashedRekordV002")
VERIFIER = (*SPEC, "signature", "verifier")


def test_prints_what_it_reads():
    for verifier in ({"certificate": b"cert"}, {"public_key": b"key"}):
        body = hashedrekord_v002_body(bytes(32), SHA2_256, b"sig", "PKIX_ECDSA_P256_SHA_256", **verifier)
        entry = parse_hashedrekord_v002(body)
        assert entry.to_bytes() == body
        assert entry.is_certificate == ("certificate" in verifier)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        BODY + b" ",
        BODY.replace(b":", b": ", 1),
        BODY[:-1],
        BODY.replace(b'"hashedrekord"', b'"hashed\\u0072ekord"'),
        b'{"kind":"hashedrekord",' + BODY[1:],
        changed(("apiVersion",), "0.0.1"),
        changed(("kind",), "dsse"),
        changed(("extra",), 1),
        changed((*SPEC, "data", "algorithm"), "SHA2_512"),
        changed((*SPEC, "data", "digest"), "not base64"),
        changed((*VERIFIER, "keyDetails"), "PKIX_UNKNOWN"),
        changed((*VERIFIER, "keyDetails"), "PKIX_ED25519"),
        changed((*VERIFIER, "keyDetails"), "PKIX_ECDSA_P384_SHA_384"),
        changed((*VERIFIER, "publicKey"), {"rawBytes": "a2V5"}),
        changed((*VERIFIER, "x509Certificate"), None),
        changed((*VERIFIER, "x509Certificate"), {"rawBytes": ""}),
        changed((*SPEC, "signature", "content"), "YR=="),  # not what base64 prints for any bytes
    ],
)
def test_refuses_a_body_that_it_would_not_print(body):
    with pytest.raises(MalformedInput):
        parse_hashedrekord_v002(body)


@pytest.mark.parametrize("verifiers", [{}, {"certificate": b"c", "public_key": b"k"}])
def test_a_body_has_exactly_one_verifier(verifiers):
    with pytest.raises(ValueError, match="either"):
        hashedrekord_v002_body(bytes(32), SHA2_256, b"s", "PKIX_ECDSA_P256_SHA_256", **verifiers)


@pytest.mark.parametrize("kind", ENTRY_KINDS)
def test_every_kind_refuses_what_is_not_its_own(kind):
    for body in (b"", b"{}", b"[]", b"\xff", b'{"apiVersion":"9","kind":"x","spec":{}}', b"[" * 5000):
        with pytest.raises(MalformedInput):
            parse_entry_body(*kind, body)


def test_refuses_kinds_that_are_not_in_the_table():
    with pytest.raises(InvalidEntry) as caught:
        parse_entry_body("rpm", "0.0.1", b"{}")
    assert caught.value.code == "unknown_kind"


def test_reads_the_first_certificate_of_a_chain_and_bare_keys():
    chain = w.World().ca_chain
    pem = b"".join(w.certificate_pem(der) for der in chain)
    assert pem_to_der(pem) == chain[0]
    assert pem_to_der(w.public_key("p256-leaf").to_pem().encode()) == w.public_key("p256-leaf").spki


@pytest.mark.parametrize("pem", [b"", b"text", b"-----BEGIN CERTIFICATE-----\nYQ==\n", b"x" * 300_000])
def test_refuses_a_verifier_that_is_no_pem(pem):
    with pytest.raises(MalformedInput):
        pem_to_der(pem)


def test_a_verifier_has_up_to_256_kib():
    (pem,) = (w.certificate_pem(der) for der in w.World().ca_chain[:1])
    assert pem_to_der(pem.ljust(MAX_PEM_BYTES)) == pem_to_der(pem)
    with pytest.raises(MalformedInput, match="bytes, more than"):
        pem_to_der(pem.ljust(MAX_PEM_BYTES + 1))


# An entry is of one signature


def content_of(bundle):
    return signed_content(bundle, w.artifact(), w.public_key("p256-leaf"))


def test_an_entry_of_a_key_is_not_one_of_a_certificate_with_the_same_bytes():
    bundle = w.World().bundle()
    digest = bundle.message_signature.digest
    fields = (digest, SHA2_256, bundle.signature, "PKIX_ECDSA_P256_SHA_256")
    content = content_of(bundle)
    parse_hashedrekord_v002(hashedrekord_v002_body(*fields, certificate=bundle.certificate)).check(content)
    with pytest.raises(InvalidEntry, match="kind of verifier"):
        parse_hashedrekord_v002(hashedrekord_v002_body(*fields, public_key=bundle.certificate)).check(content)


def test_an_entry_with_the_name_of_another_hash_is_of_another_signature():
    bundle = w.World().bundle()
    digest = bundle.message_signature.digest
    renamed = hashedrekord_v002_body(
        digest, SHA2_384, bundle.signature, "PKIX_ECDSA_P384_SHA_384", certificate=bundle.certificate
    )
    with pytest.raises(InvalidEntry, match="hash algorithm"):
        parse_hashedrekord_v002(renamed).check(content_of(bundle))
    old = w.hashedrekord_v001_body(digest, bundle.signature, w.certificate_pem(bundle.certificate))
    parse_hashedrekord_v001(old).check(content_of(bundle))
    with pytest.raises(InvalidEntry, match="hash algorithm"):
        parse_hashedrekord_v001(old.replace(b'"sha256"', b'"sha384"')).check(content_of(bundle))


# Envelopes


SIGNER = w.b64(w.public_key("p256-leaf").to_pem().encode())
HASH = {"algorithm": "sha256", "value": "00" * 32}
DSSE_V001 = {
    "envelopeHash": HASH,
    "payloadHash": HASH,
    "signatures": [{"signature": "YQ==", "verifier": SIGNER}],
}
VERIFIED_BY = {"keyDetails": "PKIX_ECDSA_P256_SHA_256", "publicKey": {"rawBytes": "a2V5"}}
DSSE_V002 = {
    "payloadHash": {"algorithm": "SHA2_256", "digest": w.b64(bytes(32))},
    "signatures": [{"content": "YQ==", "verifier": VERIFIED_BY}],
}
INTOTO = {
    "envelope": {"payloadType": "x", "signatures": [{"publicKey": SIGNER, "sig": w.b64(b"YQ==")}]},
    "hash": HASH,
    "payloadHash": HASH,
}


def dsse_v001(**changes: object) -> bytes:
    return rfc8785.dumps({"apiVersion": "0.0.1", "kind": "dsse", "spec": {**DSSE_V001, **changes}})


def dsse_v002(**changes: object) -> bytes:
    spec = {"dsseV002": {**DSSE_V002, **changes}}
    return rfc8785.dumps({"apiVersion": "0.0.2", "kind": "dsse", "spec": spec})


def intoto(**changes: object) -> bytes:
    content = {**INTOTO, "envelope": {**INTOTO["envelope"], **changes}}
    return rfc8785.dumps({"apiVersion": "0.0.2", "kind": "intoto", "spec": {"content": content}})


ENVELOPES = [
    (parse_dsse_v001, dsse_v001, DSSE_V001),
    (parse_dsse_v002, dsse_v002, DSSE_V002),
    (parse_intoto_v002, intoto, INTOTO["envelope"]),
]


@pytest.mark.parametrize(("parse", "make", "fields"), ENVELOPES, ids=["dsse 1", "dsse 2", "intoto"])
def test_an_envelope_has_1_to_32_signatures(parse, make, fields):
    for count in (1, MAX_DSSE_SIGNATURES):
        parse(make(signatures=fields["signatures"] * count))
    for count in (0, MAX_DSSE_SIGNATURES + 1):
        with pytest.raises(MalformedInput, match=f"{count} signatures"):
            parse(make(signatures=fields["signatures"] * count))


@pytest.mark.parametrize("value", ["", "00" * 31, "00" * 33, "zz" * 32])
def test_refuses_a_payload_hash_that_is_not_sha256_in_hex(value):
    parse_dsse_v001(dsse_v001())
    with pytest.raises(MalformedInput, match="in hex"):
        parse_dsse_v001(dsse_v001(payloadHash={**HASH, "value": value}))


@pytest.mark.parametrize(
    "verifier",
    [
        {"keyDetails": "PKIX_ECDSA_P256_SHA_256"},
        {**VERIFIED_BY, "publicKey": {"rawBytes": ""}},
        {**VERIFIED_BY, "x509Certificate": {"rawBytes": "a2V5"}},
    ],
    ids=["none", "empty", "both"],
)
def test_a_signature_of_an_envelope_has_one_verifier(verifier):
    assert parse_dsse_v002(dsse_v002()).to_bytes() == dsse_v002()
    with pytest.raises(MalformedInput):
        parse_dsse_v002(dsse_v002(signatures=[{"content": "YQ==", "verifier": verifier}]))


@pytest.mark.parametrize("sig", [b"YQ", b"!YQ==", b"YQ==\n"])
def test_a_signature_of_an_intoto_entry_is_in_base64_twice(sig):
    parse_intoto_v002(intoto())
    with pytest.raises(MalformedInput, match="twice"):
        parse_intoto_v002(intoto(signatures=[{"publicKey": SIGNER, "sig": w.b64(sig)}]))


# What the bodies of Rekor v1 have in common


def hashedrekord_v001() -> bytes:
    return w.hashedrekord_v001_body(bytes(32), b"sig", w.public_key("p256-leaf").to_pem().encode())


OLD = [
    (parse_hashedrekord_v001, hashedrekord_v001(), MAX_V001_BYTES),
    (parse_dsse_v001, dsse_v001(), MAX_DSSE_ENTRY_BYTES),
    (parse_intoto_v002, intoto(), MAX_DSSE_ENTRY_BYTES),
]
EACH_OLD = pytest.mark.parametrize(("parse", "body", "most"), OLD, ids=["hashedrekord", "dsse", "intoto"])


@EACH_OLD
def test_an_old_body_has_a_bound(parse, body, most):
    parse(body.ljust(most))
    with pytest.raises(MalformedInput) as caught:
        parse(body.ljust(most + 1))
    assert caught.value.code == "too_large"


@EACH_OLD
def test_an_old_body_has_no_more_fields_than_are_compared(parse, body, most):
    for where in (b'{"apiVersion"', b'{"spec"', b'{"algorithm"'):
        if where in body:
            with pytest.raises(MalformedInput, match="unknown field"):
                parse(body.replace(where, b'{"later":1,' + where[1:], 1))


@EACH_OLD
def test_an_old_body_names_nothing_twice(parse, body, most):
    with pytest.raises(MalformedInput) as caught:
        parse(body[:-1] + b"," + body[1:])
    assert caught.value.code == "repeated_name"
