"""A log and its witnesses over real HTTP: quorums, time limits, split views, restarts, both modes."""

import time

import msgspec
import pytest
from tests.support.asgi_call import Answer
from tests.support.small_log import SmallLog
from tests.support.witnessed_log import Setting

from hallmark.adapters.storage.memory import MemoryHeadStore, MemoryObjectStore
from hallmark.core.merkle import leaf_hash, verify_inclusion
from hallmark.core.note import parse_note
from hallmark.core.vkey import ED25519_COSIGNATURE, ML_DSA_44_COSIGNATURE
from hallmark.errors import ConfigurationError, NotFound
from hallmark.witness.config import WitnessMode
from hallmark.witness.gathering import Witnesses
from hallmark.witness.requests import print_size


@pytest.fixture
def make(tmp_path):
    made = []

    def build(mode: WitnessMode = WitnessMode.STRICT, **options) -> Setting:
        made.append(Setting(tmp_path, mode, **options))
        return made[-1]

    yield build
    for setting in made:
        setting.close()


@pytest.mark.parametrize("signature_type", [ED25519_COSIGNATURE, ML_DSA_44_COSIGNATURE])
def test_a_growing_log_is_published_with_the_cosignatures_in_the_order_of_the_policy(make, signature_type):
    setting = make(signature_type=signature_type)
    for size in (1, 2, 300, 301):
        setting.log.append(*(b"%d" % n for n in range(size - setting.log.store.head().size)), b"%d!" % size)
        setting.publish()
        assert setting.published_size() == setting.log.store.head().size
        assert setting.signers() == ["w.example/0", "w.example/1", "w.example/2"]
        assert setting.reader.checkpoint() == setting.log.objects.get("checkpoint")
    assert [len(server.requests) for server in setting.servers] == [4, 4, 4]


def test_an_idle_log_asks_nobody(make):
    setting = make()
    setting.log.append(b"one")
    for _ in range(5):
        setting.publish()
    assert [len(server.requests) for server in setting.servers] == [1, 1, 1]


def test_one_witness_of_three_may_fail(make):
    setting = make()
    setting.unavailable(1)
    setting.log.append(b"one")
    setting.publish()
    assert setting.signers() == ["w.example/0", "w.example/2"]


def test_strict_without_a_quorum_the_entries_are_published_and_the_checkpoint_waits(make, caplog):
    setting = make()
    setting.log.append(b"one")
    setting.publish()
    setting.unavailable(0, 2)
    setting.log.append(b"two", b"three")
    setting.publish()
    assert setting.published_size() == 1
    assert setting.log.store.head().applied == 3
    assert setting.log.signer.verify(setting.reader.checkpoint()).size == 1
    assert "is NOT published" in caplog.text
    assert "not signed by w0, w2" in caplog.text
    setting.available()
    time.sleep(0.25)  # the longest pause
    setting.publish()
    assert setting.published_size() == 3
    assert setting.log.signer.verify(setting.reader.checkpoint()).size == 3


def test_strict_before_the_first_quorum_there_is_no_checkpoint_to_read(make):
    setting = make()
    setting.unavailable(0, 1, 2)
    setting.log.append(b"one")
    setting.publisher.recover()
    assert setting.published_size() == -1
    with pytest.raises(NotFound):
        setting.reader.checkpoint()
    assert setting.reader.entry(0).tree_size == 1


def test_fail_open_publishes_without_a_quorum_and_adds_the_cosignatures_later(make, caplog):
    setting = make(WitnessMode.FAIL_OPEN)
    setting.unavailable(0, 2)
    setting.log.append(b"one")
    setting.publish()
    assert setting.published_size() == 1
    assert setting.signers() == ["w.example/1"]
    assert setting.reader.checkpoint() == setting.log.store.head().checkpoint
    assert "without a quorum" in caplog.text
    setting.available()
    time.sleep(0.25)
    setting.publish()
    assert setting.signers() == ["w.example/0", "w.example/1", "w.example/2"]
    assert setting.reader.checkpoint() == setting.log.objects.get("checkpoint")


