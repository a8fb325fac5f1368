"""Asking several witnesses at once: how long a round takes, who is asked, and what the operator is told."""

import threading
import time
from collections.abc import Callable

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tests.support.loopback import Asked, LoopbackServer, Reply

from hallmark.core.checkpoint import Checkpoint
from hallmark.core.cosignature import cosign, cosigner_vkey
from hallmark.core.note import Note, NoteSignature, parse_note
from hallmark.core.witness_policy import parse_witness_policy
from hallmark.errors import ConfigurationError
from hallmark.tiledlog.witnessing import Cosigned
from hallmark.witness.client import Sighting
from hallmark.witness.config import AskingConfig, WitnessMode
from hallmark.witness.gathering import Witnesses
from hallmark.witness.requests import SIZE_TYPE

STATED = Checkpoint("log.example", 5, bytes(32))
NOTE = Note(STATED.to_text(), (NoteSignature("log.example", b"abcd", b"signature"),))
LONG = 60.0
"""Seconds of a round that a test would be seen to wait for."""


class Asking:
    """Witnesses w0, w1, w2 of which two are enough; `now` is the clock of their pauses and reminders."""

    def __init__(self) -> None:
        self.keys = [Ed25519PrivateKey.generate() for _ in range(3)]
        self.vkeys = [cosigner_vkey(f"w.example/{n}", key) for n, key in enumerate(self.keys)]
        self.handlers: list[Callable[[Asked], Reply]] = [self.signing(n) for n in range(3)]
        self.servers = [LoopbackServer(self._dispatch(n)) for n in range(3)]
        for server in self.servers:
            server.__enter__()
        self.now = 1000.0
        self.proved: list[int] = []
        self.hanging = threading.Event()
        self.start()

    def start(self, mode: WitnessMode = WitnessMode.STRICT, config: AskingConfig | None = None) -> None:
        keys = zip(self.vkeys, self.servers, strict=True)
        lines = [f"witness w{n} {vkey.to_text()} {server.url}" for n, (vkey, server) in enumerate(keys)]
        policy = parse_witness_policy("\n".join([*lines, "group g 2 w0 w1 w2", "quorum g"]).encode())
        self.witnesses = Witnesses(policy, mode, config or AskingConfig(round_seconds=LONG), self._monotonic)

    def close(self) -> None:
        self.hanging.set()
        for server in self.servers:
            server.__exit__()

    def _monotonic(self) -> float:
        return self.now

    def _dispatch(self, number: int) -> Callable[[Asked], Reply]:
        return lambda asked: Reply(404) if asked.method == "GET" else self.handlers[number](asked)

    def line(self, number: int) -> NoteSignature:
        return cosign(STATED, self.vkeys[number], self.keys[number], 1)

    def signing(self, number: int, after: float = 0.0) -> Callable[[Asked], Reply]:
        def sign(_asked: Asked) -> Reply:
            time.sleep(after)
            return Reply(200, self.line(number).to_text().encode())

        return sign

    def hangs(self, number: int) -> None:
        def hang(_asked: Asked) -> Reply:
            self.hanging.wait(LONG)
            return Reply(503)

        self.handlers[number] = hang

    def refuses(self, *numbers: int, status: int = 503) -> None:
        for number in numbers:
            self.handlers[number] = lambda _asked: Reply(status)

    def signs_again(self) -> None:
        self.handlers = [self.signing(n) for n in range(3)]

    def cosign(self, published: bytes = b""):
        return self.witnesses.cosign(NOTE.to_bytes(), STATED, published, self._prove)

    def _prove(self, old: int) -> list[bytes]:
        self.proved.append(old)
        return []

    def signers(self, published: bytes = b"") -> list[str]:
        """Cosign in less than a round; returns who did, nobody where there was no quorum."""
        started = time.monotonic()
        note = self.cosign(published).note
        assert time.monotonic() - started < LONG / 2
        return [] if note is None else [line.name[-1] for line in parse_note(note).signatures[1:]]

    def asked(self) -> list[int]:
        return [len(server.asked) for server in self.servers]


@pytest.fixture
def asking():
    made = Asking()
    yield made
    made.close()


@pytest.fixture
def told(caplog):
    """What the operator has been told since the last look, by level."""
    caplog.set_level("INFO", "hallmark.witness")

    def look() -> list[tuple[str, str]]:
        found = [(record.levelname, record.getMessage()) for record in caplog.records]
        caplog.clear()
        return found

    return look


def test_a_round_ends_when_all_have_answered(asking):
    assert asking.signers() == ["0", "1", "2"]
    asking.start()
    asking.refuses(0, 1, 2)
    assert asking.cosign() == Cosigned(None, quorum=False)


def test_a_round_ends_soon_after_there_are_enough(asking):
    asking.hangs(1)
    assert asking.signers() == ["0", "2"]


@pytest.mark.parametrize("others", ["sign", "refuse"])
def test_a_round_waits_for_a_slow_witness_that_is_needed(asking, others):
    asking.handlers[1] = asking.signing(1, after=1.0)
    asking.handlers[2] = asking.signing(2, after=1.0)
    if others == "refuse":
        asking.refuses(2)
    assert {"0", "1"} <= set(asking.signers())


