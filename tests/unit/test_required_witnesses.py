"""Bundles whose checkpoint must be witnessed, and the waiting for it."""

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tests.support.world import EMAIL, HOST, OIDC_ISSUER, artifact, public_key

from hallmark.client import witnessed as witnessed_module
from hallmark.client.witnessed import WitnessWait
from hallmark.core.bundle import BUNDLE_V01
from hallmark.core.checkpoint import parse_checkpoint
from hallmark.core.cosignature import cosign, cosigner_vkey
from hallmark.core.note import Note, NoteSignature, parse_note
from hallmark.core.vkey import log_vkey
from hallmark.core.witness_policy import parse_witness_policy
from hallmark.errors import ConfigurationError, InvalidProof, InvalidSignature, RemoteError
from hallmark.policy.identity import Identity
from hallmark.verify.verifier import Thresholds, Verifier
from hallmark.verify.witnesses import RequiredWitnesses

KEYS = {name: Ed25519PrivateKey.from_private_bytes(name.encode() * 32) for name in "abc"}
VKEYS = {name: cosigner_vkey(f"w.example/{name}", key) for name, key in KEYS.items()}
WITNESSES = [f"witness {name} {key.to_text()}" for name, key in VKEYS.items()]
OWN_LOG = log_vkey(HOST, public_key("ed25519-log"))
OTHER_LOG = log_vkey(HOST, public_key("ed25519-otherlog"))


def policy(*lines: str):
    return parse_witness_policy("\n".join([*lines, *WITNESSES, "group g 2 a b c", "quorum g"]).encode())


def witnessed_entry(entry, *names: str, extra: tuple[NoteSignature, ...] = ()):
    note = parse_note(entry.inclusion_proof.checkpoint)
    stated = parse_checkpoint(note.text)
    lines = tuple(cosign(stated, VKEYS[name], KEYS[name], 1) for name in names)
    data = Note(note.text, note.signatures + lines + extra).to_bytes()
    proof = msgspec.structs.replace(entry.inclusion_proof, checkpoint=data)
    return msgspec.structs.replace(entry, inclusion_proof=proof)


def verify(world, bundle, required):
    verifier = Verifier(world.root, checkpoints=RequiredWitnesses(required))
    return verifier.verify(bundle, artifact(), Identity(identity=EMAIL, oidc_issuer=OIDC_ISSUER))


def witnessed(bundle, *names, **options):
    entry = witnessed_entry(bundle.tlog_entries[0], *names, **options)
    return msgspec.structs.replace(bundle, tlog_entries=(entry,))


@pytest.mark.parametrize("lines", [(), (f"log {OWN_LOG.to_text()}",)])
def test_a_quorum_is_accepted_and_named(world, lines):
    verified = verify(world, witnessed(world.bundle(), "c", "a"), policy(*lines))
    assert verified.entries[0].witnesses == ("a", "c")
    assert verified.to_dict()["logEntries"][0]["witnesses"] == ["a", "c"]


def test_a_bundle_answered_before_the_witnesses_signed_is_refused_with_a_hint(world):
    with pytest.raises(InvalidProof) as refused:
        verify(world, world.bundle(), policy())
    assert refused.value.code == "not_witnessed"
    assert "before its witnesses signed" in refused.value.hint
    assert "--wait-for-witnesses" in refused.value.hint


def test_too_few_are_refused_and_named(world):
    with pytest.raises(InvalidProof, match="signed by b, not by a, c") as refused:
        verify(world, witnessed(world.bundle(), "b"), policy())
    assert refused.value.code == "no_witness_quorum"


def test_a_false_cosignature_is_refused(world):
    false = NoteSignature(VKEYS["c"].name, VKEYS["c"].key_id, bytes(72))
    with pytest.raises(InvalidSignature):
        verify(world, witnessed(world.bundle(), "a", "b", extra=(false,)), policy())


def test_a_log_that_the_policy_does_not_name_is_refused(world):
    with pytest.raises(InvalidProof) as refused:
        verify(world, witnessed(world.bundle(), "a", "b"), policy(f"log {OTHER_LOG.to_text()}"))
    assert refused.value.code == "log_not_in_policy"


def test_one_of_several_logs_that_the_policy_names_is_enough(world):
    lines = (f"log {OTHER_LOG.to_text()}", f"log {OWN_LOG.to_text()}")
    assert verify(world, witnessed(world.bundle(), "a", "c"), policy(*lines)).entries[0].witnesses


@pytest.mark.parametrize("lines", [(), (f"log {OWN_LOG.to_text()}",)])
def test_an_entry_of_a_log_without_witnesses_is_refused(world, lines):
    with pytest.raises(InvalidProof) as refused:
        verify(world, world.v1_bundle(), policy(*lines))
    assert refused.value.code == ("log_not_in_policy" if lines else "not_witnessed")


