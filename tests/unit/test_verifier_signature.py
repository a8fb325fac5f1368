"""What a verification must refuse in signatures, attestations and bare keys."""

import hashlib
import json

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from tests.support import world as w
from tests.support.verifying import ALICE, mismatch, no_time, replace, verify

from hallmark.core.algorithms import SHA2_256, SHA2_384, SHA2_512
from hallmark.core.bundle import Bundle, MessageSignature
from hallmark.core.dsse import IN_TOTO_PAYLOAD_TYPE, Envelope, EnvelopeSignature, pae
from hallmark.core.entries.hashedrekord import hashedrekord_v002_body
from hallmark.errors import (
    InvalidEntry,
    InvalidSignature,
    MalformedInput,
)
from hallmark.policy.identity import unsafe_any_identity
from hallmark.verify.verifier import Artifact, Thresholds, Verified, Verifier, required_hash, required_hashes

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
    artifact = Artifact(hash_algorithm=SHA2_512, digest=SHA2_512.digest(w.MESSAGE))
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


def test_refuses_a_forged_attestation_that_is_logged(world):
    """The log's entry fits the envelope in all but the check of its signature, which is a stranger's."""
    payload = json.dumps(w.a_statement()).encode()
    certificate = world.certificate()
    signature = w.sign("p256-stranger", pae(IN_TOTO_PAYLOAD_TYPE, payload))
    body = hashedrekord_v002_body(
        hashlib.sha256(pae(IN_TOTO_PAYLOAD_TYPE, payload)).digest(),
        SHA2_256,
        signature,
        "PKIX_ECDSA_P256_SHA_256",
        certificate=certificate,
    )
    envelope = Envelope(
        payload=payload,
        payload_type=IN_TOTO_PAYLOAD_TYPE,
        signatures=(EnvelopeSignature(signature),),
    )
    forged = world.attestation(
        certificate=certificate,
        envelope=envelope,
        tlog_entries=(w.v2_entry(body),),
        timestamps=(world.timestamp(signature),),
    )
    with pytest.raises(InvalidSignature, match="does not verify"):
        verify(world, forged)


@pytest.mark.parametrize("key", ["p384-bare", "p521-bare"])
def test_an_attestation_is_hashed_as_its_key_wants(world, key):
    """The entry of an envelope holds the digest with the key's own hash, SHA-384 and SHA-512 here."""
    payload = json.dumps(w.a_statement()).encode()
    encoded, public = pae(IN_TOTO_PAYLOAD_TYPE, payload), w.public_key(key)
    signature, algorithm = w.sign(key, encoded), public.algorithm
    body = hashedrekord_v002_body(
        algorithm.hash.digest(encoded),
        algorithm.hash,
        signature,
        algorithm.key_details,
        public_key=public.spki,
    )
    envelope = Envelope(
        payload=payload, payload_type=IN_TOTO_PAYLOAD_TYPE, signatures=(EnvelopeSignature(signature),)
    )
    bundle = Bundle(public_key_hint="", envelope=envelope, tlog_entries=(w.v2_entry(body),))
    assert verify_with_key(world, bundle, key).statement


def ed25519_attestation(signer: str = "ed25519-bare") -> Bundle:
    payload = json.dumps(w.a_statement()).encode()
    signature = EnvelopeSignature(w.sign(signer, pae(IN_TOTO_PAYLOAD_TYPE, payload)))
    envelope = Envelope(payload=payload, payload_type=IN_TOTO_PAYLOAD_TYPE, signatures=(signature,))
    return Bundle(public_key_hint="", envelope=envelope)


def test_an_ed25519_key_signs_attestations(world):
    """Of an envelope everything is there that the signature is over: no message is needed."""
    verifier, key = Verifier(world.root, Thresholds(tlog=0)), w.public_key("ed25519-bare")
    digest_only = Artifact(hash_algorithm=SHA2_256, digest=SHA2_256.digest(w.MESSAGE))
    assert verifier.verify_with_key(ed25519_attestation(), digest_only, key).statement
    with pytest.raises(InvalidSignature, match="does not verify"):
        verifier.verify_with_key(ed25519_attestation("ed25519-stranger"), digest_only, key)


