"""Bundles: what each version must hold, and how leniently the JSON is read."""

import json

import msgspec
import pytest
from tests.support import world as w

from hallmark.core.algorithms import SHA2_256
from hallmark.core.bundle import (
    BUNDLE_V01,
    BUNDLE_V02,
    BUNDLE_V03,
    BUNDLE_V03_OLD,
    Bundle,
    MessageSignature,
    parse_bundle,
)
from hallmark.core.dsse import Envelope, EnvelopeSignature, parse_envelope
from hallmark.errors import MalformedInput

replace = msgspec.structs.replace
WORLD = w.World()
BUNDLE = WORLD.bundle()


def document(bundle: Bundle = BUNDLE) -> dict:
    return json.loads(bundle.to_json())


def parse(found: dict) -> Bundle:
    return parse_bundle(json.dumps(found).encode())


def old_document(version: str, bundle: Bundle) -> dict:
    """The same bundle as versions 0.1 and 0.2 write it."""
    found = document(bundle)
    material = found["verificationMaterial"]
    material["x509CertificateChain"] = {"certificates": [material.pop("certificate")]}
    return {**found, "mediaType": version}


@pytest.mark.parametrize(
    "bundle",
    [BUNDLE, WORLD.v1_bundle(), WORLD.attestation(), WORLD.key_bundle(), WORLD.key_bundle(tlog_entries=())],
)
def test_prints_what_it_reads(bundle):
    assert parse_bundle(bundle.to_json()) == bundle
    assert parse_bundle(bundle.to_json()).to_json() == bundle.to_json()


def test_prints_zero_values():
    entry = replace(WORLD.v1_bundle().tlog_entries[0], log_index=0, inclusion_promise=None)
    entry = replace(entry, inclusion_proof=replace(entry.inclusion_proof, hashes=()), integrated_time=0)
    found = document(replace(BUNDLE, tlog_entries=(entry,)))["verificationMaterial"]["tlogEntries"][0]
    assert found["logIndex"] == found["integratedTime"] == "0"
    assert found["inclusionProof"]["hashes"] == []


@pytest.mark.parametrize("version", [BUNDLE_V01, BUNDLE_V02])
def test_reads_old_versions_and_prints_the_new_one(version):
    old = parse(old_document(version, WORLD.v1_bundle()))
    assert old.media_type == version
    assert parse_bundle(old.to_json()).media_type == BUNDLE_V03


def test_reads_the_old_spelling_of_the_new_version():
    assert parse({**document(), "mediaType": BUNDLE_V03_OLD}).certificate == BUNDLE.certificate


def test_an_old_bundle_without_proof_cannot_be_printed_anew():
    with pytest.raises(MalformedInput, match="inclusion proof"):
        WORLD.v1_bundle(version=BUNDLE_V01).to_json()


def test_reads_what_other_writers_leave_out_or_spell_otherwise():
    found = document()
    entry = found["verificationMaterial"]["tlogEntries"][0]
    entry["inclusionPromise"] = None
    entry["logIndex"] = int(entry["logIndex"])
    entry["integratedTime"] = None
    found["unknown"] = {"field": [1]}
    found["messageSignature"]["signature"] = (
        found["messageSignature"]["signature"].rstrip("=").replace("+", "-").replace("/", "_")
    )
    assert parse(found) == BUNDLE
    del entry["integratedTime"], entry["inclusionPromise"], entry["logIndex"]
    assert parse(found).tlog_entries[0].log_index == 0


@pytest.mark.parametrize(
    "change",
    [
        lambda b: b.update(mediaType="application/vnd.dev.sigstore.bundle.v0.4+json"),
        lambda b: b.update(mediaType=""),
        lambda b: b.pop("mediaType"),
        lambda b: b.pop("verificationMaterial"),
        lambda b: b.pop("messageSignature"),
        lambda b: b.update(dsseEnvelope={"payload": "", "payloadType": "t", "signatures": [{"sig": "YQ=="}]}),
        lambda b: b["messageSignature"].pop("signature"),
        lambda b: b["messageSignature"].update(signature="not base64!"),
        lambda b: b["messageSignature"]["messageDigest"].update(algorithm="MD5"),
        lambda b: b["messageSignature"]["messageDigest"].update(digest="YQ=="),
        lambda b: b["verificationMaterial"].pop("certificate"),
        lambda b: b["verificationMaterial"].update(certificate={"rawBytes": ""}),
        lambda b: b["verificationMaterial"].update(publicKey={"hint": "x"}),
        lambda b: b["verificationMaterial"].update(
            x509CertificateChain={"certificates": [{"rawBytes": "YQ=="}]}
        ),
        lambda b: b["verificationMaterial"].update(tlogEntries="none"),
        lambda b: b["verificationMaterial"]["tlogEntries"].append(
            b["verificationMaterial"]["tlogEntries"][0]
        ),
    ],
)
def test_refuses_a_document_that_breaks_a_rule(change):
    found = document()
    change(found)
    with pytest.raises(MalformedInput):
        parse(found)


