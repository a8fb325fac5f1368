"""Every step of a verification, each with what it must refuse."""

import hashlib
import json
from collections.abc import Callable
from datetime import timedelta

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from tests.support import world as w

from hallmark.core.algorithms import SHA2_256, SHA2_384, SHA2_512
from hallmark.core.bundle import BUNDLE_V01, BUNDLE_V02, BUNDLE_V03_OLD, Bundle, MessageSignature
from hallmark.core.checkpoint import Checkpoint
from hallmark.core.dsse import Envelope, EnvelopeSignature
from hallmark.core.entries.hashedrekord import hashedrekord_v002_body
from hallmark.core.merkle import leaf_hash
from hallmark.core.note import Note, NoteSignature, parse_note
from hallmark.core.trusted_root import TrustedRoot, Validity
from hallmark.core.x509.certificate import CertificateIdentity
from hallmark.errors import (
    InvalidCertificate,
    InvalidEntry,
    InvalidProof,
    InvalidSignature,
    InvalidTimestamp,
    MalformedInput,
    UntrustedIdentity,
)
from hallmark.policy.identity import Identity, unsafe_any_identity
from hallmark.verify.verifier import Artifact, Thresholds, Verified, Verifier, required_hash

replace = msgspec.structs.replace
ALICE = Identity(identity=w.EMAIL, oidc_issuer=w.OIDC_ISSUER)
YEAR = timedelta(days=365)


@pytest.fixture(scope="module")
def world() -> w.World:
    return w.World()


def verify(world: w.World, bundle: Bundle, root: TrustedRoot | None = None, **thresholds: int) -> Verified:
    return Verifier(root or world.root, Thresholds(**thresholds)).verify(bundle, w.artifact(), ALICE)


def entry_of(bundle: Bundle) -> object:
    return bundle.tlog_entries[0]


def with_entry(bundle: Bundle, **changes: object) -> Bundle:
    return replace(bundle, tlog_entries=(replace(entry_of(bundle), **changes),))


def with_proof(bundle: Bundle, **changes: object) -> Bundle:
    return with_entry(bundle, inclusion_proof=replace(entry_of(bundle).inclusion_proof, **changes))


def logged(bundle: Bundle, body: bytes) -> Bundle:
    return replace(bundle, tlog_entries=(w.v2_entry(body),))


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


def test_refuses_a_root_in_the_bundle(world):
    bundle = replace(world.v1_bundle(version=BUNDLE_V02), intermediates=world.ca_chain)
    with pytest.raises(InvalidCertificate) as caught:
        verify(world, bundle)
    assert caught.value.code == "root_in_bundle"


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


def no_time(world: w.World, bundle: Bundle, root: TrustedRoot | None = None, **thresholds: int) -> None:
    with pytest.raises(InvalidTimestamp) as caught:
        verify(world, bundle, root, **thresholds)
    assert caught.value.code == "no_time"


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


def test_refuses_an_sct_outside_the_logs_validity(world):
    root = replace(world.root, ctlogs=(w.ct_log(valid_for=Validity(w.NOW + timedelta(seconds=1))),))
    refused_certificate(world, "missing_sct", root)
    refused_certificate(world, "missing_sct", scts=({"timestamp": 2**64 - 1},))


def test_two_scts_of_one_log_count_once(world):
    bundle = world.bundle(certificate=world.certificate(scts=({}, {"time": w.NOW + timedelta(seconds=1)})))
    assert verify(world, bundle, scts=1).identity == w.EMAIL
    with pytest.raises(InvalidCertificate, match="1 trusted certificate transparency logs"):
        verify(world, bundle, scts=2)


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


# 5. Log entries


def test_refuses_a_bundle_without_entries(world):
    with pytest.raises(InvalidEntry) as caught:
        verify(world, world.bundle(tlog_entries=()))
    assert caught.value.code == "no_entry"


def test_the_log_can_be_waived(world):
    assert verify(world, world.bundle(tlog_entries=()), tlog=0).entries == ()


def test_an_entry_of_an_unknown_log_counts_for_nothing(world):
    with pytest.raises(InvalidEntry) as caught:
        verify(world, world.bundle(), replace(world.root, tlogs=(w.v1_log(),)))
    assert caught.value.code == "no_entry"


