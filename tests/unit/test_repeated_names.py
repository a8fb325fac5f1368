"""A JSON object that names a member twice is refused by every reader whose verdict hangs on it."""

import base64
import json
from collections.abc import Iterator

import pytest
from tests.support import world as w
from tests.support.rekor import dsse, hashedrekord
from tests.support.small_ca import EMAIL, SmallCa, b64url, key_request

from hallmark.core.bundle import parse_bundle
from hallmark.core.dsse import parse_envelope
from hallmark.core.encoding.json_document import (
    RepeatedName,
    _unique,
    check_names,
    decode_members,
    load_unique,
)
from hallmark.core.entries.dsse import parse_dsse_v001, parse_dsse_v002
from hallmark.core.entries.hashedrekord import parse_hashedrekord_v001, parse_hashedrekord_v002
from hallmark.core.entries.intoto import parse_intoto_v002
from hallmark.core.oidc.jwks import parse_jwks
from hallmark.core.oidc.token import parse_token
from hallmark.core.statement import parse_statement
from hallmark.core.trusted_root import parse_trusted_root
from hallmark.errors import MalformedInput, Unauthenticated
from hallmark.tlog.checks import EnvelopeCheck
from hallmark.tlog.requests import parse_create_entry

WORLD = w.World()
HASH = {"algorithm": "sha256", "value": "00" * 32}
PEM = base64.b64encode(w.certificate_pem(WORLD.certificate())).decode()
MODULUS = w.private_key("rsa-2048").public_key().public_numbers().n.to_bytes(256, "big")
RSA_JWK = {"kty": "RSA", "n": b64url(MODULUS), "e": "AQAB", "kid": "a"}


def entry(kind: str, version: str, spec: dict) -> dict:
    return {"apiVersion": version, "kind": kind, "spec": spec}


DSSE_V001 = entry(
    "dsse",
    "0.0.1",
    {"envelopeHash": HASH, "payloadHash": HASH, "signatures": [{"signature": "AAAA", "verifier": PEM}]},
)
HASHEDREKORD_V001 = entry(
    "hashedrekord",
    "0.0.1",
    {"data": {"hash": HASH}, "signature": {"content": "AAAA", "publicKey": {"content": PEM}}},
)
ENVELOPE = {"payloadType": "t", "signatures": [{"publicKey": PEM, "sig": "QUFBQQ==", "keyid": ""}]}
INTOTO = entry("intoto", "0.0.2", {"content": {"envelope": ENVELOPE, "hash": HASH, "payloadHash": HASH}})


def dsse_v002() -> bytes:
    check = EnvelopeCheck(parse_create_entry(json.dumps(dsse()).encode()), {"PKIX_ECDSA_P256_SHA_256"})
    for _ in check.steps():
        pass
    return check.entry().to_bytes()


def header_of(data: bytes) -> object:
    return parse_token(f"{b64url(data)}.{b64url(json.dumps({'iss': 'i'}).encode())}.x")


def claims_of(data: bytes) -> object:
    return parse_token(f"{b64url(json.dumps({'alg': 'RS256'}).encode())}.{b64url(data)}.x")


BUNDLE = WORLD.bundle()
READERS = {
    "header of a token": (header_of, {"alg": "RS256", "kid": "a"}),
    "claims of a token": (claims_of, {"iss": "i", "aud": ["a"], "email": EMAIL, "nested": {"deep": 1}}),
    "key set": (parse_jwks, {"keys": [RSA_JWK]}),
    "request for a hashedrekord": (parse_create_entry, hashedrekord()),
    "request for a dsse": (parse_create_entry, dsse()),
    "statement": (parse_statement, w.a_statement()),
    "envelope": (parse_envelope, json.loads(WORLD.attestation().envelope.to_json())),
    "bundle": (parse_bundle, json.loads(BUNDLE.to_json())),
    "trusted root": (parse_trusted_root, json.loads(WORLD.root.to_json())),
    "hashedrekord 0.0.1": (parse_hashedrekord_v001, HASHEDREKORD_V001),
    "hashedrekord 0.0.2": (parse_hashedrekord_v002, json.loads(BUNDLE.tlog_entries[0].canonicalized_body)),
    "dsse 0.0.1": (parse_dsse_v001, DSSE_V001),
    "dsse 0.0.2": (parse_dsse_v002, json.loads(dsse_v002())),
    "intoto 0.0.2": (parse_intoto_v002, INTOTO),
}


