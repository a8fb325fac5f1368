"""What a verification proves, and what it must refuse: structure, times, certificate, identity."""

import hashlib
import json
from datetime import UTC, datetime, timedelta

import pytest
from tests.support import world as w
from tests.support.verifying import ALICE, YEAR, no_time, replace, verify, with_entry

from hallmark.core.algorithms import SHA2_256, SHA2_384, SHA2_512
from hallmark.core.bundle import BUNDLE_V01, BUNDLE_V02, BUNDLE_V03_OLD, Bundle, MessageSignature
from hallmark.core.entries.hashedrekord import hashedrekord_v002_body
from hallmark.core.trusted_root import TrustedRoot, Validity
from hallmark.core.x509.certificate import CertificateIdentity
from hallmark.errors import (
    InvalidCertificate,
    InvalidEntry,
    InvalidSignature,
    InvalidTimestamp,
    MalformedInput,
    UntrustedIdentity,
)
from hallmark.policy.identity import Identity
from hallmark.verify.verifier import Artifact, Verifier, required_hash

# What is true


def test_says_what_was_proved(world):
    verified = verify(world, world.bundle())
    assert (verified.identity, verified.oidc_issuer) == (w.EMAIL, w.OIDC_ISSUER)
    assert [item.time for item in verified.times] == [w.NOW]
    assert verified.entries[0].origin == w.HOST
    assert (verified.entries[0].log_index, verified.entries[0].tree_size) == (3, 6)
    assert verified.sct_log_ids == (w.public_key("p256-ct").key_id,)
    assert verified.digest == hashlib.sha256(w.MESSAGE).digest()


def test_verified_facts_are_plain_json(world):
    facts = verify(world, world.attestation()).to_dict()
    assert json.loads(json.dumps(facts)) == facts
    assert facts["signer"]["identity"] == w.EMAIL
    assert facts["statement"]["predicate"] == {"tested": True}


@pytest.mark.parametrize("version", [BUNDLE_V01, BUNDLE_V02, BUNDLE_V03_OLD])
def test_accepts_rekor_v1_entries_in_every_bundle_version(world, version):
    verified = verify(world, world.v1_bundle(version=version))
    assert [(item.source, item.time) for item in verified.times] == [("log", w.NOW)]


def test_accepts_each_kind_of_leaf_key(world):
    for key, hash_algorithm in (("p256-leaf", SHA2_256), ("p384-leaf", SHA2_384), ("p521-leaf", SHA2_512)):
        bundle = world.bundle(key=key)
        assert required_hash(bundle) == hash_algorithm
        artifact = Artifact.from_bytes(w.MESSAGE, hash_algorithm)
        assert Verifier(world.root).verify(bundle, artifact, ALICE).identity == w.EMAIL


def test_accepts_a_wide_curve_with_sha256_where_the_bundle_names_it(world):
    signature = w.sign("p384-leaf", w.MESSAGE, "sha256")
    digest, certificate = hashlib.sha256(w.MESSAGE).digest(), world.certificate(key="p384-leaf")
    body = hashedrekord_v002_body(
        digest, SHA2_256, signature, "PKIX_ECDSA_P384_SHA_256", certificate=certificate
    )
    bundle = Bundle(
        certificate=certificate,
        message_signature=MessageSignature(SHA2_256, digest, signature),
        tlog_entries=(w.v2_entry(body),),
        timestamps=(world.timestamp(signature),),
    )
    assert required_hash(bundle) == SHA2_256
    assert verify(world, bundle).identity == w.EMAIL


def test_accepts_a_bundle_without_the_digest_hint(world):
    bundle = world.bundle()
    signature = MessageSignature(None, b"", bundle.signature)
    assert verify(world, replace(bundle, message_signature=signature)).identity == w.EMAIL


