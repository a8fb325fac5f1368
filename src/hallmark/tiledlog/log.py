"""Creating a log, and freezing it."""

from datetime import datetime

from hallmark.core.merkle import EMPTY_ROOT
from hallmark.ports import CheckpointSigner, HeadStore, LogHead
from hallmark.tiledlog.commit import Waiting, build_commit
from hallmark.tiledlog.signer import NoteSigner


def create_log(store: HeadStore, signer: CheckpointSigner, *, time: int) -> None:
    """Create an empty log with a signed checkpoint of size 0; `time` in milliseconds.

    Raises `Conflict` where the store holds a log already.
    """
    checkpoint = signer.sign(0, EMPTY_ROOT, time)
    store.create(
        LogHead(
            size=0,
            root=EMPTY_ROOT,
            time=time,
            edge=(),
            checkpoint=checkpoint,
            applied=0,
            applied_edge=(),
        )
    )


def append_now(store: HeadStore, signer: CheckpointSigner, entry: Waiting, *, now: int) -> None:
    """Append one entry without a sequencer: the bootstrap entry of a new log; `now` in milliseconds."""
    with store.transaction() as transaction:
        head = transaction.head()
        commit = build_commit(head, [entry], transaction.find([entry.dedup_key]), now=now, signer=signer)
        if commit.staged is not None:
            transaction.commit(head, commit.staged, commit.edge, commit.keys)


def freeze_log(store: HeadStore, signer: NoteSigner, now: datetime) -> None:
    """Freeze a log for good: its last checkpoint says so in an extension line. A second time does nothing."""
    with store.transaction() as transaction:
        head = transaction.head()
        if not head.frozen:
            transaction.freeze(signer.sign_frozen(head.size, head.root, now))


def end_log(store: HeadStore) -> None:
    """Freeze a log that may have gone on elsewhere: it takes no more entries, and signs nothing more."""
    with store.transaction() as transaction:
        head = transaction.head()
        if not head.frozen:
            transaction.freeze(head.checkpoint)
