"""A publisher checks what it is about to publish: nothing that does not fit the signed head is shown."""

import msgspec
import pytest
from tests.support.small_log import SmallLog

from hallmark.adapters.storage.memory import MemoryHeadStore, MemoryObjectStore
from hallmark.errors import InvalidProof, InvalidSignature, NotFound, TrustError
from hallmark.tiledlog.log import end_log
from hallmark.tiledlog.partials import BYTES_PER_SECOND
from hallmark.tiledlog.publisher import Publisher
from hallmark.tiledlog.records import TLOG_TILES
from hallmark.tiledlog.witnessing import Cosigned


@pytest.fixture
def log():
    made = SmallLog(MemoryHeadStore(), MemoryObjectStore()).create()
    made.append(b"one", b"two", b"three")
    return made


def test_entries_that_do_not_lead_to_the_signed_root_are_not_published(log):
    (right,) = log.store._staged
    log.store._staged = (msgspec.structs.replace(right, root=bytes(32)),)
    with pytest.raises(InvalidProof) as caught:
        log.publisher.publish()
    assert caught.value.code == "damaged_log"
    with pytest.raises(NotFound):
        log.objects.get("checkpoint")
    log.store._staged = (right,)
    log.publisher.publish()
    assert log.signer.verify(log.objects.get("checkpoint")).size == 3


def test_a_checkpoint_of_another_key_is_neither_replaced_nor_started_from(log):
    foreign = SmallLog(MemoryHeadStore(), MemoryObjectStore()).signer.sign(1, bytes(32), 0)
    log.objects.replace("checkpoint", foreign)
    for act in (log.publisher.publish, log.publisher.recover):
        with pytest.raises(InvalidSignature):
            act()
        assert log.objects.get("checkpoint") == foreign


@pytest.mark.parametrize("size", [3, 4])
def test_a_log_starts_from_a_checkpoint_of_its_own_size_and_none_beyond(log, size):
    head = log.store.head()
    root = head.root if size == 3 else bytes(32)
    log.objects.replace("checkpoint", log.signer.sign(size, root, head.time))
    if size == 3:
        log.publisher.recover()
        log.check([b"one", b"two", b"three"])
    else:
        with pytest.raises(TrustError) as caught:
            log.publisher.recover()
        assert caught.value.code == "log_behind_its_checkpoint"


def test_a_log_starts_from_the_checkpoint_of_an_empty_tree():
    log = SmallLog(MemoryHeadStore(), MemoryObjectStore()).create()
    log.publisher.recover()
    assert log.signer.verify(log.objects.get("checkpoint")).size == 0
    log.append(b"one")
    log.publisher.recover()
    log.check([b"one"])


def test_an_older_copy_is_called_one_where_its_files_are_gone_too(log):
    """The files of its size were collected when the log went on: that is no loss to be made good alone."""
    log.publisher.publish()
    head = log.store.head()
    log.objects.replace("checkpoint", log.signer.sign(4, bytes(32), head.time))
    log.objects.delete_folder("tile/entries/000.p")
    with pytest.raises(TrustError) as caught:
        log.publisher.recover()
    assert caught.value.code == "log_behind_its_checkpoint"


@pytest.mark.parametrize(("size", "code"), [(3, "log_inconsistent"), (4, "log_behind_its_checkpoint")])
def test_a_checkpoint_that_stands_elsewhere_is_of_this_log_and_no_newer(log, size, code):
    head = log.store.head()
    log.publisher.check_signed(head.checkpoint, "stands elsewhere")
    with pytest.raises(TrustError, match="stands elsewhere") as caught:
        log.publisher.check_signed(log.signer.sign(size, bytes(32), head.time), "stands elsewhere")
    assert caught.value.code == code


class Cosigning:
    """Witnesses that let a note stand, and show another."""

    def __init__(self, *ahead: bytes, quorum: bool = True) -> None:
        self.ahead, self.quorum = ahead, quorum
        self.asked = 0

    def cosign(self, note, _stated, _published, _prove):
        self.asked += 1
        return Cosigned(note, quorum=self.quorum, ahead=self.ahead)


