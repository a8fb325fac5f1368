"""A publisher checks what it is about to publish: nothing that does not fit the signed head is shown."""

import msgspec
import pytest
from tests.support.small_log import SmallLog

from hallmark.adapters.storage.memory import MemoryHeadStore, MemoryObjectStore
from hallmark.errors import InvalidProof, InvalidSignature, NotFound, TrustError


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
