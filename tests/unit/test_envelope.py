"""DSSE envelopes: what is signed, and what is no envelope."""

import json

import pytest

from hallmark.core.dsse import (
    MAX_ENVELOPE_BYTES,
    MAX_ENVELOPE_SIGNATURES,
    Envelope,
    EnvelopeSignature,
    pae,
    parse_envelope,
)
from hallmark.errors import MalformedInput

DOCUMENT = {"payload": "AAEC", "payloadType": "t", "signatures": [{"sig": "AAAA", "keyid": "k"}]}


def parse(**changes: object) -> Envelope:
    found = {name: value for name, value in {**DOCUMENT, **changes}.items() if value is not ...}
    return parse_envelope(json.dumps(found).encode())


def test_reads_and_prints_an_envelope():
    found = parse()
    assert (found.payload, found.payload_type) == (b"\0\1\2", "t")
    assert found.signatures == (EnvelopeSignature(b"\0\0\0", "k"),)
    assert parse_envelope(found.to_json()) == found


def test_what_is_signed_has_lengths_in_bytes():
    """The example of the specification, and a type that has more bytes than characters."""
    assert pae("http://example.com/HelloWorld", b"hello world") == (
        b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    )
    assert pae("\u00e9", b"") == b"DSSEv1 2 \xc3\xa9 0 "
    assert parse().pae() == b"DSSEv1 1 t 3 \0\1\2"


@pytest.mark.parametrize(
    "changes",
    [
        {"payloadType": ""},
        {"payloadType": None},
        {"payloadType": ...},
        {"payloadType": 7},
        {"signatures": []},
        {"signatures": None},
        {"signatures": ...},
        {"signatures": [None]},
        {"signatures": [{"sig": ""}]},
        {"signatures": [{"sig": None}]},
        {"signatures": [{}]},
        {"signatures": [{"sig": "AAAA"}, {"sig": ""}]},
        {"signatures": [{"sig": ""}, {"sig": "AAAA"}]},
        {"signatures": [{"sig": "AAAA", "keyid": 7}]},
        {"signatures": [{"sig": "*"}]},
        {"payload": "*"},
    ],
    ids=str,
)
def test_refuses_what_is_no_envelope(changes):
    with pytest.raises(MalformedInput):
        parse(**changes)


@pytest.mark.parametrize("payload", ["", None, ...])
def test_a_payload_may_be_empty(payload):
    assert parse(payload=payload).payload == b""


def test_a_keyid_may_be_absent():
    for item in ({"sig": "AAAA"}, {"sig": "AAAA", "keyid": None}, {"sig": "AAAA", "keyid": ""}):
        assert parse(signatures=[item]).signatures == (EnvelopeSignature(b"\0\0\0"),)


def test_an_envelope_has_up_to_32_signatures():
    most = [{"sig": "AAAA"}] * MAX_ENVELOPE_SIGNATURES
    assert len(parse(signatures=most).signatures) == 32
    with pytest.raises(MalformedInput, match="33 signatures"):
        parse(signatures=[*most, {"sig": "AAAA"}])


def test_a_null_is_as_good_as_nothing():
    """Each is refused for what it then lacks, and a key id need not be there."""
    for field, reason in (("payloadType", "no payload type"), ("signatures", "0 signatures")):
        with pytest.raises(MalformedInput, match=reason):
            parse(**{field: None})
    with pytest.raises(MalformedInput, match="is empty"):
        parse(signatures=[{"sig": None}])
    found = parse(signatures=[{"sig": "AAAA", "keyid": None}])
    assert found.signatures == (EnvelopeSignature(b"\0\0\0"),)
    assert json.loads(found.to_json())["signatures"] == [{"sig": "AAAA"}]


def test_an_envelope_has_up_to_128_mib():
    document = json.dumps(DOCUMENT).encode()
    assert parse_envelope(document.ljust(MAX_ENVELOPE_BYTES)) == parse()
    with pytest.raises(MalformedInput) as caught:
        parse_envelope(document.ljust(MAX_ENVELOPE_BYTES + 1))
    assert caught.value.code == "too_large"