def test_two_entries_of_one_log_count_once(world):
    bundle = world.bundle()
    body = entry_of(bundle).canonicalized_body
    proof = w.inclusion_proof(body, origin=w.HOST, key_name=w.HOST, key="ed25519-log", index=4)
    second = replace(entry_of(bundle), log_index=4, inclusion_proof=proof)
    with pytest.raises(InvalidEntry) as caught:
        verify(world, replace(bundle, tlog_entries=(entry_of(bundle), second)), tlog=2)
    assert caught.value.code == "no_entry"


def test_two_logs_meet_a_threshold_of_two(world):
    bundle = world.bundle()
    second = w.v2_entry(entry_of(bundle).canonicalized_body, host="log.two", key="ed25519-two")
    root = replace(world.root, tlogs=(*world.root.tlogs, w.v2_log("ed25519-two", "log.two")))
    verified = verify(world, replace(bundle, tlog_entries=(entry_of(bundle), second)), root, tlog=2)
    assert [item.origin for item in verified.entries] == [w.HOST, "log.two"]


@pytest.mark.parametrize(
    "valid_for", [Validity(w.NOW + timedelta(seconds=1)), Validity(w.BEGINNING, w.NOW - timedelta(seconds=1))]
)
def test_refuses_an_entry_outside_the_log_keys_validity(world, valid_for):
    with pytest.raises(InvalidEntry) as caught:
        verify(world, world.bundle(), replace(world.root, tlogs=(w.v2_log(valid_for=valid_for),)))
    assert caught.value.code == "outside_validity"


@pytest.mark.parametrize(
    "change",
    [
        lambda proof: {"log_index": proof.log_index + 1},
        lambda proof: {"log_index": proof.tree_size},
        lambda proof: {"hashes": proof.hashes[:-1]},
        lambda proof: {"hashes": (*proof.hashes, bytes(32))},
        lambda proof: {"hashes": (bytes(32), *proof.hashes[1:])},
        lambda proof: {"hashes": ()},
        lambda proof: {"tree_size": proof.tree_size + 1},
        lambda proof: {"tree_size": 0},
        lambda proof: {"root_hash": bytes(32)},
    ],
)
def test_refuses_an_inclusion_proof_that_does_not_hold(world, change: Callable[..., dict[str, object]]):
    bundle = world.bundle()
    with pytest.raises(InvalidProof):
        verify(world, with_proof(bundle, **change(entry_of(bundle).inclusion_proof)))


def test_refuses_an_entry_that_calls_itself_another_than_its_proof(world):
    with pytest.raises(InvalidProof) as caught:
        verify(world, with_entry(world.bundle(), log_index=987_654))
    assert caught.value.code == "wrong_index"


def test_says_the_index_that_the_log_vouches_for(world):
    promised = world.v1_bundle()
    assert verify(world, promised).entries[0].log_index == 1_000_003
    stamped = replace(promised, timestamps=(world.timestamp(promised.signature),))
    claimed = with_entry(stamped, inclusion_promise=None, log_index=987_654)
    assert verify(world, claimed).entries[0].log_index == 3


def test_refuses_a_proof_for_another_tree_than_the_checkpoints(world):
    bundle = world.bundle()
    leaf = leaf_hash(entry_of(bundle).canonicalized_body)
    forged = with_proof(bundle, log_index=0, tree_size=1, hashes=(), root_hash=leaf)
    with pytest.raises(InvalidProof) as caught:
        verify(world, forged)
    assert caught.value.code == "wrong_tree"


def resigned(bundle: Bundle, *, origin: str = w.HOST, name: str = w.HOST, key: str = "ed25519-log") -> Bundle:
    proof = entry_of(bundle).inclusion_proof
    checkpoint = Checkpoint(origin, proof.tree_size, proof.root_hash)
    return with_proof(bundle, checkpoint=w.signed_checkpoint(checkpoint, name, key))


def test_refuses_a_checkpoint_signed_by_another_key(world):
    with pytest.raises(InvalidSignature, match="no signature by"):
        verify(world, resigned(world.bundle(), key="ed25519-other"))


def test_refuses_a_checkpoint_of_another_origin(world):
    with pytest.raises(InvalidProof) as caught:
        verify(world, resigned(world.bundle(), origin="another.log"))
    assert caught.value.code == "wrong_origin"


def test_refuses_a_checkpoint_signed_under_another_name(world):
    with pytest.raises(InvalidSignature):
        verify(world, resigned(world.bundle(), name="another.log"))


