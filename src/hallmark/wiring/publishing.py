"""What the parent process of an instance does beside its workers: publish logs, keep the trust root fresh."""

import logging
import threading
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from functools import partial
from typing import Final

import msgspec

from hallmark.adapters.storage.sqlite import SqliteHeadStore
from hallmark.core.keys import parse_public_key
from hallmark.errors import HallmarkError, Overloaded
from hallmark.tiledlog.publisher import Publisher
from hallmark.wiring.health import expiries
from hallmark.wiring.layout import CT_LOG, InstanceFile, Layout
from hallmark.wiring.logs import OpenLog, open_ctlog
from hallmark.wiring.outside import (
    check_mirrors_show,
    check_newest_entries,
    check_published_within,
    check_witnesses_saw,
)
from hallmark.wiring.place import check_place
from hallmark.wiring.rotation import freeze_due_shards, trust_locked, write_client_files
from hallmark.wiring.settings import Settings
from hallmark.wiring.shards import ShardTable, open_shard
from hallmark.wiring.witnessing import open_ctlog_witnesses, open_witnesses
from hallmark.witness.gathering import Witnesses

logger = logging.getLogger("hallmark.publishing")

_DEFAULTS: Final = Settings()

_PASS_SECONDS: Final = 0.1
_CHORE_PASSES: Final = 600  # about a minute


class _Published(msgspec.Struct, frozen=True):
    """A log that is published here, and who cosigns it."""

    name: str
    log: OpenLog
    publisher: Publisher
    store: SqliteHeadStore
    witnesses: Witnesses | None


def _open(name: str, log: OpenLog, witnesses: Witnesses | None) -> _Published:
    publisher, store = log.publisher(witnesses)
    return _Published(name, log, publisher, store, witnesses)


class Publishing:
    """One thread that publishes every log of the instance, and does a chore about once a minute.

    Shards that are opened meanwhile are published too. `on_failure` must end the process: after a failed
    sync nobody knows what is durable, and after a log was found damaged nothing must be added to it.
    """

    def __init__(
        self,
        layout: Layout,
        instance: InstanceFile,
        *,
        on_failure: Callable[[BaseException], None],
        settings: Settings = _DEFAULTS,
    ) -> None:
        self._settings = settings
        self._layout = layout
        self._instance = instance
        self._shards = ShardTable(layout)
        self._open: dict[int, _Published] = {}
        ctlog, key = open_ctlog(layout, instance)
        self._ctlog = _open(CT_LOG, ctlog, open_ctlog_witnesses(layout, ctlog, parse_public_key(key.spki)))
        self._on_failure = on_failure
        self._stopping = threading.Event()
        self._complaint = ""
        self._announced: dict[str, str] = {}
        self._thread = threading.Thread(target=self._run, name="publishing", daemon=True)

    def recover(self) -> None:
        """Bring every log's objects up to its head; raises `TrustError` for a log that must not go on.

        Nothing is signed, and no worker appends, before every log was compared with what stands outside.
        """
        check_place(self._layout)
        items = tuple(self._publishers())
        for item in items:
            check_published_within(item.log)
            item.publisher.recover()
            check_newest_entries(item.log)
        logs = {item.name: (item.log, item.publisher) for item in items}
        check_mirrors_show(self._layout, self._settings.mirrors, logs)
        for item in items:
            check_witnesses_saw(item.witnesses, item.log, item.publisher)
        self._chore()

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Publish what is left, and end."""
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        passes = 0
        try:
            while not self._stopping.wait(_PASS_SECONDS):
                passes += 1
                self._attempt(self._publish, OSError, Overloaded)
                if passes % _CHORE_PASSES == 0:
                    self._attempt(self._chore, OSError, HallmarkError)
            self._attempt(partial(self._publish, at_once=True), OSError, Overloaded)
        except BaseException as error:  # whatever it was, the process must not go on
            logger.critical("publishing stops: %s", error, exc_info=error)
            self._on_failure(error)

    def _attempt(self, work: Callable[[], None], *passing: type[Exception]) -> None:
        """Do it; what meets one of these errors waits for a later pass, and is told once.

        A trust root that cannot be renewed now must not take the logs down with it.
        """
        try:
            work()
        except passing as error:
            if str(error) != self._complaint:
                logger.error("cannot publish for now: %s", error)
            self._complaint = str(error)

    def _publish(self, *, at_once: bool = False) -> None:
        for item in self._publishers():
            while item.publisher.publish(at_once=at_once):
                item.store.compact()
            item.store.compact()  # what was begun under load goes on when the log is idle

    def _publishers(self) -> Iterable["_Published"]:
        for shard in self._shards.read():
            if shard.number not in self._open:
                log, _ = open_shard(self._layout, self._instance, shard)
                self._open[shard.number] = _open(shard.folder, log, open_witnesses(self._layout))
        return (*self._open.values(), self._ctlog)

    def _chore(self) -> None:
        """Renew the trust root in time, finish a killed rotation, freeze shards whose overlap has passed."""
        now = datetime.now(UTC)
        with trust_locked(self._layout) as repository:
            renewed = repository.refresh(now)
            write_client_files(self._layout, repository)
        if renewed:
            logger.info("re-signed the trust root: %s", ", ".join(renewed))
        freeze_due_shards(self._layout, now)
        self._announce(now)

    def _announce(self, now: datetime) -> None:
        """Say of each thing that ends soon, or has ended, how long it lasts, whenever that changes."""
        for expiry in expiries(self._layout, self._settings.grpc.tls_certificate):
            check = expiry.check(now)
            if (check.soon or not check.ok) and self._announced.get(check.check) != check.found:
                logger.log(logging.WARNING if check.ok else logging.ERROR, "%s %s", check.check, check.found)
                self._announced[check.check] = check.found
