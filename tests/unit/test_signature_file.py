"""Files of other tools: what they hold is read, what they are is named."""

import json

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from tests.support import world as w
from tests.support.foreign import cosign_bundle
from tests.support.verifying import ALICE, replace

from hallmark.core.bundle import BUNDLE_V01, BUNDLE_V02, MAX_BUNDLE_BYTES, MAX_CERTIFICATE_BYTES, Bundle
from hallmark.core.foreign_signatures import parse_detached_signature
from hallmark.core.signature_file import MAX_BUNDLES, parse_signature_file
from hallmark.errors import InvalidTimestamp, MalformedInput
from hallmark.verify.verifier import Artifact, Thresholds, Verifier

WORLD = w.World()
LONE = WORLD.bundle()
ATTESTED = WORLD.attestation()


def document(bundle: Bundle) -> dict[str, object]:
    return json.loads(bundle.to_json())


def read(value: object):
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return parse_signature_file(data)


def bundles(value: object) -> list[Bundle]:
    return [item.bundle for item in read(value).bundles]


def refused(value: object, *, code: str = "not_a_signature") -> str:
    with pytest.raises(MalformedInput) as caught:
        read(value)
    assert caught.value.code == code
    return caught.value.message


def verify(bundle: Bundle, root=WORLD.root) -> str:
    return Verifier(root).verify(bundle, Artifact.from_bytes(w.MESSAGE), ALICE).identity


def pem(der: bytes) -> bytes:
    return x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM)


# One bundle, or several


def test_reads_a_lone_bundle():
    found = read(LONE.to_json())
    assert (found.kind, [item.place for item in found.bundles]) == ("a Sigstore bundle", [""])
    assert found.bundles[0].bundle == LONE


def test_reads_a_bundle_that_is_printed_over_several_lines():
    assert bundles(json.dumps(document(LONE), indent=2).encode()) == [LONE]
    assert bundles(b"\n  " + LONE.to_json() + b"\n\n") == [LONE]


def test_reads_a_bundle_with_proto_names():
    text = LONE.to_json().replace(b"mediaType", b"media_type")
    text = text.replace(b"verificationMaterial", b"verification_material")
    text = text.replace(b"messageSignature", b"message_signature")
    assert bundles(text) == [LONE]


@pytest.mark.parametrize("media_type", [None, 7, {}])
def test_a_bundle_that_does_not_say_its_version_is_named_as_a_bundle(media_type):
    with pytest.raises(MalformedInput, match="the bundle") as caught:
        read({**document(LONE), "mediaType": media_type})
    assert caught.value.code != "not_a_signature"


def test_reads_a_bundle_a_line():
    found = read(LONE.to_json() + b"\n" + ATTESTED.to_json() + b"\r\n\n")
    assert [item.bundle for item in found.bundles] == [LONE, ATTESTED]
    assert [item.place for item in found.bundles] == ["bundle 1 of 2", "bundle 2 of 2"]


@pytest.mark.parametrize(
    "broken", [b"{}", b'{"mediaType":"x"}', LONE.to_json()[:100]], ids=["empty", "other", "cut"]
)
def test_a_broken_line_does_not_hide_the_others(broken):
    found = read(LONE.to_json() + b"\n" + broken + b"\n")
    assert [item.place for item in found.bundles] == ["bundle 1 of 2"]
    assert [item.place for item in found.broken] == ["bundle 2 of 2"]
    assert found.bundles[0].bundle == LONE


def test_a_broken_attestation_does_not_hide_the_others():
    items = [{"bundle": {}}, {"bundle": document(LONE)}]
    assert [item.place for item in read({"attestations": items}).bundles] == ["bundle 2 of 2"]
    groups = [{"attestations": [pep740(ATTESTED), {}]}]
    assert len(read({"attestation_bundles": groups}).broken) == 1


@pytest.mark.parametrize(
    "form",
    [lambda items: {"attestations": items}, lambda items: {"attestation_bundles": [{"attestations": items}]}],
    ids=["npm", "python"],
)
def test_a_line_with_too_many_does_not_hide_the_others(form):
    line = json.dumps(form([{"bundle": {}}] * (MAX_BUNDLES + 1))).encode()
    found = read(LONE.to_json() + b"\n" + line)
    assert [item.bundle for item in found.bundles] == [LONE]
    assert [item.error.code for item in found.broken] == ["too_large"]


@pytest.mark.parametrize(
    "value", [{"attestations": 5}, {"attestations": [{}]}, {"attestation_bundles": [{}]}]
)
def test_refuses_attestations_that_are_no_list_of_bundles(value):
    with pytest.raises(MalformedInput, match="does not parse"):
        read(value)


def test_where_every_line_is_broken_the_first_says_why():
    refused(b"{}\n{}\n")


def test_reads_the_attestations_of_a_registry():
    published = WORLD.key_bundle()
    items = [{"predicateType": "x", "bundle": document(item)} for item in (ATTESTED, published)]
    assert bundles({"attestations": items}) == [ATTESTED, published]