def test_refuses_a_checkpoint_whose_signature_is_false(world):
    bundle = world.bundle()
    note = parse_note(entry_of(bundle).inclusion_proof.checkpoint)
    line = note.signatures[0]
    forged = Note(note.text, (NoteSignature(line.name, line.key_id, bytes(64)),))
    with pytest.raises(InvalidSignature):
        verify(world, with_proof(bundle, checkpoint=forged.to_bytes()))


def test_refuses_a_checkpoint_that_is_no_note(world):
    with pytest.raises(MalformedInput):
        verify(world, with_proof(world.bundle(), checkpoint=b"\xff"))


def test_ignores_signatures_of_others_on_the_checkpoint(world):
    bundle = world.bundle()
    note = parse_note(entry_of(bundle).inclusion_proof.checkpoint)
    stranger = NoteSignature("witness.example", b"abcd", bytes(76))
    crowded = Note(note.text, (stranger, *note.signatures, stranger))
    assert verify(world, with_proof(bundle, checkpoint=crowded.to_bytes())).identity == w.EMAIL


def test_the_port_of_a_log_is_no_part_of_its_origin(world):
    log = replace(w.v2_log(), base_url=f"https://{w.HOST}:1/path")
    assert verify(world, world.bundle(), replace(world.root, tlogs=(log,))).entries[0].origin == w.HOST


def test_refuses_a_log_whose_url_names_no_host(world):
    log = replace(w.v2_log(), base_url="not a url")
    with pytest.raises(InvalidSignature):
        verify(world, world.bundle(), replace(world.root, tlogs=(log,)))


# 6. Promises


def refused_promise(world: w.World, bundle: Bundle, code: str = "invalid_promise") -> None:
    with pytest.raises(InvalidEntry) as caught:
        verify(world, bundle)
    assert caught.value.code == code


def test_refuses_a_promise_that_is_false(world):
    refused_promise(world, with_entry(world.v1_bundle(), inclusion_promise=b"false"))


@pytest.mark.parametrize("change", [{"log_index": 5}, {"integrated_time": int(w.NOW.timestamp()) + 1}])
def test_refuses_a_promise_about_something_else(world, change):
    refused_promise(world, with_entry(world.v1_bundle(), **change))


def test_refuses_a_false_promise_even_beside_a_timestamp(world):
    bundle = world.v1_bundle()
    bundle = with_entry(bundle, inclusion_promise=b"false")
    refused_promise(world, replace(bundle, timestamps=(world.timestamp(bundle.signature),)))


@pytest.mark.parametrize("seconds", [0, 253_402_300_800, 2**62])
def test_refuses_a_promise_without_a_sane_time(world, seconds):
    refused_promise(world, with_entry(world.v1_bundle(), integrated_time=seconds))


def test_refuses_a_promise_from_before_the_log(world):
    entry = entry_of(world.v1_bundle())
    bundle = world.v1_bundle(tlog_entries=(w.v1_entry(entry.canonicalized_body, time=w.BEGINNING - YEAR),))
    refused_promise(world, bundle, "outside_validity")


def test_refuses_a_v1_checkpoint_signed_by_another_host(world):
    bundle = world.v1_bundle()
    origin = f"rekor.local - {w.TREE_ID}"
    with pytest.raises(InvalidSignature):
        verify(world, resigned(bundle, origin=origin, name="evil.local", key="p256-log"))


# 8. Entry and bundle


def mismatch(world: w.World, bundle: Bundle) -> None:
    with pytest.raises(InvalidEntry) as caught:
        verify(world, bundle)
    assert caught.value.code == "entry_mismatch"


def body(bundle: Bundle, **changes: object) -> bytes:
    fields = {
        "digest": hashlib.sha256(w.MESSAGE).digest(),
        "hash_algorithm": SHA2_256,
        "signature": bundle.signature,
        "key_details": "PKIX_ECDSA_P256_SHA_256",
        "certificate": bundle.certificate,
    }
    return hashedrekord_v002_body(**{**fields, **changes})


def test_refuses_the_entry_of_another_artifact(world):
    bundle = world.bundle()
    mismatch(world, logged(bundle, body(bundle, digest=hashlib.sha256(b"another").digest())))


def test_refuses_the_entry_of_another_signature(world):
    bundle = world.bundle()
    mismatch(world, logged(bundle, body(bundle, signature=w.sign("p256-leaf", w.MESSAGE))))


def test_refuses_the_entry_of_another_certificate(world):
    bundle = world.bundle()
    mismatch(world, logged(bundle, body(bundle, certificate=world.certificate())))


