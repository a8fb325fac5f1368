"""The publisher: staged commits become tiles, entry bundles and the `checkpoint` object.

One process of an instance runs it. Recovery is nothing else than its ordinary pass: every step may be
repeated, because the same commits always give the same bytes. The order is what keeps a crash harmless:
tiles and bundles, made durable; then the checkpoint that covers them; only then are their staged commits
dropped; only then the partial tiles that a full one replaced.

Where witnesses must cosign and do not, the checkpoint alone stays behind: entries are published, their
staged commits dropped, and every later pass asks again for the newest head.
"""

import logging
import time
from collections.abc import Callable, Sequence
from typing import Final

from hallmark.core.checkpoint import Checkpoint
from hallmark.core.merkle import consistency_path, verify_consistency
from hallmark.core.tiles import TILE_WIDTH
from hallmark.errors import InvalidProof, MalformedInput, NotFound, TrustError, VerificationError
from hallmark.ports import CheckpointSigner, HeadStore, LogHead, ObjectStore, StagedCommit
from hallmark.tiledlog.objects import CHECKPOINT, PublishedTiles, tile_path, tile_reader
from hallmark.tiledlog.partials import (
    Pace,
    bound_partials,
    bundle_partial,
    changed_tiles,
    collect_partials,
    mend_partials,
)
from hallmark.tiledlog.presence import check_presence
from hallmark.tiledlog.records import RecordFormat
from hallmark.tiledlog.view import LogView
from hallmark.tiledlog.witnessing import Cosigned, Cosigner

logger = logging.getLogger("hallmark.tiledlog")

MAX_PASS_ENTRIES: Final = 8192
_STOP_HINT: Final = "do not go on with it; docs/operate/restore.md says how to bring back what is missing"
_FORK_HINT: Final = "do not go on with it; docs/operate/restore.md says how to go on after two histories"