def test_fail_open_reads_show_the_newest_head_until_its_cosigned_checkpoint_is_there(make):
    setting = make(WitnessMode.FAIL_OPEN)
    setting.log.append(b"one")
    setting.publish()
    setting.log.append(b"two")
    assert setting.reader.checkpoint() == setting.log.store.head().checkpoint


def test_an_entry_is_proved_against_the_cosigned_checkpoint_once_one_covers_it(make):
    setting = make()
    setting.log.append(*(b"%d" % n for n in range(5)))
    setting.publish()
    setting.log.append(b"later", b"latest")
    covered, fresh = setting.reader.entry(3), setting.reader.entry(5)
    assert (covered.tree_size, covered.checkpoint) == (5, setting.log.objects.get("checkpoint"))
    assert (fresh.tree_size, fresh.checkpoint) == (7, setting.log.store.head().checkpoint)
    for entry in (covered, fresh):
        stated = setting.log.signer.verify(entry.checkpoint)
        verify_inclusion(leaf_hash(entry.leaf), entry.index, stated.size, entry.proof, stated.root)


def test_a_restart_keeps_the_cosigned_checkpoint_and_asks_nobody(make):
    setting = make()
    setting.log.append(b"one")
    setting.publish()
    before = setting.log.objects.get("checkpoint")
    setting.unavailable(0, 1, 2)
    asked = [len(server.requests) for server in setting.servers]
    setting.start()
    setting.publisher.recover()
    assert setting.log.objects.get("checkpoint") == before
    assert [len(server.requests) for server in setting.servers] == asked


def test_after_a_restart_the_sizes_of_the_witnesses_are_learnt_with_one_conflict(make):
    setting = make()
    setting.log.append(b"one")
    setting.publish()
    setting.start()
    setting.log.append(b"two")
    setting.publish()
    assert setting.published_size() == 2
    assert [len(server.requests) for server in setting.servers] == [3, 3, 3]


def test_a_witness_killed_after_it_remembered_signs_when_it_is_back(make):
    setting = make()
    setting.unavailable(2)
    witness = setting.witnesses[0]

    def lost(body: bytes) -> Answer:
        witness.post(body)
        witness.restart()
        return Answer(500, {"Content-Length": "0"}, b"")

    setting.log.append(b"one")
    setting.servers[0].handle = lost
    setting.publish()
    assert setting.published_size() == -1
    setting.servers[0].handle = witness.post
    time.sleep(0.25)
    setting.publish()
    assert setting.signers() == ["w.example/0", "w.example/1"]


def test_a_log_with_two_histories_gets_no_quorum_for_the_second(make, caplog):
    setting = make()
    setting.log.append(b"one", b"two")
    setting.publish()
    honest = setting.log
    setting.log = SmallLog(MemoryHeadStore(), MemoryObjectStore(), key=honest.key).create()
    setting.start()
    setting.log.append(b"other one", b"other two")
    setting.publish()
    assert setting.published_size() == -1
    assert "answered 409: another root hash of size 2 was cosigned" in caplog.text
    setting.log.append(b"three")
    setting.publish()
    assert setting.published_size() == -1


def test_a_log_that_went_back_is_told_so(make, caplog):
    setting = make()
    setting.log.append(b"one", b"two")
    setting.publish()
    setting.log = SmallLog(MemoryHeadStore(), MemoryObjectStore(), key=setting.log.key).create()
    setting.start()
    setting.log.append(b"one")
    for server in setting.servers:  # with the note that witnesses may show, the publisher would stop
        server.show = lambda _path: Answer(404, {"Content-Length": "0"}, b"")
    setting.publish()
    assert setting.published_size() == -1
    assert "has cosigned size 2" in caplog.text


def slow(seconds: float):
    def handle(_body: bytes) -> Answer:
        time.sleep(seconds)
        return Answer(503, {"Content-Length": "0"}, b"")

    return handle


