"""Creating a log."""

from hallmark.core.merkle import EMPTY_ROOT
from hallmark.ports import CheckpointSigner, HeadStore, LogHead


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
