"""Opens the logs of an instance: their databases, published objects, signers."""

from collections.abc import Callable
from typing import Final

import msgspec

from hallmark.adapters.keys.file import SoftwareKey, read_key
from hallmark.adapters.storage.filesystem import FileObjectStore
from hallmark.adapters.storage.sqlite import SqliteHeadStore
from hallmark.core.x509.tile_leaf import merkle_tree_leaf_of, split_tile_leaves
from hallmark.ctlog.signer import CtLogSigner
from hallmark.ports import CheckpointSigner, Clock
from hallmark.tiledlog.publisher import Publisher
from hallmark.tiledlog.reader import LogReader
from hallmark.tiledlog.records import RecordFormat
from hallmark.tiledlog.sequencer import CommitObserver, QueueLimits, Sequencer
from hallmark.tiledlog.witnessing import Cosigner, WitnessedCheckpoint
from hallmark.wiring.layout import InstanceFile, Layout

STATIC_CT: Final = RecordFormat("data", split_tile_leaves, merkle_tree_leaf_of, lambda record: record)


class OpenLog(msgspec.Struct, frozen=True):
    """A log that can be read, published and appended to by whoever opened it; `name` is its folder."""

    name: str
    layout: Layout
    signer: CheckpointSigner
    records: RecordFormat

    def store(self, *, new: bool = False) -> SqliteHeadStore:
        """Open the database once more: a connection belongs to one thread at a time."""
        return SqliteHeadStore(self.layout.database(self.name), new=new)

    def reader(self, witnessed: WitnessedCheckpoint | None = None) -> LogReader:
        """Open the reading side."""
        return LogReader(self.store(), self.objects(), self.records, witnessed=witnessed)

    def publisher(self, cosigner: Cosigner | None = None) -> tuple[Publisher, SqliteHeadStore]:
        """Open the publisher, and the database it uses."""
        store = self.store()
        return Publisher(store, self.objects(), self.signer, self.records, cosigner=cosigner), store

    def sequencer(
        self,
        clock: Clock,
        on_failure: Callable[[BaseException], None],
        observer: CommitObserver,
        limits: QueueLimits | None = None,
    ) -> Sequencer:
        """Open the writing side."""
        return Sequencer(
            self.store(), self.signer, clock, on_failure=on_failure, observer=observer, limits=limits
        )

    def objects(self) -> FileObjectStore:
        """Open the published objects."""
        return FileObjectStore(self.layout.public(self.name))


def open_ctlog(layout: Layout, instance: InstanceFile) -> tuple[OpenLog, SoftwareKey]:
    """Open the certificate transparency log, and the key that signs its SCTs too."""
    key = read_key(layout.key("ctlog"))
    return OpenLog("ctlog", layout, CtLogSigner(instance.ctlog_origin, key), STATIC_CT), key
