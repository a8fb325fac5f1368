"""What a verification must refuse in log entries, promises, and what they say of the bundle."""

import hashlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from tests.support import world as w
from tests.support.verifying import (
    YEAR,
    entry_of,
    logged,
    mismatch,
    replace,
    verify,
    with_entry,
    with_proof,
)

from hallmark.core.algorithms import SHA2_256, SHA2_384
from hallmark.core.bundle import BUNDLE_V01, Bundle
from hallmark.core.checkpoint import Checkpoint
from hallmark.core.entries.hashedrekord import hashedrekord_v002_body
from hallmark.core.merkle import leaf_hash
from hallmark.core.note import Note, NoteSignature, parse_note
from hallmark.core.trusted_root import Validity
from hallmark.errors import (
    InvalidEntry,
    InvalidProof,
    InvalidSignature,
    MalformedInput,
    TrustError,
)
from hallmark.verify.times import established_times

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


def test_refuses_an_inclusion_proof_without_checkpoint(world):
    bundle = replace(world.v1_bundle(), media_type=BUNDLE_V01)
    assert verify(world, bundle).entries[0].origin
    bare = with_proof(bundle, checkpoint=b"")
    with pytest.raises(InvalidProof) as caught:
        verify(world, bare)
    assert caught.value.code == "no_checkpoint"


def test_names_the_log_of_an_entry_that_is_proved_by_its_promise(world):
    entry = verify(world, world.v1_bundle(version=BUNDLE_V01)).entries[0]
    assert (entry.origin, entry.log) == ("", world.root.tlogs[1].base_url)
    assert entry.log


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


@pytest.mark.parametrize("url", ["", "not a url"])
def test_a_log_whose_url_names_no_host_is_a_fault_of_the_trusted_root(world, url):
    log = replace(w.v2_log(), base_url=url)
    with pytest.raises(TrustError, match="no base URL with a host"):
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


@pytest.mark.parametrize("seconds", [1, 253_402_300_799])
def test_a_promise_may_state_any_second_until_the_year_9999(world, seconds):
    logs = tuple(
        replace(log, valid_for=Validity(datetime.min.replace(tzinfo=UTC))) for log in world.root.tlogs
    )
    time = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
    entry = w.v1_entry(entry_of(world.v1_bundle()).canonicalized_body, time=time)
    (found,) = established_times(world.v1_bundle(tlog_entries=(entry,)), replace(world.root, tlogs=logs))
    assert found.time == time


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


@pytest.mark.parametrize(
    "origin", ["127.0.0.1 - ", "127.0.0.1 - 12x", "127.0.0.1 - \u0661", "127.0.0.1 -12", "12"]
)
def test_only_a_number_behind_the_host_makes_the_origin_of_a_v1_log(world, origin):
    """Of a v1 log the origin is taken from the checkpoint itself; no other log may say its own."""
    bundle = world.bundle()
    proof = entry_of(bundle).inclusion_proof
    note = w.signed_checkpoint(Checkpoint(origin, proof.tree_size, proof.root_hash), w.HOST, "ed25519-log")
    with pytest.raises(InvalidProof) as caught:
        verify(world, with_proof(bundle, checkpoint=note))
    assert caught.value.code == "wrong_origin"


def test_names_a_log_without_url_by_its_id(world):
    bundle = world.v1_bundle(version=BUNDLE_V01)
    nameless = tuple(replace(log, base_url="") for log in world.root.tlogs)
    entry = verify(world, bundle, replace(world.root, tlogs=nameless)).entries[0]
    assert entry.log == world.root.tlogs[1].log_id.hex()


def test_an_entry_proved_by_its_promise_alone_has_no_tree(world):
    entry = verify(world, world.v1_bundle(version=BUNDLE_V01)).entries[0]
    assert (entry.origin, entry.tree_size) == ("", 0)