def test_refuses_the_entry_of_a_bare_key_for_a_certificate(world):
    bundle = world.bundle()
    key = w.public_key("p256-leaf").spki
    mismatch(world, logged(bundle, body(bundle, certificate=b"", public_key=key)))


def test_refuses_the_entry_with_another_hash(world):
    bundle = world.bundle()
    other = body(
        bundle,
        hash_algorithm=SHA2_384,
        key_details="PKIX_ECDSA_P384_SHA_384",
        digest=SHA2_384.digest(w.MESSAGE),
    )
    mismatch(world, logged(bundle, other))


def test_refuses_an_entry_whose_kind_is_not_its_bodys(world):
    with pytest.raises(MalformedInput):
        verify(world, with_entry(world.bundle(), kind="dsse"))


def test_refuses_an_unknown_kind_of_entry(world):
    with pytest.raises(InvalidEntry) as caught:
        verify(world, with_entry(world.bundle(), kind="alpine"))
    assert caught.value.code == "unknown_kind"


def v1_mismatch(world: w.World, **changes: bytes) -> None:
    bundle = world.v1_bundle()
    fields = {
        "digest": hashlib.sha256(w.MESSAGE).digest(),
        "signature": bundle.signature,
        "pem": w.certificate_pem(bundle.certificate),
        **changes,
    }
    entry = w.v1_entry(w.hashedrekord_v001_body(**fields))
    mismatch(world, replace(bundle, tlog_entries=(entry,)))


def test_refuses_a_v1_entry_of_something_else(world):
    v1_mismatch(world, digest=hashlib.sha256(b"another").digest())
    v1_mismatch(world, signature=w.sign("p256-leaf", w.MESSAGE))
    v1_mismatch(world, pem=w.certificate_pem(world.certificate()))
    v1_mismatch(world, pem=w.public_key("p256-leaf").to_pem().encode())


# 9. Signature


def test_refuses_another_artifact(world):
    with pytest.raises(InvalidSignature) as caught:
        Verifier(world.root).verify(world.bundle(), w.artifact(b"another"), ALICE)
    assert caught.value.code == "wrong_artifact"


def test_refuses_a_digest_hint_of_another_artifact(world):
    bundle = world.bundle()
    hint = replace(bundle.message_signature, digest=hashlib.sha256(b"another").digest())
    with pytest.raises(InvalidSignature) as caught:
        verify(world, replace(bundle, message_signature=hint))
    assert caught.value.code == "wrong_artifact"


def test_refuses_a_digest_made_with_another_hash(world):
    artifact = Artifact.from_bytes(w.MESSAGE, SHA2_512)
    with pytest.raises(InvalidSignature) as caught:
        Verifier(world.root).verify(world.bundle(), artifact, ALICE)
    assert caught.value.code == "wrong_hash"


def test_refuses_a_signature_by_another_key(world):
    certificate, signature = world.certificate(), w.sign("p256-stranger", w.MESSAGE)
    digest = hashlib.sha256(w.MESSAGE).digest()
    forged = hashedrekord_v002_body(
        digest, SHA2_256, signature, "PKIX_ECDSA_P256_SHA_256", certificate=certificate
    )
    bundle = Bundle(
        certificate=certificate,
        message_signature=MessageSignature(SHA2_256, digest, signature),
        tlog_entries=(w.v2_entry(forged),),
        timestamps=(world.timestamp(signature),),
    )
    with pytest.raises(InvalidSignature, match="does not verify"):
        verify(world, bundle)


def test_refuses_the_mirrored_form_of_a_signature(world):
    """The negated s of an ECDSA signature verifies too, but nobody stamped or logged those bytes."""
    bundle = world.bundle()
    r, s = decode_dss_signature(bundle.signature)
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    mirrored = replace(bundle.message_signature, signature=encode_dss_signature(r, order - s))
    no_time(world, replace(bundle, message_signature=mirrored))


# Attestations


def test_returns_the_statement_of_an_attestation(world):
    statement = verify(world, world.attestation()).statement
    assert statement.predicate_type == "https://example.com/tested/v1"


def test_accepts_an_attestation_by_any_digest_of_its_subject(world):
    statement = w.a_statement()
    statement["subject"][0]["digest"] = {"sha512": hashlib.sha512(w.MESSAGE).hexdigest().upper()}
    bundle = world.attestation(statement)
    assert required_hash(bundle) == SHA2_512
    artifact = Artifact.from_bytes(w.MESSAGE, SHA2_512)
    assert Verifier(world.root).verify(bundle, artifact, ALICE).statement