def test_an_entry_proved_by_a_promise_alone_is_refused(world):
    bundle = world.v1_bundle(version=BUNDLE_V01)
    entry = msgspec.structs.replace(bundle.tlog_entries[0], inclusion_proof=None)
    with pytest.raises(InvalidProof) as refused:
        verify(world, msgspec.structs.replace(bundle, tlog_entries=(entry,)), policy())
    assert refused.value.code == "not_witnessed"


def test_without_the_demand_cosignatures_of_strangers_do_no_harm(world):
    bundle = witnessed(world.bundle(), extra=(NoteSignature("stranger", b"abcd", b"x"),))
    verified = Verifier(world.root).verify(
        bundle, artifact(), Identity(identity=EMAIL, oidc_issuer=OIDC_ISSUER)
    )
    assert verified.entries[0].witnesses == ()


def test_a_key_signed_bundle_needs_its_witnesses_too(world):
    verifier = Verifier(world.root, checkpoints=RequiredWitnesses(policy()))
    bundle = world.key_bundle()
    with pytest.raises(InvalidProof):
        verifier.verify_with_key(bundle, artifact(), public_key("p256-bare"))
    verified = verifier.verify_with_key(witnessed(bundle, "a", "b"), artifact(), public_key("p256-bare"))
    assert verified.entries[0].witnesses == ("a", "b")


def test_a_demand_for_nobody_is_refused(world):
    with pytest.raises(ConfigurationError):
        RequiredWitnesses(parse_witness_policy(b"quorum none\n"))
    with pytest.raises(ValueError, match="checkpoint"):
        Verifier(world.root, Thresholds(tlog=0), checkpoints=RequiredWitnesses(policy()))


class _Log:
    """Gives these answers, one a fetch; the last again and again."""

    def __init__(self, *answers) -> None:
        self.answers = list(answers)
        self.asked = 0

    def fetch(self, _log_index):
        self.asked += 1
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


def test_waits_through_failures_until_the_entry_is_witnessed(world):
    entry = world.bundle().tlog_entries[0]
    done = witnessed_entry(entry, "a", "b")
    log = _Log(RemoteError("no"), entry, witnessed_entry(entry, "a"), done)
    assert WitnessWait(30, policy()).wait(log, entry) == done
    assert log.asked == 4


def test_without_a_policy_any_other_signature_is_enough(world):
    entry = world.bundle().tlog_entries[0]
    done = witnessed_entry(entry, "a")
    assert WitnessWait(30).wait(_Log(done), entry) == done
    assert not WitnessWait(0).is_witnessed(entry)


def test_an_entry_that_is_witnessed_already_is_not_fetched(world):
    entry = witnessed_entry(world.bundle().tlog_entries[0], "a", "b")
    log = _Log(RemoteError("no"))
    assert WitnessWait(30, policy()).wait(log, entry) == entry
    assert log.asked == 0


def test_gives_the_first_answer_when_time_is_up_or_another_entry_comes_back(world):
    entry = world.bundle().tlog_entries[0]
    other = msgspec.structs.replace(witnessed_entry(entry, "a", "b"), canonicalized_body=b"other")
    assert WitnessWait(0.3, policy()).wait(_Log(other), entry) == entry


class _Clock:
    """A clock that moves when somebody sleeps."""

    def __init__(self) -> None:
        self.now, self.pauses = 1000.0, []

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds


def test_the_log_is_asked_less_and_less_often_until_time_is_up(world, monkeypatch):
    clock, entry = _Clock(), world.bundle().tlog_entries[0]
    monkeypatch.setattr(witnessed_module, "time", clock)
    log = _Log(entry)
    assert WitnessWait(4.0).wait(log, entry) == entry
    assert clock.pauses == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.0, 1.0, 0.5])
    assert (clock.now, log.asked) == (1004.0, 7)


def test_an_entry_without_a_checkpoint_that_reads_is_not_witnessed(world):
    entry = witnessed_entry(world.bundle().tlog_entries[0], "a", "b")
    assert WitnessWait(0).is_witnessed(entry)
    promised = world.v1_bundle(version=BUNDLE_V01).tlog_entries[0]
    assert not WitnessWait(0).is_witnessed(msgspec.structs.replace(promised, inclusion_proof=None))
    for checkpoint in (b"", b"x\n1\nAA==\n\n"):
        proof = msgspec.structs.replace(entry.inclusion_proof, checkpoint=checkpoint)
        assert not WitnessWait(0).is_witnessed(msgspec.structs.replace(entry, inclusion_proof=proof))
