"""One commit, as a function: a head and the entries that wait become a new head and their answers.

Architecture: docs/design/log-engine.md, steps 3 to 6. Nothing here reads a tile, a clock or a disk.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from hallmark.core.merkle import Growth, Subtree, leaf_hash, root_of_edge, verify_inclusion
from hallmark.core.tiles import bundle_record
from hallmark.errors import HallmarkError, InvalidProof
from hallmark.ports import Appended, CheckpointSigner, Finalize, Finalized, LogHead, Place, StagedCommit

CLOCK_STEP: Final = 1  # milliseconds; every commit is later than the one before, even when the clock is not


class Waiting(msgspec.Struct, frozen=True):
    """An entry that waits to be committed."""

    dedup_key: bytes
    finalize: Finalize


class Commit(msgspec.Struct, frozen=True):
    """What to write, and what to tell each waiting caller afterwards, in their order.

    `staged` is None where no entry was new: then there is nothing to write.
    """

    staged: StagedCommit | None
    edge: tuple[bytes, ...]
    keys: tuple[tuple[bytes, int], ...]
    answers: tuple[Appended | HallmarkError, ...]


class _Batch:
    """The new leaves of a commit while it is built."""

    def __init__(self, head: LogHead, time: int) -> None:
        self.growth = Growth(head.size, head.edge)
        self.time = time
        self.hashes: list[bytes] = []
        self.records: list[bytes] = []
        self.leaves: list[bytes] = []
        self.keys: dict[bytes, int] = {}

    def add(self, entry: Waiting) -> Place:
        """Give the entry its index and append its leaf."""
        index = self.growth.size
        finalized = entry.finalize(index, self.time)
        hashed = leaf_hash(finalized.leaf)
        self.growth.append(hashed)
        self.hashes.append(hashed)
        self.records.append(finalized.record)
        self.leaves.append(finalized.leaf)
        self.keys[entry.dedup_key] = index
        return Place(index, self.time)


def build_commit(
    head: LogHead,
    waiting: Sequence[Waiting],
    known: Mapping[bytes, Place],
    *,
    now: int,
    signer: CheckpointSigner,
) -> Commit:
    """Build the commit that appends every waiting entry which is not `known`; `now` in milliseconds.

    An entry whose `finalize` raises a `HallmarkError` is answered with it and takes no index. Signature and
    proofs are checked before anything is written; raises `InvalidProof` where one does not hold, which
    means that the head is damaged.
    """
    if root_of_edge(head.edge) != head.root:
        raise InvalidProof("the right edge of the log does not lead to its root hash", code="damaged_log")
    batch = _Batch(head, max(now, head.time + CLOCK_STEP))
    places = [_place(entry, batch, known) for entry in waiting]
    if not batch.hashes:
        return Commit(None, head.edge, (), tuple(_answer_known(place) for place in places))
    staged = _stage(head, batch, signer)
    answers = _Answers(head.size, batch, staged)
    return Commit(
        staged,
        batch.growth.edge(),
        tuple(batch.keys.items()),
        tuple(answers.answer(place) for place in places),
    )


def _place(entry: Waiting, batch: _Batch, known: Mapping[bytes, Place]) -> tuple[Place, bool] | HallmarkError:
    """Find or make the entry's place; the bool says that it is a duplicate."""
    if (place := known.get(entry.dedup_key)) is not None:
        return place, True
    if (index := batch.keys.get(entry.dedup_key)) is not None:
        return Place(index, batch.time), True
    try:
        return batch.add(entry), False
    except HallmarkError as error:
        return error


def _stage(head: LogHead, batch: _Batch, signer: CheckpointSigner) -> StagedCommit:
    size, root = batch.growth.size, batch.growth.root()
    note = signer.sign(size, root, batch.time)
    stated = signer.verify(note)
    if (stated.size, stated.root) != (size, root):
        raise InvalidProof("the new checkpoint does not state the new tree", code="damaged_log")
    return StagedCommit(
        start=head.size,
        end=size,
        time=batch.time,
        hashes=b"".join(batch.hashes),
        records=b"".join(batch.records),
        root=root,
        checkpoint=note,
    )


class _Answers:
    """Builds the answers of a commit, each proof checked against the root that the checkpoint states.

    A proof holds where the leaf's within its subtree does, and the subtree's within the tree. The second is
    the longer one in a large log, and the same for all answers, or for two halves of them.
    """

    def __init__(self, start: int, batch: _Batch, staged: StagedCommit) -> None:
        self._start = start
        self._batch = batch
        self._staged = staged
        self._proofs = batch.growth.proofs()
        self._proved: list[Subtree] = []

    def answer(self, place: tuple[Place, bool] | HallmarkError) -> Appended | HallmarkError:
        """Answer one waiting caller."""
        if isinstance(place, HallmarkError) or place[1]:
            return _answer_known(place)
        index, staged = place[0].index, self._staged
        within, subtree = self._proofs.within(index), self._subtree(index)
        hashed = self._batch.hashes[index - self._start]
        verify_inclusion(hashed, index - subtree.start, subtree.width, within, subtree.root)
        return Appended(
            index=index,
            time=staged.time,
            duplicate=False,
            leaf=self._batch.leaves[index - self._start],
            tree_size=staged.end,
            root=staged.root,
            proof=(*within, *subtree.path),
            checkpoint=staged.checkpoint,
        )

    def _subtree(self, index: int) -> Subtree:
        """The subtree of a leaf, proved once for all of its leaves."""
        subtree = self._proofs.subtree(index)
        if subtree not in self._proved:
            verify_inclusion(subtree.root, subtree.index, subtree.count, subtree.path, self._staged.root)
            self._proved.append(subtree)
        return subtree


def _answer_known(place: tuple[Place, bool] | HallmarkError) -> Appended | HallmarkError:
    if isinstance(place, HallmarkError):
        return place
    return Appended(index=place[0].index, time=place[0].time, duplicate=True)


def fixed_leaf(leaf: bytes) -> Finalize:
    """Make the `finalize` of a leaf that depends on neither index nor time, stored as a tlog-tiles record.

    Raises `MalformedInput` at once for a leaf that no entry bundle can hold.
    """
    finalized = Finalized(leaf, bundle_record(leaf))
    return lambda _index, _time: finalized
