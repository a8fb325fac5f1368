"""Which certificate may sign a timestamp, and which chains it may have."""

import hashlib
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.x509 import ObjectIdentifier
from cryptography.x509.oid import ExtendedKeyUsageOID
from tests.support.timestamps import TIME_STAMPING, refused, replace_v2, replaced
from tests.support.tsa_authority import (
    MESSAGE,
    NOW,
    Authority,
    certificate,
    name,
    private_key,
)

from hallmark.core.timestamp import (
    SIGNING_CERTIFICATE,
    SIGNING_CERTIFICATE_V2,
    DirectoryNames,
    ESSCertID,
    IssuerSerial,
    SigningCertificate,
    SigningCertificateV2,
    verify_timestamp,
)
from hallmark.core.x509.tsa_profile import issue_tsa_chain
from hallmark.errors import InvalidTimestamp, MalformedInput

# Refusals: which certificate signed


def test_refuses_another_certificate_hash(authority):
    twin = Authority(subject="twin")
    forged = authority.forge(attributes=replace_v2(twin.leaf))
    refused(forged, authority.chain, "timestamp_signer")


def test_accepts_a_certificate_hash_with_sha512_and_no_issuer(authority):
    forged = authority.forge(attributes=replace_v2(authority.leaf, "sha512"))
    verify_timestamp(forged, MESSAGE, authority.chain)


@pytest.mark.parametrize(("issuer", "serial"), [("root", 8), ("other", 7)])
def test_refuses_another_issuer_or_serial_beside_the_certificate_hash(authority, issuer, serial):
    named = IssuerSerial(issuer=DirectoryNames(directory_name=name(issuer)), serial_number=serial)
    forged = authority.forge(attributes=replace_v2(authority.leaf, issuer_serial=named))
    refused(forged, authority.chain, "timestamp_signer")


def test_refuses_a_token_that_names_no_certificate(authority):
    forged = authority.forge(
        attributes=lambda found: [item for item in found if item.type != SIGNING_CERTIFICATE_V2]
    )
    refused(forged, authority.chain, "timestamp_signer")


def test_refuses_an_empty_certificate_attribute(authority):
    empty = SigningCertificateV2(certs=[], policies=None)
    forged = authority.forge(attributes=replaced(SIGNING_CERTIFICATE_V2, empty))
    refused(forged, authority.chain, "malformed_timestamp", MalformedInput)


def version_1(leaf: bytes) -> SigningCertificate:
    digest = hashlib.sha1(leaf).digest()
    return SigningCertificate(certs=[ESSCertID(cert_hash=digest, issuer_serial=None)], policies=None)


def test_accepts_the_older_certificate_attribute(authority):
    def change(found):
        kept = [item for item in found if item.type != SIGNING_CERTIFICATE_V2]
        return replaced(SIGNING_CERTIFICATE, version_1(authority.leaf))(kept)

    verify_timestamp(authority.forge(attributes=change), MESSAGE, authority.chain)


def test_refuses_when_one_of_both_certificate_attributes_is_wrong(authority):
    wrong = authority.forge(attributes=replaced(SIGNING_CERTIFICATE, version_1(b"another")))
    refused(wrong, authority.chain, "timestamp_signer")


# Refusals: the chain


@pytest.mark.parametrize(
    ("leaf", "code"),
    [
        ({"ca": True}, "tsa_leaf_is_ca"),
        ({"eku": None}, "tsa_key_usage"),
        ({"eku": [ExtendedKeyUsageOID.CODE_SIGNING]}, "tsa_key_usage"),
        ({"eku": [TIME_STAMPING, ExtendedKeyUsageOID.CODE_SIGNING]}, "tsa_key_usage"),
        ({"eku": [TIME_STAMPING, ObjectIdentifier("1.2.3.4.5")]}, "tsa_key_usage"),
        ({"eku_critical": False}, "tsa_key_usage"),
        ({"not_after": NOW - timedelta(seconds=2)}, "tsa_chain_not_valid"),
        ({"not_before": NOW + timedelta(seconds=2)}, "tsa_chain_not_valid"),
        (
            {"extra": [(x509.UnrecognizedExtension(ObjectIdentifier("1.2.3.4"), b"x"), True)]},
            "unknown_critical_extension",
        ),
    ],
)
def test_refuses_a_leaf(leaf, code):
    authority = Authority(**leaf)
    refused(authority.stamp(), authority.chain, code)