def printed(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))


def repetitions(value: object) -> Iterator[str]:
    """The JSON of a value with one member named twice, for each member of each object in turn."""
    if isinstance(value, dict):
        members = [f"{printed(name)}:{printed(item)}" for name, item in value.items()]
        for place, (name, item) in enumerate(value.items()):
            yield "{" + ",".join([*members, members[place]]) + "}"
            for inner in repetitions(item):
                changed = [*members[:place], f"{printed(name)}:{inner}", *members[place + 1 :]]
                yield "{" + ",".join(changed) + "}"
    elif isinstance(value, list):
        items = [printed(item) for item in value]
        for place, item in enumerate(value):
            for inner in repetitions(item):
                yield "[" + ",".join([*items[:place], inner, *items[place + 1 :]]) + "]"


@pytest.mark.parametrize("reader", READERS)
def test_refuses_a_member_named_twice(reader):
    read, value = READERS[reader]
    read(printed(value).encode())
    tried = 0
    for text in repetitions(value):
        assert json.loads(text) == value
        with pytest.raises((MalformedInput, Unauthenticated)):
            read(text.encode())
        tried += 1
    assert tried >= len(value)


@pytest.mark.parametrize(
    "text", ['{"a":1,"\\u0061":2}', '[{"b":{"a":1,"c":2,"a":1}}]', '{"a:b":1,"a:b":1}', '{"":1,"":1}']
)
def test_finds_a_name_however_it_is_spelled_and_wherever_it_is(text):
    with pytest.raises(MalformedInput) as caught:
        check_names(text.encode(), what="the text")
    assert caught.value.code == "repeated_name"


@pytest.mark.parametrize("text", ['{"a":{"a":1},"b":["a","a",":"]}', "[]", "7", '"a"', '{"a":1,"A":1}'])
def test_takes_names_that_differ_or_stand_apart(text):
    check_names(text.encode(), what="the text")
    assert load_unique(text.encode()) == json.loads(text)


@pytest.mark.parametrize("text", [b"{", b"\xff", b"[" * 100_000, b"9" * 5000], ids=range(4))
def test_what_is_no_json_is_malformed(text):
    with pytest.raises(MalformedInput):
        check_names(text, what="the text")


def test_a_long_name_is_cut_short():
    with pytest.raises(RepeatedName) as caught:
        load_unique(b'{"' + b"x" * 5000 + b'":1,"' + b"x" * 5000 + b'":1}')
    assert caught.value.name == "x" * 80


def test_the_authority_refuses_a_request_that_names_a_member_twice(tmp_path):
    small = SmallCa(tmp_path)
    try:
        key = w.private_key("p256-leaf")
        request, headers = key_request(key), {"authorization": f"Bearer {small.token()}"}
        for text in repetitions(request):
            answer = small.request("POST", "/api/v2/signingCert", text.encode(), headers)
            assert answer.status == 400
    finally:
        small.close()


def test_the_last_of_many_names_is_found_in_one_pass():
    """Each name is looked at once: twenty thousand names must not cost four hundred million comparisons."""
    looked = 0

    class Name(str):
        def __eq__(self, other: object) -> bool:
            nonlocal looked
            looked += 1
            return str.__eq__(self, other)

        __hash__ = str.__hash__

    members = [(Name(number), 1) for number in range(20_000)] + [(Name("19999"), 1)]
    with pytest.raises(RepeatedName):
        _unique(members)
    assert looked < 100


@pytest.mark.parametrize(
    "repeated",
    [b"9" * 5000, b'"\xff\xfe"', b"[" + b"{}," * 100_000 + b"{}]", b"[" * 2000 + b"]" * 2000],
    ids=["digits", "text", "values", "depth"],
)
def test_a_repeated_member_is_refused_without_a_look_at_what_it_holds(repeated):
    with pytest.raises(MalformedInput):
        decode_members(b'{"a":1,"a":' + repeated + b"}", what="it", max_bytes=1 << 20)
