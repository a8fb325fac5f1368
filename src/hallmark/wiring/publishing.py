"""What the parent process of an instance does beside its workers: publish logs, keep the trust root fresh."""

import logging
import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Final

from hallmark.adapters.storage.sqlite import SqliteHeadStore
from hallmark.errors import Overloaded
from hallmark.tiledlog.publisher import Publisher
from hallmark.trustroot.keys import load_key_files
from hallmark.trustroot.repository import TrustRepository
from hallmark.wiring.layout import InstanceFile, Layout
from hallmark.wiring.logs import open_ctlog, open_tlog
from hallmark.wiring.witnessing import open_witnesses

logger = logging.getLogger("hallmark.publishing")

_PASS_SECONDS: Final = 0.1
_CHORE_PASSES: Final = 600  # about a minute

Chore = Callable[[], None]


class Publishing:
    """One thread that publishes every log of the instance, and does a chore about once a minute.

    `publishers` come with the database that each of them uses.

    `on_failure` must end the process: after a failed sync nobody knows what is durable, and after a log was
    found damaged nothing must be added to it.
    """

    def __init__(
        self,
        publishers: Sequence[tuple[Publisher, SqliteHeadStore]],
        chore: Chore,
        *,
        on_failure: Callable[[BaseException], None],
    ) -> None:
        self._publishers = publishers
        self._chore = chore
        self._on_failure = on_failure
        self._stopping = threading.Event()
        self._complaint = ""
        self._thread = threading.Thread(target=self._run, name="publishing", daemon=True)

    def recover(self) -> None:
        """Bring every log's objects up to its head; raises `TrustError` for a log that must not go on."""
        for publisher, _ in self._publishers:
            publisher.recover()

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
                self._publish()
                if passes % _CHORE_PASSES == 0:
                    self._chore()
            self._publish()
        except BaseException as error:  # whatever it was, the process must not go on
            logger.critical("publishing stops: %s", error, exc_info=error)
            self._on_failure(error)

    def _publish(self) -> None:
        """Publish every log; what cannot be written now waits in the database for a later pass."""
        try:
            for publisher, store in self._publishers:
                while publisher.publish():
                    store.compact()
        except (OSError, Overloaded) as error:
            if str(error) != self._complaint:
                logger.error("cannot publish for now: %s", error)
            self._complaint = str(error)
        else:
            self._complaint = ""


def open_publishing(
    layout: Layout, instance: InstanceFile, *, on_failure: Callable[[BaseException], None]
) -> Publishing:
    """Open what the parent publishes: both logs, and the TUF repository, which it renews in time."""
    tlog, _ = open_tlog(layout, instance)
    ctlog, _ = open_ctlog(layout, instance)
    repository = TrustRepository(layout.tuf, load_key_files(layout.tuf_keys))

    def renew() -> None:
        renewed = repository.refresh(datetime.now(UTC))
        if renewed:
            logger.info("signed the trust root anew: %s", ", ".join(renewed))

    renew()
    publishers = [tlog.publisher(open_witnesses(layout)), ctlog.publisher()]
    return Publishing(publishers, renew, on_failure=on_failure)
