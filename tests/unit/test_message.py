"""Sigstore's messages in proto3 JSON, spelled as other writers spell them."""

import json
import re
from typing import Literal

import msgspec
import pytest
from tests.support import world as w

from hallmark.core.bundle import parse_bundle, unknown_bundle_fields
from hallmark.core.encoding.json_document import (
    MAX_DEPTH,
    MAX_VALUES,
    _check_names,
    check_names,
    decode_members,
    decode_value,
)
from hallmark.core.encoding.message import MAX_UNKNOWN_FIELDS, Int, Message, decode_message, unknown_fields
from hallmark.core.encoding.protojson import parse_enum, parse_int32
from hallmark.core.signing_config import (
    ALL,
    ClientTrustConfig,
    Selector,
    Service,
    SigningConfig,
    parse_client_trust_config,
    parse_signing_config,
)
from hallmark.core.transparency_log_entry import parse_transparency_log_entry
from hallmark.core.trusted_root import TrustedRoot, Validity, parse_trusted_root
from hallmark.errors import MalformedInput

WORLD = w.World()
SERVICE = Service(url=w.URL, major_api_version=2, valid_for=Validity(w.BEGINNING), operator="test")
SIGNING_CONFIG = SigningConfig(
    ca_urls=(SERVICE,),
    oidc_urls=(SERVICE,),
    rekor_tlog_urls=(SERVICE, SERVICE),
    rekor_tlog_config=Selector("EXACT", 2),
    tsa_urls=(SERVICE,),
    tsa_config=ALL,
)
CONFIG = ClientTrustConfig(WORLD.root, SIGNING_CONFIG)
DOCUMENTS = [
    (parse_bundle, WORLD.bundle()),
    (parse_bundle, WORLD.v1_bundle()),
    (parse_bundle, WORLD.attestation()),
    (parse_bundle, WORLD.key_bundle()),
    (parse_trusted_root, WORLD.root),
    (parse_signing_config, SIGNING_CONFIG),
    (parse_client_trust_config, CONFIG),
    (parse_transparency_log_entry, WORLD.v1_bundle().tlog_entries[0]),
]
EACH_DOCUMENT = pytest.mark.parametrize(("parse", "value"), DOCUMENTS)

_ENUMS = {
    "SHA2_256": 1,
    "SHA2_384": 2,
    "SHA2_512": 3,
    "PKIX_ECDSA_P256_SHA_256": 5,
    "PKIX_ED25519": 7,
    "ALL": 1,
    "EXACT": 3,
}
_BYTES = re.compile(r"[A-Za-z0-9+/]{16,}={0,2}")


def rewritten(item, *, name=lambda text: text, value=lambda item: item):
    if isinstance(item, dict):
        return {name(key): rewritten(inner, name=name, value=value) for key, inner in item.items()}
    if isinstance(item, list):
        return [rewritten(inner, name=name, value=value) for inner in item]
    return value(item)


def respelled(document: bytes, **how) -> bytes:
    return json.dumps(rewritten(json.loads(document), **how)).encode()


def snake(name: str) -> str:
    return re.sub(r"([a-z0-9])([A-Z])", lambda match: f"{match[1]}_{match[2].lower()}", name)


def url_safe(item):
    if isinstance(item, str) and _BYTES.fullmatch(item):
        return item.replace("+", "-").replace("/", "_").rstrip("=")
    return item


def as_number(item):
    return int(item) if isinstance(item, str) and item.isdigit() else item


def as_text(item):
    return str(item) if isinstance(item, int) else item


@EACH_DOCUMENT
def test_reads_proto_names_as_well_as_json_names(parse, value):
    document = respelled(value.to_json(), name=snake)
    assert b"_" in document
    assert parse(document) == value


@EACH_DOCUMENT
def test_reads_enums_as_numbers(parse, value):
    numbered = respelled(
        value.to_json(), value=lambda item: _ENUMS.get(item, item) if isinstance(item, str) else item
    )
    assert parse(numbered) == value


@EACH_DOCUMENT
def test_reads_integers_as_numbers_or_text(parse, value):
    assert parse(respelled(value.to_json(), value=as_number)) == value
    assert parse(respelled(value.to_json(), value=as_text)) == value


@EACH_DOCUMENT
def test_reads_base64_of_either_alphabet_with_or_without_padding(parse, value):
    assert parse(respelled(value.to_json(), value=url_safe)) == value