def test_a_witness_that_hangs_is_not_asked_twice_at_once_and_keeps_no_process_alive(asking):
    asking.hangs(1)
    for _ in range(2):
        assert asking.signers() == ["0", "2"]
    assert asking.asked()[1] == 1
    asking_now = [thread for thread in threading.enumerate() if thread.name == "witness"]
    assert asking_now
    assert all(thread.daemon for thread in asking_now)


def test_a_witness_that_failed_is_left_alone_for_its_pause(asking):
    asking.refuses(1)
    for _ in range(2):
        assert asking.signers() == ["0", "2"]
    assert asking.asked() == [2, 1, 2]
    asking.now += 5
    asking.signers()
    assert asking.asked() == [3, 2, 3]


def test_who_has_signed_what_is_published_is_not_asked_again(asking):
    published = Note(NOTE.text, (*NOTE.signatures, asking.line(0))).to_bytes()
    assert asking.signers(published) == ["0", "1", "2"]
    assert asking.asked() == [0, 1, 1]
    complete = Note(NOTE.text, (*NOTE.signatures, asking.line(0), asking.line(2))).to_bytes()
    assert asking.signers(complete) == ["0", "2"]
    assert asking.asked() == [0, 1, 1]


def test_what_was_signed_of_another_checkpoint_does_not_count(asking):
    other = Checkpoint(STATED.origin, STATED.size - 1, STATED.root)
    published = Note(other.to_text(), (*NOTE.signatures, asking.line(0), asking.line(1))).to_bytes()
    assert asking.signers(published) == ["0", "1", "2"]
    assert asking.asked() == [1, 1, 1]


def test_witnesses_at_the_same_size_need_one_proof(asking):
    for number in range(3):
        steps = iter([Reply(409, b"3\n", {"Content-Type": SIZE_TYPE})])
        asking.handlers[number] = lambda asked, steps=steps, n=number: next(steps, asking.signing(n)(asked))
    assert asking.signers() == ["0", "1", "2"]
    assert asking.proved == [3]


def test_rounds_are_bounded_where_nobody_says_how_long_they_may_take(asking):
    asking.witnesses = Witnesses(asking.witnesses._policy, WitnessMode.STRICT)
    asking.hangs(0)
    assert asking.signers() == ["1", "2"]
    asking.hangs(1)
    assert asking.signers() == []


def test_a_round_in_which_all_sign_is_not_worth_a_word(asking, told):
    for _ in range(2):
        asking.signers()
    assert told() == []


def test_the_operator_is_told_once_which_witness_fails_and_when_it_is_back(asking, told):
    asking.refuses(1)
    asking.signers()
    assert told() == [("WARNING", "witness w1 did not cosign: it answered 503: ")]
    asking.now += 10
    asking.signers()
    assert told() == []
    asking.refuses(1, status=500)
    asking.now += 10
    asking.signers()
    assert told() == [("WARNING", "witness w1 did not cosign: it answered 500: ")]
    asking.signs_again()
    asking.now += 10
    asking.signers()
    assert told() == [("INFO", "witness w1 cosigns again")]


def test_a_missing_quorum_is_told_at_once_and_once_a_minute_until_it_is_back(asking, told):
    def errors() -> list[str]:
        asking.cosign()
        return [text for level, text in told() if level == "ERROR" or "quorum" in text]

    asking.refuses(0, 2)
    (first,) = errors()
    assert "is NOT published" in first
    assert "not signed by w0, w2" in first
    asking.now += 59.999
    assert errors() == []
    asking.now = 1060.0
    assert errors() == [first]
    asking.now = 1100.0
    assert errors() == []
    asking.signs_again()
    asking.now = 1105.5
    (back,) = errors()
    assert back.endswith("has its quorum, after 105.5 s without")
    assert errors() == []
    asking.refuses(0, 2)
    asking.now += 6
    assert errors() == [first]


def test_a_quorum_that_cannot_be_asked_is_refused_at_once(asking):
    policy = asking.witnesses._policy
    unreachable = tuple(msgspec.structs.replace(item, url="") for item in policy.witnesses[:2])
    with pytest.raises(ConfigurationError) as refused:
        Witnesses(
            msgspec.structs.replace(policy, witnesses=(*unreachable, policy.witnesses[2])), WitnessMode.STRICT
        )
    assert refused.value.code == "unreachable_quorum"


def test_without_a_quorum_fail_open_publishes_what_there_is(asking, told):
    asking.start(WitnessMode.FAIL_OPEN)
    asking.refuses(0, 2)
    assert asking.signers() == ["1"]
    assert "is published without a quorum" in told()[-1][1]


def test_all_are_asked_what_they_have_seen_and_who_does_not_tell_is_left_out(asking, told):
    asking.handlers[0] = lambda asked: Reply(404)
    asking.refuses(1)
    seen = asking.witnesses.look(NOTE.to_bytes(), STATED)
    assert seen["w0"] == Sighting("w0", 0)
    assert seen.keys() == {"w0", "w2"}
    ((level, text),) = told()
    assert level == "WARNING"
    assert text.startswith("witness w1 does not say what it has seen: ")


def test_a_policy_that_asks_nobody_has_seen_nothing():
    witnesses = Witnesses(parse_witness_policy(b"quorum none\n"), WitnessMode.STRICT)
    assert witnesses.look(NOTE.to_bytes(), STATED) == {}
    assert witnesses.cosign(NOTE.to_bytes(), STATED, b"", lambda _old: []).quorum