@pytest.mark.parametrize(
    "change",
    [
        lambda e: e.update(logIndex="-1"),
        lambda e: e.update(logIndex=-1),
        lambda e: e.update(logIndex="1.5"),
        lambda e: e.update(logIndex=str(2**63)),
        lambda e: e.update(integratedTime="-5"),
        lambda e: e.update(logId={"keyId": "YQ=="}),
        lambda e: e.pop("logId"),
        lambda e: e.pop("kindVersion"),
        lambda e: e.pop("canonicalizedBody"),
        lambda e: e.pop("inclusionProof"),
        lambda e: e["inclusionProof"].pop("checkpoint"),
        lambda e: e["inclusionProof"].update(checkpoint={"envelope": ""}),
        lambda e: e["inclusionProof"].update(checkpoint={"envelope": "x" * 300_000}),
        lambda e: e["inclusionProof"].update(rootHash="YQ=="),
        lambda e: e["inclusionProof"].update(hashes=["YQ=="]),
        lambda e: e["inclusionProof"].update(hashes=[e["inclusionProof"]["rootHash"]] * 65),
        lambda e: e["inclusionProof"].update(treeSize="-1"),
    ],
)
def test_refuses_an_entry_that_breaks_a_rule(change):
    found = document()
    change(found["verificationMaterial"]["tlogEntries"][0])
    with pytest.raises(MalformedInput):
        parse(found)


def test_a_v01_bundle_needs_the_promise():
    found = old_document(BUNDLE_V01, BUNDLE)
    with pytest.raises(MalformedInput, match="inclusion promise"):
        parse(found)


def test_an_old_bundle_holds_a_chain():
    with pytest.raises(MalformedInput, match="another form"):
        parse({**document(), "mediaType": BUNDLE_V02})
    found = old_document(BUNDLE_V02, BUNDLE)
    found["verificationMaterial"]["x509CertificateChain"]["certificates"] *= 12
    with pytest.raises(MalformedInput, match="intermediate"):
        parse(found)


def test_a_new_bundle_has_no_intermediates():
    with pytest.raises(MalformedInput, match="chain"):
        replace(BUNDLE, intermediates=(b"x",))


@pytest.mark.parametrize(
    "changes",
    [
        {"timestamps": tuple(b"%d" % number for number in range(33))},
        {"tlog_entries": tuple(replace(BUNDLE.tlog_entries[0], log_index=n) for n in range(33))},
        {"certificate": b"x" * 70_000},
    ],
)
def test_refuses_more_than_anyone_needs(changes):
    with pytest.raises(MalformedInput):
        replace(BUNDLE, **changes)


def test_an_envelope_in_a_bundle_has_one_signature():
    signatures = (EnvelopeSignature(b"a"), EnvelopeSignature(b"b"))
    with pytest.raises(MalformedInput, match="one signature"):
        Bundle(public_key_hint="", envelope=Envelope(payload=b"", payload_type="t", signatures=signatures))


def test_the_signature_is_the_messages_or_the_envelopes():
    assert Bundle(public_key_hint="", message_signature=MessageSignature(None, b"", b"s")).signature == b"s"
    assert WORLD.attestation().signature


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"null",
        b"[]",
        b"{",
        b"\xff\xfe",
        b"{}" * 2,
        b'{"mediaType":1}',
        b"[" * 100_000,
        b'{"x":' * 100_000,
    ],
)
def test_refuses_what_is_no_bundle(data):
    with pytest.raises(MalformedInput):
        parse_bundle(data)


def test_every_truncation_is_refused():
    data = BUNDLE.to_json()
    for length in range(0, len(data), 7):
        with pytest.raises(MalformedInput):
            parse_bundle(data[:length])


def test_envelopes_are_read_alone_too():
    envelope = Envelope(payload=b"p", payload_type="t", signatures=(EnvelopeSignature(b"s", "key"),))
    assert parse_envelope(envelope.to_json()) == envelope
    for bad in (b"{}", b'{"payloadType":"t"}', b'{"payloadType":"t","signatures":[{}]}'):
        with pytest.raises(MalformedInput):
            parse_envelope(bad)


def test_the_pae_counts_bytes():
    envelope = Envelope(payload=b"hello \xff", payload_type="t\u00e9", signatures=(EnvelopeSignature(b"s"),))
    assert envelope.pae() == b"DSSEv1 3 t\xc3\xa9 7 hello \xff"


def test_a_message_digest_has_its_hashs_length():
    with pytest.raises(MalformedInput):
        MessageSignature(SHA2_256, bytes(20), b"s")