@EACH_DOCUMENT
def test_reads_null_as_absent(parse, value):
    document = json.loads(value.to_json())
    document["mediaTypeOfTheFuture"] = None
    for name in ("messageSignature", "dsseEnvelope", "tsaConfig", "operator", "inclusionPromise"):
        document.setdefault(name, None)
    assert parse(json.dumps(document).encode()) == value


@EACH_DOCUMENT
def test_refuses_null_in_a_list(parse, value):
    def with_null(item):
        if isinstance(item, dict):
            return {name: with_null(inner) for name, inner in item.items()}
        return [*item, None] if isinstance(item, list) else item

    document = json.dumps(with_null(json.loads(value.to_json()))).encode()
    assert b"null]" in document
    with pytest.raises(MalformedInput):
        parse(document)


@EACH_DOCUMENT
def test_refuses_a_field_under_both_of_its_names(parse, value):
    document = json.loads(value.to_json())
    name = next(name for name in document if snake(name) != name)
    document[snake(name)] = document[name]
    with pytest.raises(MalformedInput) as caught:
        parse(json.dumps(document).encode())
    assert caught.value.code == "repeated_name"


@EACH_DOCUMENT
def test_refuses_a_name_that_stands_twice(parse, value):
    document = value.to_json()
    name, inner = next(iter(json.loads(document).items()))
    twice = b"{" + json.dumps(name).encode() + b":" + json.dumps(inner).encode() + b"," + document[1:]
    assert json.loads(twice) == json.loads(document)
    with pytest.raises(MalformedInput) as caught:
        parse(twice)
    assert caught.value.code == "repeated_name"


def test_names_the_fields_it_does_not_know():
    document = json.loads(WORLD.bundle().to_json())
    document["later"] = {"mediaType": 1}
    document["verificationMaterial"]["tlogEntries"][0]["newProof"] = []
    assert unknown_bundle_fields(json.dumps(document).encode()) == (
        "verificationMaterial.tlogEntries.newProof",
        "later",
    )
    assert unknown_bundle_fields(WORLD.bundle().to_json()) == ()


def test_names_no_more_unknown_fields_than_anyone_reads():
    document = {**json.loads(WORLD.bundle().to_json()), **{f"x{number}": 1 for number in range(100)}}
    assert len(unknown_bundle_fields(json.dumps(document).encode())) == MAX_UNKNOWN_FIELDS


def test_cuts_the_path_of_an_unknown_field_at_200_characters():
    document = json.dumps({"x" * 300: 1}).encode()
    (name,) = unknown_fields(Small, document, what="it", max_bytes=1000)
    assert name == "x" * (200 - len("it."))


class Small(Message, frozen=True):
    big_count: Int = 0
    inner: "tuple[Inner, ...] | None" = ()


class Inner(Message, frozen=True):
    text: str | None = ""


class Others(Message, frozen=True):
    mode: Literal["fast", "slow"] = "slow"
    annotations: tuple[dict[str, str], ...] = ()
    labels: dict[str, str] | None = None


def test_a_message_may_have_fields_of_other_types():
    text = b'{"mode":"fast","annotations":[{"a":"b"}],"labels":{}}'
    found = decode_message(Others, text, what="x", max_bytes=100)
    assert found == Others(mode="fast", annotations=({"a": "b"},), labels={})


def read(text: bytes) -> Small:
    return decode_message(Small, text, what="the test", max_bytes=1000)


@pytest.mark.parametrize(
    "text", [b"[]", b'"x"', b'{"inner":{}}', b'{"inner":[1]}', b'{"bigCount":true}', b'{"bigCount":[]}', b"{"]
)
def test_refuses_what_is_not_the_message(text):
    with pytest.raises(MalformedInput):
        read(text)


def test_reads_the_message_all_the_way_down():
    found = read(b'{"big_count":"7","inner":[{"text":null},{"text":"a","more":1}]}')
    assert found == Small(big_count="7", inner=(Inner(), Inner(text="a")))


@pytest.mark.parametrize(
    "text", [b'{"a":1,"a":2}', b'{"b":[{"a":"","a":""}]}', rb'{"a\\":1,"a\\":"\""}', b'{"":0,"":0}']
)
def test_finds_repeated_names_at_every_depth(text):
    with pytest.raises(MalformedInput) as caught:
        decode_value(text, what="x", max_bytes=100)
    assert caught.value.code == "repeated_name"