def test_accepts_a_digest_in_place_of_the_artifact(world):
    artifact = Artifact(hash_algorithm=SHA2_256, digest=hashlib.sha256(w.MESSAGE).digest())
    assert Verifier(world.root).verify(world.bundle(), artifact, ALICE).digest == artifact.digest


def test_validity_ends_are_inclusive(world):
    ends = Validity(w.NOW, w.NOW)
    root = TrustedRoot(
        tlogs=(w.v2_log(valid_for=ends),),
        certificate_authorities=(w.authority("ca", world.ca_chain, ends),),
        ctlogs=(w.ct_log(valid_for=ends),),
        timestamp_authorities=(w.authority("tsa", world.tsa_chain, ends),),
    )
    for leaf in ({"not_before": w.NOW}, {"not_after": w.NOW}):
        bundle = world.bundle(certificate=world.certificate(**leaf))
        assert verify(world, bundle, root).identity == w.EMAIL


# 0. Structure


def test_refuses_a_leaf_that_does_not_parse(world):
    with pytest.raises(MalformedInput, match="not a DER certificate"):
        verify(world, replace(world.bundle(), certificate=b"\x30\x00"))


def test_a_superfluous_root_in_the_bundle_does_no_harm(world):
    bundle = replace(world.v1_bundle(version=BUNDLE_V02), intermediates=world.ca_chain)
    assert verify(world, bundle).identity == w.EMAIL


def test_a_root_in_the_bundle_gives_no_trust(world):
    bundle = replace(world.v1_bundle(version=BUNDLE_V02), intermediates=world.ca_chain)
    other = w.authority_certificate("other", "other", key="p384-other", issuing_key="p384-other")
    elsewhere = replace(
        world.root, certificate_authorities=(w.authority("x", (other,), Validity(w.BEGINNING)),)
    )
    with pytest.raises(InvalidCertificate) as caught:
        verify(world, bundle, elsewhere)
    assert caught.value.code == "unknown_ca"


def test_refuses_a_chain_that_does_not_parse(world):
    bundle = replace(world.v1_bundle(version=BUNDLE_V02), intermediates=(b"\x30\x00",))
    with pytest.raises(MalformedInput, match="not a DER certificate"):
        verify(world, bundle)


def test_intermediates_in_the_bundle_give_no_trust(world):
    stranger = w.authority_certificate("stranger", "root", key="p256-stranger", issuing_key="p384-root")
    leaf = world.certificate(issuer="stranger", issuing_key="p256-stranger")
    bundle = replace(
        world.v1_bundle(version=BUNDLE_V02), certificate=leaf, intermediates=(stranger, world.ca_chain[0])
    )
    with pytest.raises(InvalidCertificate) as caught:
        verify(world, bundle)
    assert caught.value.code == "unknown_ca"


def test_refuses_a_key_bundle_where_an_identity_is_wanted(world):
    with pytest.raises(InvalidCertificate) as caught:
        verify(world, world.key_bundle())
    assert caught.value.code == "no_certificate"


# 1. Times


def test_refuses_a_bundle_without_a_time(world):
    no_time(world, world.bundle(timestamps=()))


def test_a_timestamp_of_another_signature_is_no_time(world):
    no_time(world, world.bundle(timestamps=(world.timestamp(b"another signature"),)))


def test_a_timestamp_of_the_artifact_is_no_time(world):
    no_time(world, world.bundle(timestamps=(world.timestamp(w.MESSAGE),)))


def test_a_broken_timestamp_is_no_time(world):
    no_time(world, world.bundle(timestamps=(b"not a timestamp",)))


def test_a_timestamp_of_an_unknown_authority_is_no_time(world):
    no_time(world, world.bundle(), replace(world.root, timestamp_authorities=()))


@pytest.mark.parametrize(
    "valid_for", [Validity(w.NOW + timedelta(seconds=1)), Validity(w.BEGINNING, w.NOW - timedelta(seconds=1))]
)
def test_a_timestamp_outside_its_authoritys_validity_is_no_time(world, valid_for):
    authority = w.authority("tsa", world.tsa_chain, valid_for)
    no_time(world, world.bundle(), replace(world.root, timestamp_authorities=(authority,)))


