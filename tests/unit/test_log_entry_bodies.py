"""The bodies of log entries: read strictly, printed canonically."""

import json

import pytest
import rfc8785
from tests.support import world as w

from hallmark.core.algorithms import SHA2_256
from hallmark.core.entries.hashedrekord import hashedrekord_v002_body, parse_hashedrekord_v002
from hallmark.core.entries.kinds import ENTRY_KINDS, parse_entry_body
from hallmark.core.entries.pem import pem_to_der
from hallmark.errors import InvalidEntry, MalformedInput

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