def test_refuses_a_strangers_ed25519_signature(world):
    verifier, key = Verifier(world.root, Thresholds(tlog=0)), w.public_key("ed25519-bare")
    forged = MessageSignature(None, b"", w.sign("ed25519-stranger", w.MESSAGE))
    with pytest.raises(InvalidSignature, match="does not verify"):
        verifier.verify_with_key(replace(ed25519_bundle(), message_signature=forged), w.artifact(), key)


def subject(message: bytes, *names: str) -> dict[str, object]:
    return {"name": "x", "digest": {name: hashlib.new(name, message).hexdigest() for name in names}}


def attestation_of(world, *subjects):
    return world.attestation({**w.a_statement(), "subject": list(subjects)})


def test_each_subject_is_compared_by_its_own_strongest_hash(world):
    bundle = attestation_of(world, subject(b"first", "sha256"), subject(b"second", "sha256", "sha512"))
    assert required_hashes(bundle) == (SHA2_512, SHA2_256)
    for message, expected in ((b"first", SHA2_256), (b"second", SHA2_512)):
        digests = [(item, item.digest(message)) for item in required_hashes(bundle)]
        artifact = Artifact(hash_algorithm=digests[0][0], digest=digests[0][1], others=tuple(digests[1:]))
        verified = Verifier(world.root).verify(bundle, artifact, ALICE)
        assert (verified.hash_algorithm, verified.digest) == (expected, expected.digest(message))


def test_a_weaker_digest_does_not_make_up_for_a_wrong_stronger_one(world):
    odd = {"digest": {"sha256": hashlib.sha256(w.MESSAGE).hexdigest(), "sha512": "00" * 64}}
    with pytest.raises(InvalidSignature) as caught:
        verify(world, attestation_of(world, odd))
    assert caught.value.code == "wrong_artifact"


def test_a_digest_given_in_place_of_the_artifact_is_compared_with_its_own_kind(world):
    bundle = attestation_of(world, subject(w.MESSAGE, "sha256", "sha512"))
    artifact = Artifact(hash_algorithm=SHA2_256, digest=SHA2_256.digest(w.MESSAGE))
    assert Verifier(world.root).verify(bundle, artifact, ALICE).hash_algorithm == SHA2_256


def test_a_sha1_digest_vouches_for_no_file(world):
    bundle = attestation_of(world, subject(w.MESSAGE, "sha1"))
    assert required_hashes(bundle) == (SHA2_256,)
    with pytest.raises(InvalidSignature, match="only sha1 digests") as caught:
        verify(world, bundle)
    assert caught.value.code == "wrong_artifact"
    assert "SHA-256" in caught.value.hint


def test_a_weak_digest_of_one_subject_does_not_excuse_another_artifact(world):
    with pytest.raises(InvalidSignature) as caught:
        verify(world, attestation_of(world, subject(w.MESSAGE, "sha1"), subject(b"another", "sha256")))
    assert (caught.value.code, caught.value.hint) == ("wrong_artifact", "")


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
    if "payload" in changes:
        envelope["payload"] = changes["payload"]
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
        w.v1_entry(intoto_body(bundle, payload=w.b64(bundle.envelope.payload))),
        w.v1_entry(intoto_body(bundle, payload=w.b64(w.b64(bundle.envelope.payload).encode()))),
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
        (intoto_body, {"payload": w.b64(b"another")}),
        (intoto_body, {"payload": w.b64(w.b64(b"another").encode())}),
        (intoto_body, {"payload": w.b64(b"!" + w.b64(json.dumps(w.a_statement()).encode()).encode())}),
        (intoto_body, {"payload": ""}),
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


@pytest.mark.parametrize(
    ("key", "expected"), [("p256-bare", SHA2_256), ("p384-bare", SHA2_384), ("p521-bare", SHA2_512)]
)
def test_where_the_bundle_names_no_hash_the_key_has_its_own(world, key, expected):
    signature = MessageSignature(None, b"", w.sign(key, w.MESSAGE))
    bundle = Bundle(public_key_hint="", message_signature=signature)
    assert required_hash(bundle, w.public_key(key)) == expected
    verified = verify_with_key(world, bundle, key, tlog=0)
    assert (verified.hash_algorithm, verified.digest) == (expected, expected.digest(w.MESSAGE))


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