def test_a_broken_timestamp_beside_a_good_one_does_no_harm(world):
    bundle = world.bundle()
    assert verify(world, replace(bundle, timestamps=(b"broken", *bundle.timestamps))).times


def test_a_timestamp_with_a_name_that_does_not_parse_is_no_time(world):
    bundle = world.bundle()
    (good,) = bundle.timestamps
    broken = good.replace(b"\x0c\x08tsa root", b"\x03\x08\x00sa root")
    assert broken != good
    assert verify(world, replace(bundle, timestamps=(broken, good))).identity == w.EMAIL


def test_two_timestamps_of_one_authority_count_once(world):
    bundle = world.bundle()
    second = world.timestamp(bundle.signature, w.NOW + timedelta(seconds=1))
    no_time(world, replace(bundle, timestamps=(*bundle.timestamps, second)), timestamps=2)


def test_two_authorities_below_one_root_are_two(world):
    bundle = world.bundle()
    other = w.World()
    leaf = w.authority_certificate(
        "tsa 2", "tsa root", key="p256-tsa", issuing_key="p256-tsaroot", ca=False,
        usage=w.key_usage(digital_signature=True), extensions=[(w.TIME_STAMPING, True)],
    )  # fmt: skip
    other.tsa_chain = (leaf, world.tsa_chain[1])
    (first,) = world.root.timestamp_authorities
    second = replace(first, certificates=other.tsa_chain)
    both = replace(bundle, timestamps=(*bundle.timestamps, other.timestamp(bundle.signature)))
    root = replace(world.root, timestamp_authorities=(first, second))
    assert len(verify(world, both, root, timestamps=2).times) == 2


def test_the_same_timestamp_twice_is_one(world):
    bundle = world.bundle()
    twice = replace(bundle, timestamps=bundle.timestamps * 2)
    assert verify(world, twice).times == verify(world, bundle).times
    no_time(world, twice, timestamps=2)


def test_the_order_of_timestamps_does_not_matter(world):
    bundle = world.bundle()
    good, late = bundle.timestamps[0], world.timestamp(bundle.signature, w.NOW + YEAR)
    for timestamps in ((good, late), (late, good)):
        with pytest.raises(InvalidCertificate) as caught:
            verify(world, replace(bundle, timestamps=timestamps))
        assert caught.value.code == "outside_validity"
    later = world.timestamp(bundle.signature, w.NOW + timedelta(minutes=1))
    for timestamps in ((good, later), (later, good)):
        times = verify(world, replace(bundle, timestamps=timestamps)).times
        assert [item.time for item in times] == [w.NOW, w.NOW + timedelta(minutes=1)]


@pytest.mark.parametrize(("uri", "name"), [("https://tsa.test", "https://tsa.test"), ("", "the tsa")])
def test_names_an_authority_by_its_url_or_else_by_its_name(world, uri, name):
    authority = replace(world.root.timestamp_authorities[0], uri=uri, common_name="the tsa")
    root = replace(world.root, timestamp_authorities=(authority,))
    assert [item.name for item in verify(world, world.bundle(), root).times] == [name]


def test_an_integrated_time_without_a_promise_is_no_time(world):
    no_time(world, with_entry(world.v1_bundle(), inclusion_promise=None))


def test_a_promise_of_an_unknown_log_is_no_time(world):
    no_time(world, world.v1_bundle(), replace(world.root, tlogs=(w.v2_log(),)))


# 2 and 7. Chain, and validity at the established times


def refused_certificate(
    world: w.World, code: str, root: TrustedRoot | None = None, **changes: object
) -> None:
    with pytest.raises(InvalidCertificate) as caught:
        verify(world, world.bundle(certificate=world.certificate(**changes)), root)
    assert caught.value.code == code


