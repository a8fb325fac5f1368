"""What an instance counts: the log's service, and the engine under every log."""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from importlib.metadata import version
from typing import Final

import msgspec

from hallmark.ports import HeadStore
from hallmark.tlog.metrics import FAMILIES as TLOG_FAMILIES
from hallmark.web.metrics import SECONDS, Family, Meter, Sample

_LOGS: Final = (("tlog",), ("ctlog",))
_COMMIT: Final = "hallmark_log_commit_seconds"
_BATCH: Final = "hallmark_log_batch_entries"
_ENTRIES: Final = "hallmark_log_entries_total"
_DUPLICATES: Final = "hallmark_log_duplicates_total"
_QUEUE: Final = "hallmark_log_queue_entries"

FAMILIES: Final = (
    *TLOG_FAMILIES,
    Family(
        name=_COMMIT,
        documentation="Seconds from taking a batch to its durable commit, the wait for the lock included.",
        kind="histogram",
        labels=("log",),
        values=_LOGS,
        buckets=SECONDS,
    ),
    Family(
        name=_BATCH,
        documentation="Entries in a commit.",
        kind="histogram",
        labels=("log",),
        values=_LOGS,
        buckets=(1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0),
    ),
    Family(name=_ENTRIES, documentation="Entries added.", labels=("log",), values=_LOGS),
    Family(name=_DUPLICATES, documentation="Entries the log had already.", labels=("log",), values=_LOGS),
    Family(
        name=_QUEUE,
        documentation="Entries that waited after the last batch was taken.",
        kind="gauge",
        labels=("log",),
        values=_LOGS,
    ),
)


class CommitMetrics:
    """The numbers of one log's commits in one process (`tiledlog.sequencer.CommitObserver`)."""

    def __init__(self, meter: Meter, log: str) -> None:
        self._commit = meter.histogram(_COMMIT, log)
        self._batch = meter.histogram(_BATCH, log)
        self._entries = meter.number(_ENTRIES, log)
        self._duplicates = meter.number(_DUPLICATES, log)
        self._queue = meter.number(_QUEUE, log)

    def committed(self, *, seconds: float, added: int, duplicates: int, waiting: int) -> None:
        """Count one commit."""
        self._commit.observe(seconds)
        self._batch.observe(added + duplicates)
        self._entries.add(added)
        self._duplicates.add(duplicates)
        self._queue.set(waiting)


class LogState(msgspec.Struct, frozen=True):
    """A log that is asked about its state when the metrics are."""

    name: str
    store: HeadStore


def read_samples(logs: Sequence[LogState], clock: Callable[[], datetime]) -> Iterator[Sample]:
    """Read the state of the logs: size, and how far publication is behind."""
    running = {"version": version("hallmark-sigstore")}
    yield Sample("rekor_v2_build_info", "The version that runs.", running, 1.0)
    heads = [(log, log.store.head()) for log in logs]
    for log, head in heads:
        yield Sample("hallmark_log_size", "Entries in the log.", {"log": log.name}, float(head.size))
    for log, head in heads:
        behind = float(head.size - head.applied)
        yield Sample(
            "hallmark_log_unpublished_entries", "Entries not yet in tiles.", {"log": log.name}, behind
        )
    for log, head in heads:
        lag = 0.0
        if head.applied < head.size:
            lag = max(clock().timestamp() - log.store.time_of(head.applied) / 1000, 0.0)
        yield Sample(
            "hallmark_log_publication_lag_seconds",
            "Age of the oldest entry that is not yet in tiles.",
            {"log": log.name},
            lag,
        )