class Publisher:
    """Publishes one log."""

    def __init__(
        self,
        store: HeadStore,
        objects: ObjectStore,
        signer: CheckpointSigner,
        records: RecordFormat,
        *,
        cosigner: Cosigner | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._objects = objects
        self._signer = signer
        self._format = records
        self._cosigner = cosigner
        self._published: bytes | None = None
        self._pace = Pace(clock, paced=cosigner is None)

    def recover(self) -> None:
        """Bring the published objects up to the head, whatever a crash left; raises `TrustError`.

        Refuses a log whose published checkpoint is ahead of its head or inconsistent with it: the database
        was restored from an older copy or damaged, and to go on would fork the log. Refuses one whose
        published entries are gone: they stand nowhere else.
        """
        self._objects.discard_unfinished()
        head = self._store.head()
        published = self._read_published()
        if published and (stated := self._signer.verify(published)).size > head.size:
            raise _behind(stated, head, "it has published")
        check_presence(self._objects, self._format, head, self._signer.origin)
        if published:
            self.check_signed(published, "it has published")
        self._mend_partials(head.applied)
        while self.publish(at_once=True):
            pass

    def publish(self, *, at_once: bool = False) -> bool:
        """Publish what was committed since the last pass, as far as one goes; say whether that left any.

        What is committed meanwhile waits for the next pass: under load a publisher that went on at once
        would write the right edge of the tree, and sync it, for every few entries. After a large partial
        bundle, which the next one repeats, that is some time later, unless it must be `at_once`.
        """
        if not at_once and self._pace.must_wait(self._store.head()):
            return False
        head, staged = self._store.snapshot(MAX_PASS_ENTRIES)
        if not staged:
            if head.checkpoint != self._published:
                self._write_checkpoint(self._view(head, ()))
            return False
        target = _head_after(head, staged)
        view = self._view(target, staged)
        self._write_tiles(view, head.applied)
        self._write_checkpoint(view)
        self._store.set_applied(target.size, view.edge)
        collect_partials(self._objects, self._format.folder, head.applied, target.size)
        partial = bundle_partial(target.size)
        if partial is not None:
            bound_partials(self._objects, self._format.folder, partial)
        return target.checkpoint != head.checkpoint

    def _view(self, target: LogHead, staged: Sequence[StagedCommit]) -> LogView:
        view = LogView(target, staged, self._tiles(), self._format)
        if view.root != target.root:
            raise InvalidProof("the staged entries do not lead to the log's root hash", code="damaged_log")
        return view

    def _tiles(self) -> PublishedTiles:
        return PublishedTiles(tile_reader(self._objects, self._format.folder), max_tiles=64)

    def _write_tiles(self, view: LogView, applied: int) -> None:
        partial_bytes = 0
        for tile in changed_tiles(applied, view.head.size):
            data = view.tile(tile)
            self._objects.put(tile_path(tile, self._format.folder), data)
            if tile.level is None and tile.width != TILE_WIDTH:
                partial_bytes = len(data)
        self._objects.sync()
        self._pace.wrote(partial_bytes)

    def _write_checkpoint(self, view: LogView) -> None:
        note = view.head.checkpoint
        stated, published = self._signer.verify(note), self._read_published()
        if published and self._signer.verify(published).size > stated.size:
            return  # another publisher was faster; a checkpoint never goes back
        cosigned = self._cosign(note, stated, published, view)
        for seen in cosigned.ahead:
            self._check_seen(seen)
        if cosigned.note is not None and cosigned.note != published:
            self._objects.replace(CHECKPOINT, cosigned.note)
        self._published = note if cosigned.quorum else None

    def _cosign(self, note: bytes, stated: Checkpoint, published: bytes, view: LogView) -> Cosigned:
        if self._cosigner is None:
            return Cosigned(note, quorum=True)

        def prove(old_size: int) -> list[bytes]:
            return [view.range_hash(*item) for item in consistency_path(old_size, stated.size)]

        return self._cosigner.cosign(note, stated, published, prove)

    def _check_seen(self, note: bytes) -> None:
        """Stop where a witness shows a checkpoint of this log that the log does not know.

        A frozen log signs nothing more: it ended at an older copy, and may stay behind what was seen.
        """
        if self._store.head().frozen:
            return
        try:
            self.check_signed(note, "a witness shows")
        except (VerificationError, MalformedInput):
            logger.error("a witness says that it is ahead of %s, and cannot prove it", self._signer.origin)

    def _mend_partials(self, applied: int) -> None:
        """Mend what the pass after the one of size `applied`, which was synced, may have left."""
        head, staged = self._store.snapshot()
        view = LogView(head, staged, self._tiles(), self._format)
        mend_partials(self._objects, self._format.folder, applied, head.size, view.tile)
        self._objects.sync()

    def _read_published(self) -> bytes:
        """Read the published checkpoint; empty where there is none yet."""
        try:
            return self._objects.get(CHECKPOINT)
        except NotFound:
            return b""

    def check_signed(self, note: bytes, where: str) -> None:
        """Check that this log is the one, and no older, that signed a checkpoint which stands elsewhere.

        `where` says in the error where it stands. Raises `TrustError` where the log must not go on, and
        `VerificationError` or `MalformedInput` for a note that is not this log's.
        """
        stated = self._signer.verify(note)
        head, staged = self._store.snapshot()
        if stated.size > head.size:
            raise _behind(stated, head, where)
        if stated.size == 0:
            return
        view = LogView(head, staged, self._tiles(), self._format)
        try:
            proof = [view.range_hash(*item) for item in consistency_path(stated.size, head.size)]
            verify_consistency(stated.size, stated.root, head.size, head.root, proof)
        except (InvalidProof, NotFound) as error:
            raise TrustError(
                f"the log {stated.origin} does not agree with a checkpoint of {stated.size} entries that "
                f"{where}: {error}",
                code="log_inconsistent",
                hint=_FORK_HINT,
            ) from error


def _behind(stated: Checkpoint, head: LogHead, where: str) -> TrustError:
    return TrustError(
        f"the log {stated.origin} has {head.size} entries here, but a checkpoint of {stated.size} entries "
        f"that {where} bears its signature: this is an older copy",
        code="log_behind_its_checkpoint",
        hint=_STOP_HINT,
    )


def _head_after(head: LogHead, staged: Sequence[StagedCommit]) -> LogHead:
    """The head as it was after the last of these commits."""
    last = staged[-1]
    return LogHead(
        size=last.end,
        root=last.root,
        time=last.time,
        edge=(),
        checkpoint=last.checkpoint,
        applied=head.applied,
        applied_edge=head.applied_edge,
    )