def test_refuses_a_certificate_of_another_ca(world):
    refused_certificate(world, "unknown_ca", issuing_key="p256-stranger")


def test_refuses_a_certificate_issued_under_another_name(world):
    refused_certificate(world, "unknown_ca", issuer="stranger")


def test_refuses_everything_without_a_certificate_authority(world):
    refused_certificate(world, "unknown_ca", replace(world.root, certificate_authorities=()))


@pytest.mark.parametrize(
    "changes",
    [
        {"not_after": w.NOW - timedelta(seconds=1)},
        {"not_before": w.NOW + timedelta(seconds=1)},
    ],
)
def test_refuses_a_certificate_that_did_not_count_at_the_time(world, changes):
    refused_certificate(world, "outside_validity", **changes)


def test_every_established_time_must_lie_within_the_certificate(world):
    bundle = world.v1_bundle()
    late = world.timestamp(bundle.signature, w.NOW + timedelta(hours=1))
    with pytest.raises(InvalidCertificate) as caught:
        verify(world, replace(bundle, timestamps=(late,)))
    assert caught.value.code == "outside_validity"


@pytest.mark.parametrize(
    "valid_for", [Validity(w.NOW + timedelta(seconds=1)), Validity(w.BEGINNING, w.NOW - timedelta(seconds=1))]
)
def test_refuses_a_ca_outside_its_validity(world, valid_for):
    authority = w.authority("ca", world.ca_chain, valid_for)
    refused_certificate(world, "outside_validity", replace(world.root, certificate_authorities=(authority,)))


def test_a_ca_that_is_listed_again_counts_in_either_validity(world):
    old = w.authority("ca", world.ca_chain, Validity(w.BEGINNING - YEAR, w.BEGINNING))
    root = replace(world.root, certificate_authorities=(old, *world.root.certificate_authorities))
    assert verify(world, world.bundle(), root).identity == w.EMAIL
    root = replace(world.root, certificate_authorities=(*world.root.certificate_authorities, old))
    assert verify(world, world.bundle(), root).identity == w.EMAIL


@pytest.mark.parametrize("expired", [0, 1])
def test_refuses_an_expired_certificate_anywhere_in_the_chain(world, expired):
    ends = [{}, {}]
    ends[expired] = {"not_after": w.NOW - timedelta(seconds=1)}
    chain = (
        w.authority_certificate("issuing", "root", key="p256-ca", issuing_key="p384-root", **ends[0]),
        w.authority_certificate("root", "root", key="p384-root", issuing_key="p384-root", **ends[1]),
    )
    authority = w.authority("ca", chain, Validity(w.BEGINNING))
    refused_certificate(world, "outside_validity", replace(world.root, certificate_authorities=(authority,)))


# 3. SCTs


def test_refuses_a_certificate_without_sct(world):
    refused_certificate(world, "missing_sct", scts=())


def test_refuses_a_certificate_of_an_unknown_ct_log(world):
    refused_certificate(world, "missing_sct", scts=({"key": "p256-otherct"},))


@pytest.mark.parametrize(
    "change",
    [
        {"signature": b"\x30\x06\x02\x01\x01\x02\x01\x01"},
        {"timestamp": int(w.NOW.timestamp() * 1000) + 1},
        {"extensions": b""},
        {"hash_algorithm": 6},
        {"signature_algorithm": 1},
    ],
)
def test_refuses_an_sct_that_is_false(world, change):
    refused_certificate(world, "invalid_sct", scts=(change,))


def test_an_sct_beyond_the_calendar_is_of_no_log(world):
    last = datetime(9999, 12, 31, 23, 59, 59, 999_000, tzinfo=UTC)
    milliseconds = 253_402_300_799_999
    bundle = world.bundle(certificate=world.certificate(scts=({"time": last},)))
    assert verify(world, bundle).sct_log_ids
    later = world.bundle(certificate=world.certificate(scts=({"timestamp": milliseconds + 1},)))
    with pytest.raises(InvalidCertificate) as caught:
        verify(world, later)
    assert caught.value.code == "missing_sct"


