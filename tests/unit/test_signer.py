"""Signing without a key to keep, against services that answer well or have one thing wrong."""

import json
import threading
from datetime import timedelta

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tests.support.local_services import TOKEN, LocalServices
from tests.support.loopback import Asked, Reply
from tests.support.world import EMAIL, MESSAGE, NOW, a_statement, v2_entry

from hallmark.client.http import HttpClient
from hallmark.client.signing import Signer, logged_error
from hallmark.client.witnessed import WitnessWait
from hallmark.core.algorithms import SHA2_256, SHA2_512
from hallmark.core.checkpoint import parse_checkpoint
from hallmark.core.cosignature import cosign, cosigner_vkey
from hallmark.core.note import Note, parse_note
from hallmark.errors import HallmarkError, MalformedInput, RemoteError, TrustError, Unauthenticated

WITNESS = Ed25519PrivateKey.generate()
LYING = {"scts": ()}
"""What a certificate lacks that nobody then verifies; the key is the right one."""


@pytest.fixture
def services(world):
    with LocalServices(world) as made:
        yield made


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def make(services, clock):
    made = []

    def build(*, token=TOKEN, witnesses=None, renew=None, **named) -> Signer:
        http = HttpClient(timeout_seconds=30, patience_seconds=0)
        trust = services.trust(**named)
        made.append(Signer(trust, lambda: token, http, clock=clock, witnesses=witnesses, renew=renew))
        return made[-1]

    yield build
    for signer in made:
        signer.close()


def refused(code: str, act) -> HallmarkError:
    with pytest.raises(HallmarkError) as caught:
        act()
    assert caught.value.code == code
    return caught.value


class TestEvidence:
    def test_the_log_entry_comes_last(self, services, make):
        signed = make().sign_artifact(MESSAGE)
        assert (signed.verified.identity, signed.witnessed) == (EMAIL, False)
        assert services.asked == ["ca", "tsa", "log"]

    def test_every_service_that_is_named_takes_part(self, services, make):
        bundle = make(logs=("log", "log2"), times=("tsa", "tsa2")).sign_artifact(MESSAGE).bundle
        assert (len(bundle.tlog_entries), len(bundle.timestamps)) == (2, 2)
        assert sorted(services.asked) == ["ca", "log", "log2", "tsa", "tsa2"]

    def test_a_log_that_states_times_needs_no_other_authority(self, services, make):
        signed = make(logs=("v1",), times=(), version=1).sign_artifact(MESSAGE)
        assert signed.verified.identity == EMAIL
        assert services.asked == ["ca", "v1"]

    @pytest.mark.parametrize("lacks", [{"ca": False}, {"logs": ()}, {"times": ()}, {"logs": (), "times": ()}])
    def test_a_config_without_a_needed_service_is_refused(self, services, make, lacks):
        assert isinstance(refused("no_service", lambda: make(**lacks)), TrustError)
        assert services.asked == []

    def test_a_statement_is_signed_about_any_subject_with_a_digest_that_is_known(self, make):
        statement = a_statement()
        good = {"name": "artifact", "digest": {"sha512": SHA2_512.digest(MESSAGE).hex()}}
        odd = {"name": "odd", "digest": {"sha1": "ab" * 20, "sha256": "ab" * 31}}
        statement["subject"] = [odd, good]
        signed = make().sign_statement(json.dumps(statement).encode())
        assert json.loads(signed.bundle.envelope.payload) == statement

    def test_a_statement_without_such_a_digest_is_not(self, services, make):
        statement = {**a_statement(), "subject": [{"name": "odd", "digest": {"sha256": "ab" * 33}}]}
        with pytest.raises(MalformedInput, match="no subject"):
            make().sign_statement(json.dumps(statement).encode())
        assert services.asked == []

    def test_connections_are_shared_with_the_client_that_is_given(self, services, clock):
        http = HttpClient()
        for given in (http, None):
            with Signer(services.trust(), lambda: TOKEN, given, clock=clock) as signer:
                assert signer.sign_artifact(MESSAGE)
            assert "PrivateKey" not in repr(vars(signer))
            assert http.clock is not None