def pep740(bundle: Bundle) -> dict[str, object]:
    entries = document(bundle)["verificationMaterial"]["tlogEntries"]
    return {
        "version": 1,
        "verification_material": {
            "certificate": w.b64(bundle.certificate),
            "transparency_entries": entries,
        },
        "envelope": {"statement": w.b64(bundle.envelope.payload), "signature": w.b64(bundle.signature)},
    }


def test_reads_an_attestation_of_a_python_package():
    plain = replace(ATTESTED, timestamps=())
    assert bundles(pep740(ATTESTED)) == [plain]
    assert verify(replace(bundles(pep740(ATTESTED))[0], timestamps=ATTESTED.timestamps)) == w.EMAIL


def test_refuses_an_attestation_of_a_later_version():
    refused({**pep740(ATTESTED), "version": 2}, code="unknown_media_type")


def test_reads_the_provenance_of_a_python_package():
    groups = [{"publisher": {}, "attestations": [pep740(ATTESTED), pep740(ATTESTED)]}]
    assert len(bundles({"version": 1, "attestation_bundles": groups})) == 2


# Cosign before version 3


def test_verifies_a_bundle_of_old_cosign():
    bundle = WORLD.v1_bundle(version=BUNDLE_V01)
    (found,) = bundles(cosign_bundle(bundle, pem(bundle.certificate)))
    assert verify(found) == w.EMAIL


def test_a_bundle_of_old_cosign_without_log_says_that_no_time_is_known():
    old = cosign_bundle(WORLD.v1_bundle(version=BUNDLE_V01), pem(LONE.certificate))
    del old["rekorBundle"]
    with pytest.raises(InvalidTimestamp):
        verify(bundles(old)[0])


def test_a_bundle_of_old_cosign_by_a_key_has_no_certificate():
    old = cosign_bundle(WORLD.v1_bundle(version=BUNDLE_V01), None)
    assert bundles(old)[0].public_key_hint == ""


def test_refuses_an_old_bundle_that_does_not_parse():
    old = cosign_bundle(WORLD.v1_bundle(version=BUNDLE_V01), pem(LONE.certificate))
    for change in (
        {"cert": w.b64(b"-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n")},
        {"base64Signature": "!"},
        {"rekorBundle": {"SignedEntryTimestamp": "x"}},
        {"rekorBundle": {**old["rekorBundle"], "Payload": {**old["rekorBundle"]["Payload"], "logID": "x"}}},
        {"rekorBundle": {**old["rekorBundle"], "Payload": {**old["rekorBundle"]["Payload"], "body": "e30="}}},
    ):
        with pytest.raises(MalformedInput):
            read({**old, **change})


# Bare envelopes and detached signatures


def envelope(*signatures: dict[str, object]) -> dict[str, object]:
    return {
        "payload": w.b64(ATTESTED.envelope.payload),
        "payloadType": ATTESTED.envelope.payload_type,
        "signatures": list(signatures),
    }


@pytest.mark.parametrize(
    "field",
    [{"cert": pem(ATTESTED.certificate).decode()}, {"certificate": w.b64(pem(ATTESTED.certificate))}],
    ids=["cert", "certificate"],
)
def test_reads_an_envelope_with_the_certificate_beside_the_signature(field):
    (found,) = bundles(envelope({"sig": w.b64(ATTESTED.signature), **field}))
    assert (found.certificate, found.envelope.payload) == (ATTESTED.certificate, ATTESTED.envelope.payload)
    with pytest.raises(InvalidTimestamp):
        verify(found)
    whole = replace(found, tlog_entries=ATTESTED.tlog_entries, timestamps=ATTESTED.timestamps)
    assert verify(whole) == w.EMAIL


def test_reads_each_signature_of_an_envelope():
    found = bundles(envelope({"sig": "YQ==", "keyid": "k"}, {"sig": "Yg=="}))
    assert [(item.signature, item.public_key_hint) for item in found] == [(b"a", "k"), (b"b", "")]


def test_refuses_an_envelope_without_or_with_too_many_signatures():
    for count in (0, 33):
        with pytest.raises(MalformedInput):
            read(envelope(*[{"sig": w.b64(bytes([number]) * 8)} for number in range(count)]))
    assert len(bundles(envelope(*[{"sig": w.b64(bytes([number]) * 8)} for number in range(32)]))) == 32


@pytest.mark.parametrize(
    "signature",
    [w.sign("p256-bare", w.MESSAGE), w.b64(w.sign("p256-bare", w.MESSAGE)).encode() + b"\n"],
    ids=["der", "base64"],
)
def test_verifies_a_detached_signature_with_its_key(signature):
    found = parse_detached_signature(signature)
    verifier = Verifier(WORLD.root, Thresholds(tlog=0))
    assert verifier.verify_with_key(found, Artifact.from_bytes(w.MESSAGE), w.public_key("p256-bare"))


