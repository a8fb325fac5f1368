"""What an instance counts: the log's service, and the engine under every log."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from importlib.metadata import version
from threading import Lock
from typing import Final

from hallmark.adapters.storage.sqlite import SqliteHeadStore
from hallmark.errors import HallmarkError
from hallmark.ports import Clock, HeadStore
from hallmark.tlog.metrics import FAMILIES as TLOG_FAMILIES
from hallmark.tlog.metrics import TlogMetrics
from hallmark.web.metrics import SECONDS, Family, Meter, Sample
from hallmark.wiring.layout import Layout
from hallmark.wiring.processes import process_samples
from hallmark.wiring.shards import ShardTable

_NAMED_SHARDS: Final = 32  # every combination has its place in memory from the start; see web.metrics
_LATER: Final = "shards/later"
_LOGS: Final = (
    ("tlog",),
    ("ctlog",),
    *((f"shards/{number}",) for number in range(2, _NAMED_SHARDS + 1)),
    (_LATER,),
)
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
    """The commits of one log in one process (`tiledlog.sequencer.CommitObserver`).

    Shards of a high number share one, so the threads that commit to them take turns.
    """

    def __init__(self, meter: Meter, log: str) -> None:
        self._lock = Lock()
        self._commit = meter.histogram(_COMMIT, log)
        self._batch = meter.histogram(_BATCH, log)
        self._entries = meter.number(_ENTRIES, log)
        self._duplicates = meter.number(_DUPLICATES, log)
        self._queue = meter.number(_QUEUE, log)

    def committed(self, *, seconds: float, added: int, duplicates: int, waiting: int) -> None:
        """Count one commit."""
        with self._lock:
            self._commit.observe(seconds)
            self._batch.observe(added + duplicates)
            self._entries.add(added)
            self._duplicates.add(duplicates)
            self._queue.set(waiting)


class InstanceMetrics:
    """Everything that one process of an instance counts."""

    def __init__(self, meter: Meter) -> None:
        self.meter = meter
        self.rekor = TlogMetrics(meter)
        self._commits = {name: CommitMetrics(meter, name) for (name,) in _LOGS}

    def log(self, name: str) -> CommitMetrics:
        """Find what counts the commits of a log."""
        return self._commits.get(name, self._commits[_LATER])


class InstanceStates:
    """Reads what is asked for at that moment: every log, what ends and when, the instance's processes."""

    def __init__(
        self,
        layout: Layout,
        clock: Clock,
        processes: Callable[[], Iterable[int]],
        grpc_certificate: str | None = None,
    ) -> None:
        self._grpc_certificate = grpc_certificate
        self._layout = layout
        self._clock = clock
        self._processes = processes
        self._table = ShardTable(layout)
        self._stores: dict[str, HeadStore] = {}

    def __call__(self) -> list[Sample]:
        """Read all of them."""
        names = [shard.folder for shard in self._table.read()] + ["ctlog"]
        for name in names:
            if name not in self._stores:
                self._stores[name] = SqliteHeadStore(self._layout.database(name))
        logs = _samples({name: self._stores[name] for name in names}, self._clock)
        return [*logs, *self._ends(), *process_samples(self._processes())]

    def _ends(self) -> Iterator[Sample]:
        """Nothing where the state is damaged: `/healthz` says so, and the other numbers are still true."""
        from hallmark.wiring.health import expiries  # noqa: PLC0415  see `wiring.application`

        with suppress(HallmarkError, OSError):
            for item in expiries(self._layout, self._grpc_certificate):
                yield Sample(
                    "hallmark_expiry_timestamp_seconds",
                    "When it ends.",
                    {"what": item.name},
                    item.ends.timestamp(),
                )


def _samples(logs: Mapping[str, HeadStore], clock: Clock) -> Iterator[Sample]:
    running = {"version": version("hallmark-sigstore")}
    yield Sample("rekor_v2_build_info", "The version that runs.", running, 1.0)
    heads = {name: store.head() for name, store in logs.items()}
    for name, head in heads.items():
        yield Sample("hallmark_log_size", "Entries in the log.", {"log": name}, float(head.size))
    for name, head in heads.items():
        behind = float(head.size - head.applied)
        yield Sample("hallmark_log_unpublished_entries", "Entries not yet in tiles.", {"log": name}, behind)
    for name, head in heads.items():
        lag = 0.0
        if head.applied < head.size:
            lag = max(clock().timestamp() - logs[name].time_of(head.applied) / 1000, 0.0)
        yield Sample(
            "hallmark_log_publication_lag_seconds",
            "Age of the oldest entry that is not yet in tiles.",
            {"log": name},
            lag,
        )
