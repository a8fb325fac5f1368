"""What a request for an entry must say, field by field: one thing is wrong and everything else is right."""

import json

import pytest
from tests.support.rekor import changed, dsse, hashedrekord, to_body

from hallmark.core.dsse import Envelope
from hallmark.core.keys import parse_public_key
from hallmark.errors import HallmarkError, MalformedInput
from hallmark.tlog.checks import MAX_VERIFIER_BYTES, check_hashedrekord
from hallmark.tlog.requests import DsseRequest, parse_create_entry

P256 = "PKIX_ECDSA_P256_SHA_256"
REQUEST, DSSE = "hashedRekordRequestV002", "dsseRequestV002"
RECORD, ENVELOPE = hashedrekord(), dsse(P256)
SIGNATURE, VERIFIER = (REQUEST, "signature"), (REQUEST, "signature", "verifier")


def refused(request: object, code: str) -> str:
    with pytest.raises(MalformedInput) as caught:
        parse_create_entry(request if isinstance(request, bytes) else to_body(request))
    assert caught.value.code == code
    return caught.value.message


@pytest.mark.parametrize(
    "place",
    [
        (),
        (REQUEST,),
        SIGNATURE,
        VERIFIER,
        (*VERIFIER, "publicKey"),
        (DSSE,),
        (DSSE, "envelope"),
        (DSSE, "envelope", "signatures", 0),
        (DSSE, "verifiers", 0),
        (DSSE, "verifiers", 0, "publicKey"),
    ],
)
def test_a_field_that_a_message_does_not_have_is_refused(place):
    whole = ENVELOPE if DSSE in place else RECORD
    assert parse_create_entry(to_body(whole))
    assert "unknown field 'more'" in refused(changed(whole, *place, "more", value=1), "malformed_json")


@pytest.mark.parametrize("spelling", [None, ...])
def test_a_verifier_without_key_and_certificate_is_refused(spelling):
    bare = changed(RECORD, *VERIFIER, "publicKey", value=spelling)
    refused(bare, "missing_verifier")
    if spelling is None:
        refused(changed(bare, *VERIFIER, "x509Certificate", value=None), "missing_verifier")


def test_a_null_beside_the_key_is_no_certificate():
    for spelling in (RECORD, changed(RECORD, *VERIFIER, "x509Certificate", value=None)):
        assert not parse_create_entry(to_body(spelling)).is_certificate


def test_a_certificate_is_told_from_a_key():
    key = RECORD[REQUEST]["signature"]["verifier"]["publicKey"]
    made = changed(
        changed(RECORD, *VERIFIER, "publicKey", value=...), *VERIFIER, "x509Certificate", value=key
    )
    assert parse_create_entry(to_body(made)).is_certificate
    made[REQUEST]["signature"]["verifier"]["publicKey"] = None
    assert parse_create_entry(to_body(made)).is_certificate


@pytest.mark.parametrize(
    "place", [(REQUEST, "digest"), (*SIGNATURE, "content"), (*VERIFIER, "publicKey", "rawBytes")]
)
def test_bytes_that_are_empty_are_missing(place):
    refused(changed(RECORD, *place, value=""), "missing_field")


@pytest.mark.parametrize("details", [[], {}, 1.5, None])
def test_key_details_are_a_name_or_a_number(details):
    refused(changed(RECORD, *VERIFIER, "keyDetails", value=details), "unknown_algorithm")


@pytest.mark.parametrize("value", [7, {"a": 1}, "x"])
def test_lists_are_lists(value):
    assert "is not a list" in refused(changed(ENVELOPE, DSSE, "verifiers", value=value), "malformed_json")


@pytest.mark.parametrize("value", [7, ["x"], None, ""])
def test_a_payload_type_is_text(value):
    refused(changed(ENVELOPE, DSSE, "envelope", "payloadType", value=value), "missing_field")


@pytest.mark.parametrize("keyid", [..., None, ""])
def test_a_signature_may_name_no_key(keyid):
    found = parse_create_entry(
        to_body(changed(ENVELOPE, DSSE, "envelope", "signatures", 0, "keyid", value=keyid))
    )
    assert isinstance(found, DsseRequest)
    assert found.envelope.signatures[0].keyid == ""


@pytest.mark.parametrize("payload", [..., None, ""])
def test_an_envelope_may_hold_nothing(payload):
    found = parse_create_entry(to_body(changed(ENVELOPE, DSSE, "envelope", "payload", value=payload)))
    assert found.envelope.payload == b""
    assert isinstance(found.envelope, Envelope)


def test_what_is_no_json_is_told_as_such():
    for body in (b"{", b"\xff", b"[" * 100_000):
        assert "is not JSON" in refused(body, "malformed_json")
    assert "twice" in refused(b'{"a":1,"a":2}', "malformed_json")
    assert "is not an object" in refused(b"[]", "malformed_json")


@pytest.mark.parametrize("more", [0, 1])
def test_a_certificate_of_a_verifier_has_up_to_65535_bytes(more):
    entry = parse_create_entry(to_body(RECORD))
    entry = type(entry)(
        digest=entry.digest,
        signature=entry.signature,
        algorithm=entry.algorithm,
        verifier=bytes(MAX_VERIFIER_BYTES + more),
        is_certificate=True,
    )
    with pytest.raises(MalformedInput) as caught:
        check_hashedrekord(entry, {P256})
    assert caught.value.code == "malformed_verifier"
    assert (" bytes" in caught.value.message) == bool(more)


def test_both_ways_of_reading_a_record_agree():
    """The second spells a field in the older way, which the quick way does not read."""
    slow = json.loads(to_body(RECORD))
    slow[REQUEST]["signature"]["verifier"]["key_details"] = slow[REQUEST]["signature"]["verifier"].pop(
        "keyDetails"
    )
    first, second = (parse_create_entry(to_body(request)) for request in (RECORD, slow))
    assert first == second
    assert parse_public_key(first.verifier)
    try:
        check_hashedrekord(first, {P256})
    except HallmarkError as error:
        pytest.fail(error.message)
