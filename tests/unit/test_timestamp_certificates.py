"""Which certificate may sign a timestamp, and which chains it may have."""

import hashlib
import itertools
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA224, SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ObjectIdentifier
from cryptography.x509.oid import ExtendedKeyUsageOID
from tests.support import world as w
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
from hallmark.core.x509.tsa_chain import MAX_CERTIFICATE_BYTES, MAX_CHAIN_LENGTH, check_tsa_chain
from hallmark.core.x509.tsa_profile import LEAF_LIFETIME, ROOT_LIFETIME, issue_tsa_chain
from hallmark.errors import InvalidCertificate, InvalidTimestamp, MalformedInput

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


def without_constraints(subject: str, key, issuing_key, value: x509.ExtensionType) -> bytes:
    builder = x509.CertificateBuilder(name("root"), name(subject), key.public_key(), 7)
    builder = builder.not_valid_before(NOW - timedelta(days=1)).not_valid_after(NOW + timedelta(days=1))
    return builder.add_extension(value, critical=True).sign(issuing_key, SHA256()).public_bytes(Encoding.DER)


def test_a_leaf_need_not_say_that_it_is_no_authority_and_an_authority_must_say_it(authority):
    key, purpose = authority.root_key, x509.ExtendedKeyUsage([TIME_STAMPING])
    leaf = without_constraints("tsa", authority.key, key, purpose)
    assert check_tsa_chain((leaf, authority.root))
    root = without_constraints("root", key, key, w.key_usage(key_cert_sign=True))
    refused(authority.stamp(), (authority.leaf, root), "tsa_issuer_is_no_ca")


def signed_by(authority, signer, algorithm) -> bytes:
    """The authority's leaf, signed again."""
    builder = x509.CertificateBuilder(name("root"), name("tsa"), authority.key.public_key(), 7)
    builder = builder.not_valid_before(NOW - timedelta(days=1)).not_valid_after(NOW + timedelta(days=1))
    builder = builder.add_extension(x509.ExtendedKeyUsage([TIME_STAMPING]), critical=True)
    return builder.sign(signer, algorithm).public_bytes(Encoding.DER)


def test_refuses_a_certificate_signed_with_a_weak_hash(authority):
    assert check_tsa_chain((signed_by(authority, authority.root_key, SHA256()), authority.root))
    with pytest.raises(InvalidCertificate) as caught:
        check_tsa_chain((signed_by(authority, authority.root_key, SHA224()), authority.root))
    assert caught.value.code == "weak_hash"


def test_an_authority_may_sign_with_a_key_that_hashes_by_itself(authority):
    key = Ed25519PrivateKey.generate()
    root = certificate(subject="root", issuer="root", key=key, issuing_key=authority.root_key, ca=True)
    assert check_tsa_chain((signed_by(authority, key, None), root))


def test_refuses_a_certificate_that_breaks_its_parser_late(authority):
    purposes, constraints = bytes.fromhex("0603551d25"), bytes.fromhex("0603551d13")
    repeated = authority.leaf.replace(purposes, constraints)
    refused(authority.stamp(), (repeated, authority.root), "malformed_input", MalformedInput)


def usage(**yes: bool) -> tuple[x509.KeyUsage, bool]:
    return w.key_usage(**yes), True


def chain_below(authority, **root) -> tuple[bytes, bytes]:
    key = authority.root_key
    fields = {"subject": "root", "issuer": "root", "key": key, "issuing_key": key, "ca": True, **root}
    return authority.leaf, certificate(**fields)


def test_refuses_an_issuer_that_may_not_sign_certificates(authority):
    assert check_tsa_chain(chain_below(authority, extra=[usage(key_cert_sign=True)]))
    assert check_tsa_chain(chain_below(authority))
    chain = chain_below(authority, extra=[usage(digital_signature=True)])
    refused(authority.stamp(), chain, "tsa_issuer_is_no_ca")


@pytest.mark.parametrize("kind", ["digital_signature", "content_commitment"])
def test_a_leaf_with_key_usage_is_for_signing_messages(kind):
    authority = Authority(extra=[usage(**{kind: True})])
    verify_timestamp(authority.stamp(), MESSAGE, authority.chain)
    other = Authority(extra=[usage(key_encipherment=True)])
    refused(other.stamp(), other.chain, "tsa_key_usage")