def test_refuses_a_statement_about_another_artifact(world):
    with pytest.raises(InvalidSignature) as caught:
        verify(world, world.attestation(w.a_statement(b"another")))
    assert caught.value.code == "wrong_artifact"


def test_refuses_an_envelope_that_holds_no_statement(world):
    with pytest.raises(InvalidSignature) as caught:
        verify(world, world.attestation(b"text", payload_type="text/plain"))
    assert caught.value.code == "unsupported_payload_type"
    with pytest.raises(MalformedInput):
        verify(world, world.attestation(b"not a statement"))


def test_refuses_a_changed_payload(world):
    bundle = world.attestation()
    payload = json.dumps({**w.a_statement(), "predicate": {"tested": False}}).encode()
    mismatch(world, replace(bundle, envelope=replace(bundle.envelope, payload=payload)))


def dsse_v001_body(bundle: Bundle, **changes: object) -> bytes:
    payload_hash = changes.get("payload_hash", hashlib.sha256(bundle.envelope.payload).hexdigest())
    signature = {
        "signature": w.b64(changes.get("signature", bundle.signature)),
        "verifier": w.b64(changes.get("pem", w.certificate_pem(bundle.certificate))),
    }
    spec = {
        "envelopeHash": {"algorithm": "sha256", "value": "00" * 32},
        "payloadHash": {"algorithm": "sha256", "value": payload_hash},
        "signatures": [signature] * changes.get("count", 1),
    }
    return json.dumps({"apiVersion": "0.0.1", "kind": "dsse", "spec": spec}).encode()


def dsse_v002_body(bundle: Bundle, **changes: object) -> bytes:
    payload = hashlib.sha256(bundle.envelope.payload).digest()
    verifier = {"keyDetails": "PKIX_ECDSA_P256_SHA_256"}
    verifier["x509Certificate"] = {"rawBytes": w.b64(changes.get("certificate", bundle.certificate))}
    spec = {
        "payloadHash": {"algorithm": "SHA2_256", "digest": w.b64(changes.get("payload_hash", payload))},
        "signatures": [{"content": w.b64(changes.get("signature", bundle.signature)), "verifier": verifier}],
    }
    body = {"apiVersion": "0.0.2", "kind": "dsse", "spec": {"dsseV002": spec}}
    return json.dumps(body, separators=(",", ":"), sort_keys=True).encode()


def intoto_body(bundle: Bundle, **changes: object) -> bytes:
    signature = {
        "publicKey": w.b64(w.certificate_pem(bundle.certificate)),
        "sig": w.b64(w.b64(changes.get("signature", bundle.signature)).encode()),
    }
    envelope = {
        "payloadType": changes.get("payload_type", bundle.envelope.payload_type),
        "signatures": [signature],
    }
    content = {
        "envelope": envelope,
        "hash": {"algorithm": "sha256", "value": "00" * 32},
        "payloadHash": {
            "algorithm": "sha256",
            "value": changes.get("payload_hash", hashlib.sha256(bundle.envelope.payload).hexdigest()),
        },
    }
    return json.dumps({"apiVersion": "0.0.2", "kind": "intoto", "spec": {"content": content}}).encode()


def test_accepts_every_kind_of_entry_for_an_attestation(world):
    bundle = world.attestation()
    for entry in (
        w.v1_entry(dsse_v001_body(bundle)),
        w.v2_entry(dsse_v002_body(bundle)),
        w.v1_entry(intoto_body(bundle)),
    ):
        verified = verify(world, replace(bundle, tlog_entries=(entry,)))
        assert (verified.entries[0].kind, verified.entries[0].version) == (entry.kind, entry.version)


@pytest.mark.parametrize(
    ("make", "change"),
    [
        (dsse_v001_body, {"payload_hash": "00" * 32}),
        (dsse_v001_body, {"signature": b"another"}),
        (dsse_v001_body, {"count": 2}),
        (dsse_v002_body, {"payload_hash": bytes(32)}),
        (dsse_v002_body, {"signature": b"another"}),
        (dsse_v002_body, {"certificate": b"another"}),
        (intoto_body, {"payload_hash": "00" * 32}),
        (intoto_body, {"signature": b"another"}),
        (intoto_body, {"payload_type": "another"}),
    ],
)
def test_refuses_an_entry_of_another_attestation(world, make, change):
    bundle = world.attestation()
    make_entry = w.v2_entry if make is dsse_v002_body else w.v1_entry
    mismatch(world, replace(bundle, tlog_entries=(make_entry(make(bundle, **change)),)))