def test_a_round_is_bounded_whatever_a_witness_does(make, caplog):
    setting = make()
    setting.servers[1].handle = slow(5)
    setting.log.append(b"one")
    started = time.monotonic()
    setting.publish()
    assert time.monotonic() - started < 5
    assert setting.signers() == ["w.example/0", "w.example/2"]
    assert "witness w1 did not cosign" in caplog.text
    setting.log.append(b"two")
    setting.publish()
    assert setting.published_size() == 2
    assert len(setting.servers[1].requests) <= 2


LIES = {
    "nothing": lambda _lines: b"",
    "no line": lambda _lines: b"thanks\n",
    "a line without its end": lambda lines: lines[:-1],
    "too much": lambda lines: lines * 500,
    "no UTF-8": lambda lines: b"\xff" + lines,
}


@pytest.mark.parametrize(
    "lie", [*LIES, "another witness", "an old cosignature", "a false one", "a nonsense size"]
)
def test_what_does_not_verify_is_not_published(make, lie):
    setting = make()
    setting.log.append(b"one")
    setting.publish()
    honest = setting.witnesses[1].post
    old = parse_note(setting.log.objects.get("checkpoint")).signatures[2]
    false = msgspec.structs.replace(old, signature=bytes(72))

    def handle(body: bytes) -> Answer:
        if lie == "a nonsense size":
            return Answer(409, {"Content-Type": "text/x.tlog.size", "Content-Length": "3"}, b"-1\n")
        if lie == "another witness":
            return setting.witnesses[0].post(body)
        answer = honest(body)
        lines = {"an old cosignature": old, "a false one": false}
        body = LIES[lie](answer.body) if lie in LIES else lines[lie].to_text().encode()
        return Answer(200, {"Content-Length": str(len(body))}, body)

    setting.servers[1].handle = handle
    setting.log.append(b"two")
    setting.publish()
    assert setting.published_size() == 2
    assert setting.signers() == ["w.example/0", "w.example/2"]


def test_a_witness_that_is_always_elsewhere_is_asked_twice_a_round(make):
    setting = make()
    setting.log.append(*(b"%d" % n for n in range(9)))
    sizes = iter(range(1, 9))

    def elsewhere(_body: bytes) -> Answer:
        body = print_size(next(sizes))
        return Answer(409, {"Content-Type": "text/x.tlog.size", "Content-Length": str(len(body))}, body)

    setting.servers[1].handle = elsewhere
    setting.publish()
    assert len(setting.servers[1].requests) == 2
    assert setting.signers() == ["w.example/0", "w.example/2"]


def test_a_witness_that_does_not_listen_costs_nothing(make):
    setting = make()
    setting.servers[1].close()
    setting.log.append(b"one")
    setting.publish()
    assert setting.signers() == ["w.example/0", "w.example/2"]


def test_power_loss_before_the_cosigned_checkpoint_needs_no_hand(make):
    setting = make()
    setting.log.append(b"one")
    setting.publish()
    setting.log.append(b"two")
    real = setting.log.objects.replace

    def cut(*_arguments):
        raise RuntimeError("power")

    setting.log.objects.replace = cut
    with pytest.raises(RuntimeError, match="power"):
        setting.publish()
    setting.log.objects.lose_power()
    setting.log.objects.replace = real
    setting.start()
    setting.publisher.recover()
    assert setting.published_size() == 2
    assert len(setting.signers()) == 3


def test_a_policy_whose_quorum_cannot_be_asked_is_refused(make):
    setting = make()
    unreachable = tuple(msgspec.structs.replace(item, url="") for item in setting.policy.witnesses[:2])
    policy = msgspec.structs.replace(setting.policy, witnesses=(*unreachable, setting.policy.witnesses[2]))
    with pytest.raises(ConfigurationError) as refused:
        Witnesses(policy, WitnessMode.STRICT)
    assert refused.value.code == "unreachable_quorum"
