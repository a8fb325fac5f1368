"""Trusted roots: what must be in one, and what may be skipped."""

import base64
import json
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from tests.support import world as w

from hallmark.core.trusted_root import (
    MAX_CHAIN,
    MAX_TRUSTED_ROOT_BYTES,
    TrustedRoot,
    Validity,
    parse_trusted_root,
    unknown_trusted_root_fields,
)
from hallmark.errors import MalformedInput

ROOT = w.World().root


def document() -> dict:
    return json.loads(ROOT.to_json())


def parse(found: dict) -> TrustedRoot:
    return parse_trusted_root(json.dumps(found).encode())


def test_prints_what_it_reads():
    assert parse_trusted_root(ROOT.to_json()) == ROOT
    assert parse_trusted_root(ROOT.to_json()).to_json() == ROOT.to_json()
    assert document()["mediaType"] == "application/vnd.dev.sigstore.trustedroot+json;version=0.1"


@pytest.mark.parametrize("version", ["v0.1", "v0.2"])
def test_reads_the_newer_media_types(version):
    found = {**document(), "mediaType": f"application/vnd.dev.sigstore.trustedroot.{version}+json"}
    assert parse(found) == ROOT


def test_keeps_ends_and_operators():
    found = document()
    found["tlogs"][0]["publicKey"]["validFor"]["end"] = "2027-01-01T00:00:00.5Z"
    found["tlogs"][0]["operator"] = found["certificateAuthorities"][0]["operator"] = "test.example"
    root = parse(found)
    assert root.tlogs[0].valid_for.end == datetime(2027, 1, 1, 0, 0, 0, 500_000, UTC)
    assert root.tlogs[0].operator == root.certificate_authorities[0].operator == "test.example"
    assert parse_trusted_root(root.to_json()) == root


def test_leaves_out_an_operator_that_nobody_named():
    """Clients of before the field refuse it."""
    groups = [group for group in document().values() if isinstance(group, list)]
    assert not any("operator" in item for group in groups for item in group)


@pytest.mark.parametrize(
    "change",
    [
        {"keyDetails": "PKIX_ML_DSA_65"},
        {"keyDetails": "PKIX_RSA_PSS_2048_SHA256"},
        {"keyDetails": ""},
    ],
)
def test_skips_logs_with_keys_it_does_not_know(change):
    found = document()
    found["tlogs"][0]["publicKey"].update(change)
    assert len(parse(found).tlogs) == len(ROOT.tlogs) - 1


def with_rsa_log(key_details: str, form: PublicFormat) -> dict:
    """A root whose CT log has an RSA key in an old form."""
    found, key = document(), w.private_key("rsa-2048").public_key()
    raw = base64.b64encode(key.public_bytes(Encoding.DER, form)).decode()
    found["ctlogs"][0]["publicKey"].update({"keyDetails": key_details, "rawBytes": raw})
    return found


@pytest.mark.parametrize(
    ("key_details", "form"),
    [
        ("PKCS1_RSA_PKCS1V5", PublicFormat.PKCS1),
        ("PKIX_RSA_PKCS1V5", PublicFormat.SubjectPublicKeyInfo),
        ("PKIX_RSA_PKCS1V15_2048_SHA256", PublicFormat.SubjectPublicKeyInfo),
    ],
)
def test_reads_the_rsa_keys_of_old_ct_logs(key_details, form):
    root = parse(with_rsa_log(key_details, form))
    (log,) = root.ctlogs
    assert log.key == w.public_key("rsa-2048")
    assert log.key_details == "PKIX_RSA_PKCS1V15_2048_SHA256"
    assert parse_trusted_root(root.to_json()) == root


@pytest.mark.parametrize(
    ("key_details", "form"),
    [
        ("PKCS1_RSA_PKCS1V5", PublicFormat.SubjectPublicKeyInfo),
        ("PKIX_RSA_PKCS1V5", PublicFormat.PKCS1),
        ("PKIX_RSA_PKCS1V15_2048_SHA256", PublicFormat.PKCS1),
        ("PKIX_RSA_PKCS1V15_3072_SHA256", PublicFormat.SubjectPublicKeyInfo),
        ("PKIX_ECDSA_P256_SHA_256", PublicFormat.SubjectPublicKeyInfo),
    ],
)
def test_refuses_an_rsa_key_in_another_form_than_its_name_says(key_details, form):
    with pytest.raises(MalformedInput):
        parse(with_rsa_log(key_details, form))


@pytest.mark.parametrize("key_details", ["PKCS1_RSA_PKCS1V5", "PKIX_RSA_PKCS1V5"])
def test_refuses_another_key_under_the_name_of_rsa(key_details):
    found = document()
    found["ctlogs"][0]["publicKey"]["keyDetails"] = key_details
    with pytest.raises(MalformedInput):
        parse(found)


