"""Signatures under a CA of one's own: no SCT, no Sigstore CA, years of validity."""

import json
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID
from tests.support import world as w
from tests.support.verifying import YEAR, replace

from hallmark.core.bundle import Bundle, MessageSignature, parse_bundle
from hallmark.core.trusted_root import TrustedRoot
from hallmark.core.x509.own_certificate import MAX_CHAIN, MAX_CHAIN_BYTES, parse_own_chain
from hallmark.errors import (
    InvalidCertificate,
    InvalidEntry,
    InvalidSignature,
    MalformedInput,
    UntrustedIdentity,
)
from hallmark.policy.identity import Identity, unsafe_any_identity
from hallmark.verify.verifier import Artifact, Thresholds, Verifier

WORLD = w.World()
LATER = w.NOW + YEAR
ROOT = w.authority_certificate("own root", "own root", key="p384-own", issuing_key="p384-own")
BETWEEN = w.authority_certificate("between", "own root", key="p256-between", issuing_key="p384-own")


def leaf(**changes: object) -> bytes:
    options = {
        "issuer": "between",
        "issuing_key": "p256-between",
        "scts": (),
        "claims": {},
        "not_after": w.NOW + 5 * YEAR,
        **changes,
    }
    return WORLD.certificate(**options)


def bundle(certificate: bytes | None = None, **changes: object) -> Bundle:
    fields = {
        "certificate": certificate or leaf(),
        "intermediates": (BETWEEN,),
        "holds_chain": True,
        "message_signature": MessageSignature(None, b"", w.sign("p256-leaf", w.MESSAGE)),
        **changes,
    }
    return Bundle(**fields)


def pem(*certificates: bytes) -> bytes:
    return b"".join(x509.load_der_x509_certificate(item).public_bytes(Encoding.PEM) for item in certificates)


CHAIN = parse_own_chain(pem(ROOT))


def verify(found: Bundle, *, chain=CHAIN, now=LATER, policy=unsafe_any_identity, root=None, **thresholds):
    verifier = Verifier(root or TrustedRoot(), Thresholds(**{"tlog": 0, **thresholds}))
    return verifier.verify_with_chain(found, Artifact.from_bytes(w.MESSAGE), policy, chain=chain, now=now)


def refused(found: Bundle, code: str, **how) -> None:
    with pytest.raises(InvalidCertificate) as caught:
        verify(found, **how)
    assert caught.value.code == code


def test_verifies_under_the_named_root():
    verified = verify(bundle())
    assert (verified.identity, verified.oidc_issuer, verified.times) == (w.EMAIL, "", ())


def test_the_intermediates_may_come_with_the_root():
    assert verify(bundle(intermediates=()), chain=parse_own_chain(pem(BETWEEN, ROOT)))


def test_a_leaf_may_be_issued_by_the_root_itself():
    direct = leaf(issuer="own root", issuing_key="p384-own", hash_name="sha384")
    assert verify(bundle(direct, intermediates=(ROOT,)))


def test_a_ca_may_sign_by_itself_and_be_known_by_its_subject():
    certificate = w.authority_certificate(
        "signing ca", "own root", key="p256-leaf", issuing_key="p384-own",
        usage=w.key_usage(digital_signature=True, key_cert_sign=True),
    )  # fmt: skip
    verified = verify(bundle(certificate), policy=Identity(identity="signing ca", oidc_issuer=""))
    assert verified.to_dict()["signer"]["kind"] == "common_name"


def test_the_policy_is_asked():
    with pytest.raises(UntrustedIdentity):
        verify(bundle(), policy=Identity(identity="bob@example.com", oidc_issuer=""))


def test_a_root_that_only_the_bundle_holds_gives_no_trust():
    other = w.authority_certificate("other", "other", key="p384-other", issuing_key="p384-other")
    refused(bundle(intermediates=(BETWEEN, ROOT)), "unknown_ca", chain=parse_own_chain(pem(other)))


def test_an_intermediate_that_is_missing_is_not_made_up_for():
    refused(bundle(intermediates=()), "unknown_ca")


def test_the_certificate_must_be_valid_now_where_no_time_is_proved():
    refused(bundle(), "outside_validity", now=w.NOW + 6 * YEAR)
    refused(bundle(), "outside_validity", now=w.NOW - YEAR)


def test_the_certificate_must_be_valid_at_the_time_that_is_proved():
    stamped = bundle()
    stamped = replace(stamped, timestamps=(WORLD.timestamp(stamped.signature),))
    verified = verify(stamped, root=WORLD.root, now=w.NOW + 6 * YEAR)
    assert [item.time for item in verified.times] == [w.NOW]
    early = bundle(leaf(not_before=w.NOW + timedelta(days=1)))
    early = replace(early, timestamps=(WORLD.timestamp(early.signature),))
    refused(early, "outside_validity", root=WORLD.root)


def test_refuses_another_artifact():
    with pytest.raises(InvalidSignature):
        verify(bundle(message_signature=MessageSignature(None, b"", w.sign("p256-leaf", b"another"))))


def test_a_log_entry_can_be_demanded():
    with pytest.raises(InvalidEntry):
        verify(bundle(), tlog=1, root=WORLD.root)


@pytest.mark.parametrize(
    "changes",
    [
        {"usage": None},
        {"usage": w.key_usage(crl_sign=True)},
        {"purposes": x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])},
    ],
)
def test_refuses_a_certificate_that_is_not_for_signing(changes):
    refused(bundle(leaf(**changes)), "wrong_usage")


def test_refuses_a_critical_extension_that_is_not_understood():
    unknown = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3"), b"\x05\x00")
    refused(bundle(leaf(extensions=[(unknown, True)])), "unknown_critical_extension")


def test_refuses_a_certificate_that_names_nobody():
    refused(bundle(leaf(names=[])), "no_identity")


def test_a_bare_key_leads_to_no_ca():
    refused(WORLD.key_bundle(), "no_certificate")


@pytest.mark.parametrize(
    "text",
    [b"", b"no pem", pem(BETWEEN), pem(ROOT) * (MAX_CHAIN + 1), pem(ROOT) + b" " * MAX_CHAIN_BYTES],
    ids=range(5),
)
def test_refuses_what_is_not_a_chain_with_a_root(text):
    with pytest.raises(MalformedInput):
        parse_own_chain(text)


def test_reads_a_chain_as_long_as_allowed():
    whole = pem(ROOT) * MAX_CHAIN
    assert len(parse_own_chain(whole + b"\n" * (MAX_CHAIN_BYTES - len(whole)))) == MAX_CHAIN


def test_a_chain_in_a_current_bundle_is_for_ones_own_ca_alone():
    found = bundle(WORLD.certificate(), intermediates=WORLD.ca_chain)
    with pytest.raises(InvalidCertificate) as caught:
        Verifier(WORLD.root).verify(found, Artifact.from_bytes(w.MESSAGE), unsafe_any_identity)
    assert caught.value.code == "chain_in_bundle"


def test_reads_a_current_bundle_with_a_chain():
    certificates = [{"rawBytes": w.b64(item)} for item in (leaf(), BETWEEN)]
    document = {
        "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
        "verificationMaterial": {"x509CertificateChain": {"certificates": certificates}},
        "messageSignature": {"signature": w.b64(b"s")},
    }
    found = parse_bundle(json.dumps(document).encode())
    assert (found.holds_chain, len(found.intermediates)) == (True, 1)