def test_refuses_an_sct_outside_the_logs_validity(world):
    root = replace(world.root, ctlogs=(w.ct_log(valid_for=Validity(w.NOW + timedelta(seconds=1))),))
    refused_certificate(world, "missing_sct", root)
    refused_certificate(world, "missing_sct", scts=({"timestamp": 2**64 - 1},))


def test_two_scts_of_one_log_count_once(world):
    bundle = world.bundle(certificate=world.certificate(scts=({}, {"time": w.NOW + timedelta(seconds=1)})))
    assert verify(world, bundle, scts=1).identity == w.EMAIL
    with pytest.raises(InvalidCertificate, match="1 trusted certificate transparency logs"):
        verify(world, bundle, scts=2)


def test_an_instance_without_ct_log_demands_no_sct(world):
    bundle = world.bundle(certificate=world.certificate(scts=()))
    assert verify_as_the_root_says(bundle, replace(world.root, ctlogs=())).sct_log_ids == ()
    unread = replace(world.root, ctlogs=(), unread_ctlogs=1)
    with pytest.raises(InvalidCertificate) as caught:
        verify_as_the_root_says(bundle, unread)
    assert caught.value.code == "missing_sct"


def test_an_instance_with_a_ct_log_demands_an_sct_of_it(world):
    with pytest.raises(InvalidCertificate) as caught:
        verify_as_the_root_says(world.bundle(certificate=world.certificate(scts=())), world.root)
    assert caught.value.code == "missing_sct"


def test_an_instance_without_signature_log_demands_no_entry(world):
    bundle = replace(world.bundle(), tlog_entries=())
    assert verify_as_the_root_says(bundle, replace(world.root, tlogs=())).entries == ()
    with pytest.raises(InvalidEntry) as caught:
        verify_as_the_root_says(bundle, replace(world.root, tlogs=(), unread_tlogs=1))
    assert caught.value.code == "no_entry"


def test_an_instance_without_sources_of_time_vouches_for_nothing(world):
    with pytest.raises(InvalidTimestamp) as caught:
        verify_as_the_root_says(world.bundle(), replace(world.root, timestamp_authorities=()))
    assert caught.value.code == "no_time"


def verify_as_the_root_says(bundle, root):
    return Verifier(root).verify(bundle, w.artifact(), ALICE)


def test_scts_can_be_waived(world):
    assert verify(world, world.bundle(certificate=world.certificate(scts=())), scts=0).sct_log_ids == ()


# 4. Identity


@pytest.mark.parametrize(
    "policy",
    [
        Identity(identity="mallory@example.com", oidc_issuer=w.OIDC_ISSUER),
        Identity(identity=w.EMAIL, oidc_issuer="https://evil.test"),
    ],
)
def test_refuses_an_identity_that_was_not_named(world, policy):
    with pytest.raises(UntrustedIdentity, match=w.EMAIL):
        Verifier(world.root).verify(world.bundle(), w.artifact(), policy)


def test_says_untrusted_identity_only_of_what_is_true_otherwise(world):
    stranger = Identity(identity="mallory@example.com", oidc_issuer=w.OIDC_ISSUER)
    with pytest.raises(InvalidSignature):
        Verifier(world.root).verify(world.bundle(), w.artifact(b"another"), stranger)


def test_the_policy_sees_the_proven_identity(world):
    seen: list[CertificateIdentity] = []

    class Recorder:
        def check(self, identity: CertificateIdentity) -> None:
            seen.append(identity)

    Verifier(world.root).verify(world.bundle(), w.artifact(), Recorder())
    assert [(item.identity, item.kind) for item in seen] == [(w.EMAIL, "email")]