class TestCertificate:
    def test_it_is_shared_until_half_a_minute_before_its_end(self, services, make, clock):
        signer = make()
        clock.now = NOW
        signer.sign_artifact(MESSAGE)
        clock.now = NOW + timedelta(minutes=9, seconds=-30)
        signer.sign_artifact(MESSAGE)
        assert services.asked.count("ca") == 1
        clock.now += timedelta(seconds=1)
        signer.sign_artifact(MESSAGE)
        assert services.asked.count("ca") == 2

    def test_a_token_that_the_authority_could_not_accept_is_not_sent(self, services, make):
        token = msgspec.structs.replace(TOKEN, unverified_audiences=("other",))
        error = refused("wrong_audience", lambda: make(token=token).sign_artifact(MESSAGE))
        assert isinstance(error, Unauthenticated)
        assert services.asked == []

    def test_one_that_is_not_for_signing_is_the_fault_of_the_authority(self, services, make):
        services.certificate = {"names": (), "subject": x509.Name([])}
        error = refused("malformed_answer", lambda: make().sign_artifact(MESSAGE))
        assert "issued no signing certificate" in error.message

    def test_the_key_is_forgotten(self, make):
        signer = make()
        signer.sign_artifact(MESSAGE)
        assert "PrivateKey" in repr(vars(signer))
        signer.close()
        assert "PrivateKey" not in repr(vars(signer))


class TestLies:
    def test_what_does_not_verify_is_not_logged(self, services, make):
        services.certificate = LYING
        error = refused("unverifiable_answer", lambda: make().sign_artifact(MESSAGE))
        assert "log entry" not in error.message
        assert services.asked == ["ca", "tsa"]

    def test_an_entry_that_does_not_verify_is_named(self, services, make):
        services.replaced["log"] = lambda _asked: Reply(201, v2_entry(other_body(services)).to_json())
        error = refused("unverifiable_answer", lambda: make().sign_artifact(MESSAGE))
        assert error.message.endswith("; log entry 3 of 127.0.0.1 was made")

    def test_one_entry_from_two_logs_is_their_fault_and_named(self, services, make):
        first = []

        def same(asked: Asked) -> Reply:
            first.append(services.log(asked._replace(path="/log")))
            return first[0]

        services.replaced |= {"log": same, "log2": same}
        error = refused("unverifiable_answer", lambda: make(logs=("log", "log2")).sign_artifact(MESSAGE))
        assert isinstance(error, RemoteError)
        assert "the same log entry twice; log entry 3 of 127.0.0.1" in error.message

    def test_where_no_log_made_an_entry_none_is_named(self, services, make):
        services.replaced["log"] = refusing("not today")
        error = refused("request_refused", lambda: make().sign_artifact(MESSAGE))
        assert error.message.endswith("answered 403: not today")

    def test_where_logs_fail_the_first_says_why_and_the_entries_of_others_are_named(self, services, make):
        services.replaced |= {"log2": refusing("first"), "log3": refusing("second")}
        signer = make(logs=("log", "log2", "log3"))
        error = refused("request_refused", lambda: signer.sign_artifact(MESSAGE))
        assert error.message.endswith("answered 403: first; log entry 3 of 127.0.0.1 was made")

    @pytest.mark.parametrize(
        ("behind", "hint"), [(299, "trusted root"), (300, "trusted root"), (301, "clock")]
    )
    def test_a_clock_that_is_five_minutes_behind_may_be_why(self, services, make, clock, behind, hint):
        services.certificate = LYING
        clock.now = NOW - timedelta(minutes=1, seconds=behind)
        error = refused("unverifiable_answer", lambda: make().sign_artifact(MESSAGE))
        assert hint in error.hint


def refusing(why: str):
    return lambda _asked: Reply(403, json.dumps({"message": why}).encode())


def other_body(services: LocalServices) -> bytes:
    (entry,) = services.world.bundle(b"another").tlog_entries
    return entry.canonicalized_body


def test_an_entry_without_a_checkpoint_is_named_by_the_id_of_its_log(world):
    (entry,) = world.bundle().tlog_entries
    nameless = msgspec.structs.replace(
        entry, inclusion_proof=msgspec.structs.replace(entry.inclusion_proof, checkpoint=b"\n5\n")
    )
    unproved = msgspec.structs.replace(entry, inclusion_promise=b"promised", inclusion_proof=None)
    failure = RemoteError("it failed", code="c", hint="h")
    named = f"the log {entry.log_id.hex()[:16]}"
    for made in (nameless, unproved):
        told = logged_error(failure, (entry, made))
        assert told.message == f"it failed; log entry 3 of 127.0.0.1, 3 of {named} was made"
        assert (type(told), told.code, told.hint) == (RemoteError, "c", "h")
    assert logged_error(failure, ()) is failure