def test_refuses_an_envelopes_entry_for_a_message(world):
    attested = world.attestation()
    mismatch(world, world.bundle(tlog_entries=(w.v1_entry(dsse_v001_body(attested)),)))


# Bare keys


def verify_with_key(world: w.World, bundle: Bundle, key: str = "p256-bare", **thresholds: int) -> Verified:
    verifier = Verifier(world.root, Thresholds(**thresholds))
    return verifier.verify_with_key(bundle, w.artifact(), w.public_key(key))


def test_verifies_with_a_bare_key(world):
    verified = verify_with_key(world, world.key_bundle())
    assert verified.signer == w.public_key("p256-bare").key_id.hex()
    assert (verified.identity, verified.oidc_issuer, verified.extensions) == ("", "", {})
    assert verified.to_dict()["signer"] == {"keyId": verified.signer}


def test_refuses_another_bare_key(world):
    with pytest.raises(InvalidEntry):
        verify_with_key(world, world.key_bundle(), "p256-stranger")
    with pytest.raises(InvalidSignature):
        verify_with_key(world, world.key_bundle(tlog_entries=()), "p256-stranger", tlog=0)


def test_refuses_a_certificate_where_a_key_is_wanted(world):
    with pytest.raises(InvalidSignature) as caught:
        verify_with_key(world, world.bundle(), "p256-leaf")
    assert caught.value.code == "no_public_key"


def test_a_bare_key_needs_its_log_entry_too(world):
    with pytest.raises(InvalidEntry):
        verify_with_key(world, world.key_bundle(tlog_entries=()))


def ed25519_bundle() -> Bundle:
    signature = MessageSignature(None, b"", w.sign("ed25519-bare", w.MESSAGE))
    return Bundle(public_key_hint="", message_signature=signature)


def test_an_ed25519_key_needs_the_message(world):
    verifier, key = Verifier(world.root, Thresholds(tlog=0)), w.public_key("ed25519-bare")
    bundle = ed25519_bundle()
    assert verifier.verify_with_key(bundle, w.artifact(), key)
    digest_only = Artifact(hash_algorithm=SHA2_256, digest=hashlib.sha256(w.MESSAGE).digest())
    with pytest.raises(InvalidSignature) as caught:
        verifier.verify_with_key(bundle, digest_only, key)
    assert caught.value.code == "message_needed"


def test_refuses_a_message_that_its_digest_is_not_of(world):
    verifier, key = Verifier(world.root, Thresholds(tlog=0)), w.public_key("ed25519-bare")
    swapped = Artifact(hash_algorithm=SHA2_256, digest=bytes(32), message=w.MESSAGE)
    with pytest.raises(InvalidSignature) as caught:
        verifier.verify_with_key(ed25519_bundle(), swapped, key)
    assert caught.value.code == "wrong_artifact"


# What callers ask beforehand


def test_the_required_hash_of_a_key_bundle_needs_the_key(world):
    assert required_hash(world.key_bundle(), w.public_key("p256-bare")) == SHA2_256
    with pytest.raises(MalformedInput):
        required_hash(world.key_bundle())


def test_a_hash_that_the_key_cannot_have_is_not_required(world):
    bundle = world.bundle()
    hint = MessageSignature(SHA2_512, bytes(64), bundle.signature)
    assert required_hash(replace(bundle, message_signature=hint)) == SHA2_256


def test_an_envelope_without_statement_requires_sha256(world):
    envelope = Envelope(payload=b"x", payload_type="text/plain", signatures=(EnvelopeSignature(b"s"),))
    assert required_hash(Bundle(public_key_hint="", envelope=envelope)) == SHA2_256


def test_refuses_a_digest_of_the_wrong_length():
    with pytest.raises(MalformedInput):
        Artifact(hash_algorithm=SHA2_256, digest=bytes(20))


@pytest.mark.parametrize("thresholds", [{"timestamps": 0}, {"tlog": -1}, {"scts": -1}])
def test_refuses_senseless_thresholds(thresholds):
    with pytest.raises(ValueError, match="thresholds"):
        Thresholds(**thresholds)


def test_any_identity_can_be_asked_for_by_its_loud_name(world):
    names = [x509.UniformResourceIdentifier("https://ci.test/workflow")]
    bundle = world.bundle(certificate=world.certificate(names=names))
    verified = Verifier(world.root).verify(bundle, w.artifact(), unsafe_any_identity)
    assert verified.identity == "https://ci.test/workflow"