@pytest.mark.parametrize(
    "text",
    [
        rb'{"a":"\"","b":"\\","c\"":"\\\"","d":["\\\\",""]}',
        b'[{"a":1},{"a":2}]',
        rb'{"a":{"a":"\\"}}',
        b'""',
        rb'"\\\""',
        rb'["\\\\"]',
        rb'"\u005c\""',
        b'"' + rb"\\" * 16 + b'"',
        b'"' + rb"\\" * 17 + rb'\""',
    ],
)
def test_escapes_do_not_look_like_repeated_names(text):
    assert decode_value(text, what="x", max_bytes=100) == json.loads(text)


@pytest.mark.parametrize("inner", [b"", b"1", b"{}"], ids=["empty", "number", "object"])
def test_reads_128_levels(inner):
    most = MAX_DEPTH - (inner == b"{}")
    text = b"[" * most + inner + b"]" * most
    decode_value(text, what="x", max_bytes=1000)
    for deeper in (b"[" + text + b"]", b'{"a":' + text + b"}"):
        with pytest.raises(MalformedInput, match="too deeply"):
            decode_value(deeper, what="x", max_bytes=1000)


@pytest.mark.parametrize("depth", [5000, 1_000_000])
def test_refuses_what_nests_too_deeply_to_be_decoded(depth):
    for text in (b"[" * depth + b"]" * depth, b'{"":' * depth + b"1" + b"}" * depth):
        with pytest.raises(MalformedInput):
            decode_value(text, what="x", max_bytes=len(text), max_values=len(text))


@pytest.mark.parametrize("decode", [decode_value, decode_members])
def test_a_document_has_so_many_bytes(decode):
    decode(b'{"a":1}', what="x", max_bytes=7)
    with pytest.raises(MalformedInput) as caught:
        decode(b'{"a":1} ', what="x", max_bytes=7)
    assert caught.value.code == "too_large"


def test_refuses_a_value_that_is_not_all_of_its_text():
    """No decoder makes one; if one should, the text has said something that nobody read."""
    check_names(b'["a"]', what="x")
    with pytest.raises(MalformedInput):
        _check_names(b'["a"]', [], "x")


def test_counts_values_before_it_decodes_them():
    most = b"[" + b",".join([b"1"] * MAX_VALUES) + b"]"
    assert len(decode_value(most, what="x", max_bytes=len(most))) == MAX_VALUES
    with pytest.raises(MalformedInput) as caught:
        decode_value(most[:-1] + b",1]", what="x", max_bytes=2 * len(most))
    assert caught.value.code == "too_large"


def test_refuses_a_bundle_of_countless_little_values():
    with pytest.raises(MalformedInput) as caught:
        parse_bundle(b'{"x":[' + b"{}," * 16_000_000 + b"{}]}")
    assert caught.value.code == "too_large"


@pytest.mark.parametrize("value", [1.5, 2.0**60, float(2**53 + 2), "1.0", "", "0x1", True, 2**31, "9" * 30])
def test_refuses_what_is_not_an_int32(value):
    with pytest.raises(MalformedInput):
        parse_int32(value, what="x")


@pytest.mark.parametrize(
    ("value", "number"), [(2.0, 2), (1e3, 1000), ("-5", -5), (-(2**31), -(2**31)), (2**31 - 1, 2**31 - 1)]
)
def test_reads_every_spelling_of_an_int32(value, number):
    assert parse_int32(value, what="x") == number


def test_an_enum_of_the_future_keeps_its_number():
    assert parse_enum(99, {1: "ONE"}, what="x") == "99"
    assert parse_enum(1, {1: "ONE"}, what="x") == "ONE"


def test_a_log_with_a_key_of_the_future_is_left_out_and_remembered():
    document = json.loads(WORLD.root.to_json())
    document["tlogs"][0]["publicKey"]["keyDetails"] = 99
    found = parse_trusted_root(json.dumps(document).encode())
    assert (len(found.tlogs), found.unread_tlogs) == (1, 1)
    assert found == msgspec.structs.replace(WORLD.root, tlogs=WORLD.root.tlogs[1:], unread_tlogs=1)
    assert TrustedRoot().unread_tlogs == 0


def test_a_log_does_not_sign_digests():
    """PKIX_ED25519_PH would name an Ed25519 key too, but notes and SCTs are signed themselves."""
    document = json.loads(WORLD.root.to_json())
    document["tlogs"][0]["publicKey"]["keyDetails"] = "PKIX_ED25519_PH"
    found = parse_trusted_root(json.dumps(document).encode())
    assert (len(found.tlogs), found.unread_tlogs) == (1, 1)


def test_unknown_fields_are_found_in_any_message():
    assert unknown_fields(Small, b'{"inner":[{"x":1}]}', what="it", max_bytes=100) == ("inner.x",)