def published_by(log: SmallLog, cosigner: Cosigning, objects=None) -> Publisher:
    return Publisher(log.store, objects or log.objects, log.signer, TLOG_TILES, cosigner=cosigner)


def test_a_log_stops_where_a_witness_proves_that_it_is_an_older_copy(log):
    newer = log.signer.sign(4, bytes(32), log.now)
    with pytest.raises(TrustError) as caught:
        published_by(log, Cosigning(newer)).publish()
    assert caught.value.code == "log_behind_its_checkpoint"
    with pytest.raises(NotFound):
        log.objects.get("checkpoint")
    end_log(log.store)  # it signs nothing more, and may stay behind
    published_by(log, Cosigning(newer)).publish()
    assert log.signer.verify(log.objects.get("checkpoint")).size == 3


def test_a_log_goes_on_where_a_witness_proves_nothing_and_says_so(log, caplog):
    published_by(log, Cosigning(b"what")).publish()
    assert log.signer.verify(log.objects.get("checkpoint")).size == 3
    assert "cannot prove it" in caplog.text


class Counted:
    """Objects of which it is noted how often the checkpoint is read and written."""

    def __init__(self, objects: MemoryObjectStore) -> None:
        self._objects = objects
        self.calls: list[str] = []

    def __getattr__(self, name):
        method = getattr(self._objects, name)

        def noted(*arguments):
            if arguments[:1] == ("checkpoint",):
                self.calls.append(name)
            return method(*arguments)

        return noted


def test_a_log_at_rest_costs_nothing(log):
    objects = Counted(log.objects)
    publisher = Publisher(log.store, objects, log.signer, TLOG_TILES)
    publisher.publish()
    objects.calls.clear()
    publisher.publish()
    assert objects.calls == []


def test_witnesses_are_asked_until_there_is_a_quorum_and_the_same_note_is_written_once(log):
    objects, cosigner = Counted(log.objects), Cosigning(quorum=False)
    publisher = published_by(log, cosigner, objects)
    for _ in range(3):
        publisher.publish()
    assert (cosigner.asked, objects.calls.count("replace")) == (3, 1)
    cosigner.quorum = True
    for _ in range(3):
        publisher.publish()
    assert cosigner.asked == 4


@pytest.mark.parametrize(
    ("entries", "cosigner", "waits"),
    [(1, None, False), (4, None, True), (256, None, False), (4, Cosigning(), False)],
)
def test_the_pass_after_a_large_partial_bundle_waits_in_proportion(entries, cosigner, waits):
    log, now = SmallLog(MemoryHeadStore(), MemoryObjectStore()).create(), [0.0]
    publisher = Publisher(
        log.store, log.objects, log.signer, TLOG_TILES, cosigner=cosigner, clock=lambda: now[0]
    )
    log.append(*(bytes([number]) * 30_000 for number in range(entries)))
    publisher.publish()
    log.append(b"next")
    publisher.publish()
    size = log.signer.verify(log.objects.get("checkpoint")).size
    assert size == (entries if waits else entries + 1)
    now[0] = entries * 30_002 / BYTES_PER_SECOND
    publisher.publish()
    assert log.signer.verify(log.objects.get("checkpoint")).size == entries + 1


def test_who_cannot_wait_publishes_at_once():
    log = SmallLog(MemoryHeadStore(), MemoryObjectStore()).create()
    publisher = Publisher(log.store, log.objects, log.signer, TLOG_TILES, clock=lambda: 0.0)
    log.append(*(bytes([number]) * 30_000 for number in range(4)))
    publisher.publish()
    for leaf, act in ((b"5", lambda: publisher.publish(at_once=True)), (b"6", publisher.recover)):
        log.append(leaf)
        act()
        assert log.signer.verify(log.objects.get("checkpoint")).size == int(leaf)


def test_what_a_crash_left_unfinished_is_discarded_at_a_start(log):
    class Noting(MemoryObjectStore):
        discarded = False

        def discard_unfinished(self):
            self.discarded = True

    objects = Noting()
    Publisher(log.store, objects, log.signer, TLOG_TILES).recover()
    assert objects.discarded