@pytest.mark.parametrize(
    "certificate", [pem(LONE.certificate), w.b64(pem(LONE.certificate)).encode()], ids=["pem", "base64"]
)
def test_reads_the_certificate_beside_a_detached_signature(certificate):
    assert (
        parse_detached_signature(w.b64(LONE.signature).encode(), certificate).certificate == LONE.certificate
    )


def test_names_a_signature_of_another_kind():
    for signature in (b"-----BEGIN PGP SIGNATURE-----\n\nx", b"\x89\x02" * 20, b"YQ=="):
        with pytest.raises(MalformedInput) as caught:
            parse_detached_signature(signature)
        assert caught.value.code == "not_a_signature"
    assert parse_detached_signature(bytes(range(64))).signature == bytes(range(64))


def test_names_the_armour_of_another_program():
    with pytest.raises(MalformedInput, match="it is a PGP SIGNATURE in armour"):
        parse_detached_signature(b"\n-----BEGIN PGP SIGNATURE-----\n\nx")


def test_refuses_a_detached_signature_that_is_none():
    with pytest.raises(MalformedInput):
        parse_detached_signature(b"")


@pytest.mark.parametrize("size", [64, 256, 384, 512])
def test_a_signature_that_is_no_der_has_the_size_of_ed25519_or_rsa(size):
    assert parse_detached_signature(bytes(size)).signature == bytes(size)
    for other in (size - 1, size + 1):
        with pytest.raises(MalformedInput) as caught:
            parse_detached_signature(bytes(other))
        assert caught.value.code == "not_a_signature"


def test_a_detached_signature_has_up_to_16_kib():
    text = w.b64(LONE.signature).encode()
    assert parse_detached_signature(text.ljust(16_384)).signature == LONE.signature
    with pytest.raises(MalformedInput) as caught:
        parse_detached_signature(text.ljust(16_385))
    assert caught.value.code == "too_large"


def test_the_certificate_beside_a_signature_has_up_to_128_kib():
    most, text = 2 * MAX_CERTIFICATE_BYTES, pem(LONE.certificate)
    found = parse_detached_signature(LONE.signature, text.ljust(most, b"x"))
    assert (most, found.certificate) == (131_072, LONE.certificate)
    with pytest.raises(MalformedInput, match="too large"):
        parse_detached_signature(LONE.signature, text.ljust(most + 1, b"x"))


# What is something else


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (b"", "an empty file"),
        (b"hello", "text or data"),
        (b"\x1f\x8b\x08\x00", "text or data"),
        (pem(LONE.certificate), "a PEM certificate"),
        (w.b64(LONE.signature).encode(), "a bare signature"),
        (WORLD.root.to_json(), "trustedroot"),
        (w.a_statement(), "in-toto statement"),
        ({"signed": {}, "signatures": []}, "TUF metadata"),
        ({"SignedEntryTimestamp": "", "Payload": {}}, "promise"),
        ({"name": "x", "version": 1}, "'name', 'version'"),
        ({}, "no fields"),
        ({"attestations": []}, "without any signature"),
    ],
    ids=range(12),  # the values hold fresh signatures, and processes must agree on the names of tests
)
def test_names_what_is_not_a_signature(value, name):
    assert name in refused(value)


def test_a_broken_bundle_says_what_is_wrong_with_it():
    broken = document(LONE)
    broken["messageSignature"]["signature"] = "!"
    assert "not base64" in refused(broken, code="malformed_base64")


def test_refuses_more_bundles_than_anyone_reads():
    line = WORLD.key_bundle(tlog_entries=()).to_json() + b"\n"
    assert len(bundles(line * MAX_BUNDLES)) == MAX_BUNDLES
    refused(line * (MAX_BUNDLES + 1), code="too_large")
    item = {"bundle": json.loads(line)}
    assert len(bundles({"attestations": [item] * MAX_BUNDLES})) == MAX_BUNDLES
    refused({"attestations": [item] * (MAX_BUNDLES + 1)}, code="too_large")
    refused(
        (json.dumps({"attestations": [item] * (MAX_BUNDLES // 2 + 1)}).encode() + b"\n") * 2, code="too_large"
    )
    refused(b'{"attestations":[]}\n' * (MAX_BUNDLES + 1), code="too_large")
    group = {"attestations": [pep740(replace(ATTESTED, tlog_entries=()))] * (MAX_BUNDLES + 1)}
    refused({"attestation_bundles": [group]}, code="too_large")


def test_reads_a_file_of_192_mib():
    assert bundles(LONE.to_json().ljust(MAX_BUNDLE_BYTES)) == [LONE]
    refused(LONE.to_json().ljust(MAX_BUNDLE_BYTES + 1), code="too_large")


def test_old_versions_may_hold_several_bundles_too():
    old = document(WORLD.v1_bundle(version=BUNDLE_V02))
    assert len(bundles({"attestations": [{"bundle": old}]})) == 1