def test_skips_logs_with_another_hash():
    found = document()
    found["ctlogs"][0]["hashAlgorithm"] = "SHA2_512"
    assert parse(found).ctlogs == ()


@pytest.mark.parametrize("group", ["tlogs", "ctlogs"])
@pytest.mark.parametrize("change", [{"validFor": None}, {"validFor": {}}, {"validFor": {"start": None}}])
def test_refuses_a_log_key_without_start_of_validity(group, change):
    found = document()
    found[group][0]["publicKey"].update(change)
    with pytest.raises(MalformedInput) as caught:
        parse(found)
    assert caught.value.code == "missing_validity"


def test_an_authority_without_start_counts_from_the_beginning():
    found = document()
    found["certificateAuthorities"][0]["validFor"] = {}
    root = parse(found)
    assert root.certificate_authorities[0].valid_for.contains(datetime(1, 1, 1, tzinfo=UTC))
    assert parse_trusted_root(root.to_json()) == root


@pytest.mark.parametrize(
    "change",
    [
        lambda r: r.update(mediaType="application/json"),
        lambda r: r["tlogs"][0].pop("publicKey"),
        lambda r: r["tlogs"][0].pop("logId"),
        lambda r: r["tlogs"][0].update(baseUrl="http://["),
        lambda r: r["tlogs"][0].update(logId={"keyId": "YQ=="}),
        lambda r: r["tlogs"][0]["publicKey"].update(rawBytes="YQ=="),
        lambda r: r["tlogs"][0]["publicKey"].update(keyDetails="PKIX_ECDSA_P384_SHA_384"),
        lambda r: r["tlogs"][0]["publicKey"].update(validFor={"start": "yesterday"}),
        lambda r: r["tlogs"][0]["publicKey"].update(validFor={"start": "2026-01-01T00:00:00"}),
        lambda r: r["tlogs"][0]["publicKey"].update(validFor={"start": "0001-01-01T00:00:00+14:00"}),
        lambda r: r["tlogs"].extend(r["tlogs"] * 200),
        lambda r: r["certificateAuthorities"][0].pop("certChain"),
        lambda r: r["certificateAuthorities"][0].update(certChain={"certificates": []}),
        lambda r: r["certificateAuthorities"][0].update(certChain={"certificates": [{"rawBytes": "YQ=="}]}),
        lambda r: r["certificateAuthorities"][0]["certChain"]["certificates"].extend(
            r["certificateAuthorities"][0]["certChain"]["certificates"] * 6
        ),
    ],
)
def test_refuses_a_root_that_breaks_a_rule(change):
    found = document()
    change(found)
    with pytest.raises(MalformedInput):
        parse(found)


def test_both_ends_of_a_validity_belong_to_it():
    validity = Validity(w.NOW, w.NOW + timedelta(seconds=1))
    assert validity.contains(validity.start)
    assert validity.contains(w.NOW + timedelta(seconds=1))
    assert not validity.contains(w.NOW - timedelta(microseconds=1))
    assert not validity.contains(w.NOW + timedelta(seconds=1, microseconds=1))
    assert Validity(w.NOW).contains(datetime.max.replace(tzinfo=UTC))


def test_an_authority_need_not_name_its_subject():
    found = document()
    del found["timestampAuthorities"][0]["subject"]
    (authority,) = parse(found).timestamp_authorities
    assert (authority.organization, authority.common_name) == ("", "")


@pytest.mark.parametrize(
    ("count", "good"), [(0, False), (1, True), (MAX_CHAIN, True), (MAX_CHAIN + 1, False)]
)
def test_an_authority_has_a_chain_of_1_to_10_certificates(count, good):
    found = document()
    found["certificateAuthorities"][0]["certChain"]["certificates"] = [
        {"rawBytes": w.b64(ROOT.certificate_authorities[0].certificates[0])}
    ] * count
    if good:
        assert len(parse(found).certificate_authorities[0].certificates) == count
    else:
        with pytest.raises(MalformedInput, match=f"{count} certificates"):
            parse(found)


@pytest.mark.parametrize("read", [parse_trusted_root, unknown_trusted_root_fields])
def test_a_trusted_root_has_up_to_4_mib(read):
    assert MAX_TRUSTED_ROOT_BYTES == 4_194_304
    read(ROOT.to_json().ljust(MAX_TRUSTED_ROOT_BYTES))
    with pytest.raises(MalformedInput) as caught:
        read(ROOT.to_json().ljust(MAX_TRUSTED_ROOT_BYTES + 1))
    assert caught.value.code == "too_large"