@pytest.mark.parametrize(
    "purposes",
    [
        [TIME_STAMPING],
        [ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE],
        [ExtendedKeyUsageOID.CODE_SIGNING, TIME_STAMPING],
    ],
    ids=["timestamping", "any", "several"],
)
def test_an_issuer_may_be_for_timestamping_among_others(authority, purposes):
    assert check_tsa_chain(chain_below(authority, eku=purposes))


def test_the_window_of_a_chain_is_what_its_certificates_have_in_common(authority):
    narrow = {"not_before": NOW - timedelta(hours=1), "not_after": NOW + timedelta(hours=1)}
    root = check_tsa_chain(chain_below(authority, **narrow))
    leaf = check_tsa_chain(Authority(**narrow).chain)
    for chain in (root, leaf):
        begin, end = (moment.replace(microsecond=0) for moment in narrow.values())
        assert (chain.not_before, chain.not_after) == (begin, end)
        chain.check_time(begin)
        chain.check_time(end)
        for moment in (begin - timedelta(microseconds=1), end + timedelta(microseconds=1)):
            with pytest.raises(InvalidCertificate) as caught:
                chain.check_time(moment)
            assert caught.value.code == "tsa_chain_not_valid"


def test_a_chain_may_be_as_long_as_its_authorities_allow(authority):
    for count in (2, MAX_CHAIN_LENGTH):
        assert check_tsa_chain(long_chain(authority, count, path_length=count - 2))
        if count > 2:
            with pytest.raises(InvalidCertificate) as caught:
                check_tsa_chain(long_chain(authority, count, path_length=count - 3))
            assert caught.value.code == "tsa_chain_length"
    with pytest.raises(InvalidCertificate) as caught:
        check_tsa_chain(long_chain(authority, MAX_CHAIN_LENGTH + 1))
    assert caught.value.code == "tsa_chain_length"


def long_chain(authority, count: int, path_length: int | None = None) -> tuple[bytes, ...]:
    """A chain of `count` certificates, all of whose authorities have one key."""
    key = authority.root_key
    fields = {"key": key, "issuing_key": key, "ca": True}
    issuers = [f"ca {number}" for number in range(count - 2)] + ["root"]
    leaf = certificate(
        subject="tsa", issuer=issuers[0], key=authority.key, issuing_key=key, ca=False, eku=[TIME_STAMPING]
    )
    middles = [certificate(subject=low, issuer=high, **fields) for low, high in itertools.pairwise(issuers)]
    root = certificate(subject="root", issuer="root", path_length=path_length, **fields)
    return (leaf, *middles, root)


def test_a_certificate_has_at_most_sixteen_kibibytes(authority):
    """The bound is on bytes: what has one more is refused before it is read, what has not is read."""
    for size, message in ((MAX_CERTIFICATE_BYTES, "not a DER"), (MAX_CERTIFICATE_BYTES + 1, "too large")):
        with pytest.raises(MalformedInput, match=message):
            check_tsa_chain((authority.leaf, bytes(size)))


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


def test_refuses_an_authority_with_a_weak_key(authority):
    """Everything about it holds: it has signed with an exponent that no signer needs."""
    for exponent in (65537, 3):
        key = rsa.generate_private_key(exponent, 2048)
        chain = (
            certificate(
                subject="tsa",
                issuer="root",
                key=authority.key,
                issuing_key=key,
                ca=False,
                eku=[TIME_STAMPING],
            ),
            certificate(subject="root", issuer="root", key=key, issuing_key=key, ca=True),
        )
        if exponent == 65537:
            assert check_tsa_chain(chain)
        else:
            with pytest.raises(MalformedInput) as caught:
                check_tsa_chain(chain)
            assert caught.value.code == "weak_key"


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
    leaf, root = map(x509.load_der_x509_certificate, chain)
    for made, lifetime in ((leaf, LEAF_LIFETIME), (root, ROOT_LIFETIME)):
        assert made.not_valid_after_utc - made.not_valid_before_utc == lifetime
    purposes = x509.ExtendedKeyUsage([TIME_STAMPING])
    for made, expected in (
        (leaf, [x509.BasicConstraints(False, None), w.key_usage(digital_signature=True), purposes]),
        (root, [x509.BasicConstraints(True, 0), w.key_usage(key_cert_sign=True, crl_sign=True)]),
    ):
        assert [item.value for item in made.extensions if item.critical] == expected