class TestWitnesses:
    def cosigned(self, services: LocalServices, asked: Asked) -> Reply:
        """Answer as the log does, with the cosignature of a witness."""
        entry = msgspec.json.decode(services.log(asked).body)
        proof = entry["inclusionProof"]
        note = parse_note(proof["checkpoint"]["envelope"].encode())
        line = cosign(parse_checkpoint(note.text), cosigner_vkey("w.example", WITNESS), WITNESS, 1)
        proof["checkpoint"]["envelope"] = Note(note.text, (*note.signatures, line)).to_bytes().decode()
        return Reply(201, msgspec.json.encode(entry))

    @pytest.mark.parametrize("all_of_them", [True, False])
    def test_the_entries_of_all_logs_must_be_witnessed(self, services, make, all_of_them):
        for log in ("log", "log2") if all_of_them else ("log2",):
            services.replaced[log] = lambda asked: self.cosigned(services, asked)
        signer = make(logs=("log", "log2"), witnesses=WitnessWait(0.0))
        assert signer.sign_artifact(MESSAGE).witnessed is all_of_them

    def test_nobody_is_asked_to_witness_where_it_was_not_wanted(self, services, make):
        services.replaced["log"] = lambda asked: self.cosigned(services, asked)
        assert not make().sign_artifact(MESSAGE).witnessed

    def test_a_cosignature_is_waited_for(self, services, make):
        kept = []

        def answer(asked: Asked) -> Reply:
            if asked.method == "GET":
                return Reply(200, kept[0].body)
            kept.append(self.cosigned(services, asked))
            return services.log(asked)

        services.replaced["log"] = answer
        assert make(witnesses=WitnessWait(60.0)).sign_artifact(MESSAGE).witnessed
        assert services.asked == ["ca", "tsa", "log", "log"]

    def test_a_log_that_knows_no_witnesses_is_not_waited_for(self, services, make):
        signer = make(logs=("v1",), times=(), version=1, witnesses=WitnessWait(60.0))
        assert not signer.sign_artifact(MESSAGE).witnessed
        assert services.asked == ["ca", "v1"]


def test_an_end_waits_for_no_service_and_begins_nothing_more(services, make):
    """Sixteen at once are asked; the seventeenth would be when one of them has answered."""
    answered, may_answer, all_asked = [], threading.Event(), threading.Semaphore(0)

    def hang(asked: Asked) -> Reply:
        all_asked.release()
        may_answer.wait(20)
        answered.append(asked)
        return Reply(503)

    names = tuple(f"tsa{number}" for number in range(17))
    services.replaced |= dict.fromkeys(names, hang)
    signer = make(times=names)
    ended = []

    def sign() -> None:
        try:
            signer.sign_digest(SHA2_256.digest(MESSAGE))
        except BaseException as error:  # noqa: BLE001 - whatever ends it
            ended.append(error)

    thread = threading.Thread(target=sign)
    thread.start()
    for _ in range(16):
        assert all_asked.acquire(timeout=20)
    signer.close()
    assert answered == []
    may_answer.set()
    thread.join()
    assert ended
    signer._threads.shutdown()  # whatever was begun after all would have been asked by then
    assert sorted(set(services.asked)) == sorted({"ca", *names[:16]})


FROZEN = Reply(405, b"This log has been frozen, please switch to the latest log.\n")


class TestFrozenLog:
    def test_newer_trust_material_names_the_log_to_use(self, services, make):
        services.replaced["log"] = lambda _: FROZEN
        asked = []

        def renew():
            asked.append("renew")
            return services.trust(logs=("log3",))

        signer = make(renew=renew)
        for _ in range(2):
            assert signer.sign_artifact(MESSAGE).verified.identity == EMAIL
        assert services.asked == ["ca", "tsa", "log", "tsa", "log3", "tsa", "log3"]
        assert asked == ["renew"]

    def test_an_entry_in_another_log_is_not_made_twice(self, services, make):
        services.replaced["log2"] = lambda _: FROZEN
        signer = make(logs=("log", "log2"), renew=lambda: services.trust(logs=("log3",)))
        assert "log entry" in refused("log_frozen", lambda: signer.sign_artifact(MESSAGE)).message
        assert "log3" not in services.asked

    def test_material_that_names_the_same_log_is_asked_for_once(self, services, make):
        services.replaced["log"] = lambda _: FROZEN
        asked = []

        def renew():
            asked.append("renew")
            return services.trust()

        signer = make(renew=renew)
        for _ in range(2):
            refused("log_frozen", lambda: signer.sign_artifact(MESSAGE))
        assert asked == ["renew"]

    def test_another_refusal_of_that_status_is_not_taken_for_it(self, services, make):
        services.replaced["log"] = lambda _: Reply(405, b"Method Not Allowed")
        refused("request_refused", lambda: make(renew=services.trust).sign_artifact(MESSAGE))


def test_a_closed_signer_asks_for_nothing(services, make):
    signer = make()
    signer.close()
    refused("signer_closed", lambda: signer.sign_artifact(MESSAGE))
    refused("signer_closed", lambda: signer.sign_statement(json.dumps(a_statement()).encode()))
    assert services.asked == []