def test_a_leaf_is_valid_in_its_first_and_last_second():
    at = NOW.replace(microsecond=0)
    for window in ({"not_after": at}, {"not_before": at}):
        authority = Authority(**window)
        verify_timestamp(authority.stamp(), MESSAGE, authority.chain)


def test_refuses_a_time_at_which_the_root_had_expired(authority):
    expired = certificate(
        subject="root", issuer="root", key=authority.root_key, issuing_key=authority.root_key, ca=True,
        not_after=NOW - timedelta(hours=1),
    )  # fmt: skip
    refused(authority.stamp(), (authority.leaf, expired), "tsa_chain_not_valid")


def test_refuses_a_chain_that_is_broken(authority):
    stranger = private_key("p256-stranger")
    fields = {"subject": "root", "issuer": "root", "key": stranger, "issuing_key": stranger}
    refused(authority.stamp(), (authority.leaf, certificate(**fields, ca=True)), "tsa_chain_broken")


def test_refuses_an_issuer_that_is_no_ca(authority):
    key = authority.root_key
    plain = certificate(subject="root", issuer="root", key=key, issuing_key=key, ca=False)
    refused(authority.stamp(), (authority.leaf, plain), "tsa_issuer_is_no_ca")


def test_refuses_an_issuer_for_other_uses_only(authority):
    key = authority.root_key
    code_signing = certificate(
        subject="root",
        issuer="root",
        key=key,
        issuing_key=key,
        ca=True,
        eku=[ExtendedKeyUsageOID.CODE_SIGNING],
    )
    refused(authority.stamp(), (authority.leaf, code_signing), "tsa_key_usage")


def test_refuses_a_chain_longer_than_its_root_allows(authority):
    key = authority.root_key
    fields = {"key": key, "issuing_key": key, "ca": True}
    short = certificate(subject="root", issuer="root", path_length=0, **fields)
    middle = certificate(subject="middle", issuer="root", **fields)
    leaf = certificate(
        subject="tsa", issuer="middle", key=authority.key, issuing_key=key, ca=False, eku=[TIME_STAMPING]
    )
    refused(authority.stamp(), (leaf, middle, short), "tsa_chain_length")


def test_refuses_a_leaf_alone_and_a_chain_without_end(authority):
    refused(authority.stamp(), (authority.leaf,), "tsa_chain_length")
    refused(authority.stamp(), (authority.leaf, *[authority.root] * 8), "tsa_chain_length")


def test_refuses_a_chain_that_does_not_parse(authority):
    refused(authority.stamp(), (authority.leaf, b"junk"), "malformed_certificate", MalformedInput)


def test_trusts_no_certificate_from_the_token(authority):
    stranger = Authority("p256-other", subject="stranger")
    embedded = stranger.stamp(cert_req=True, include_chain=True)
    with pytest.raises(InvalidTimestamp):
        verify_timestamp(embedded, MESSAGE, authority.chain)


# The profile of a new authority


def test_issues_a_chain_that_verifies(authority):
    root_key, leaf_key = private_key("p256-new-root"), private_key("p256")
    chain = issue_tsa_chain(
        root_key,
        leaf_key.public_key(),
        organization="example",
        now=NOW,
        root_serial=2**158,
        leaf_serial=2**157,
    )
    authority.chain, kept = chain, authority.chain
    try:
        assert verify_timestamp(authority.stamp(), MESSAGE, chain).authority.startswith("CN=example")
    finally:
        authority.chain = kept
    for der in chain:
        start = x509.load_der_x509_certificate(der).not_valid_before_utc
        assert start == NOW.replace(microsecond=0) - timedelta(hours=1)
