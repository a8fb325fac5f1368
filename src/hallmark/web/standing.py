"""Which connections have shown that they append entries: their work goes before that of all others.

An address tells nobody apart on loopback or behind a proxy, and what costs the log most is what it refuses:
a signature that does not hold is checked as long as one that does. So a connection is taken at its record.
"""

from collections.abc import Hashable
from typing import Final

MAX_CONNECTIONS: Final = 16_384  # as many as a process has; what was noted longest ago is forgotten first
REPAID_BY: Final = 8  # entries after one that was refused: nobody buys a costly refusal with one entry
NEW: Final = "new"
REFUSED: Final = "refused"


class Standing:
    """The records of one process's connections, whatever the transport names them by."""

    def __init__(self, most: int = MAX_CONNECTIONS) -> None:
        self._most = most
        self._records: dict[Hashable, int] = {}

    def flow(self, connection: Hashable) -> str | None:
        """Name the flow that a connection's work waits in, see `web.turns`; None where it goes first."""
        record = self._records.get(connection, 0)
        if record > 0:
            return None
        return REFUSED if record < 0 else NEW

    def accepted(self, connection: Hashable) -> None:
        """Note that an entry was appended."""
        record = self._records.get(connection, 0)
        if record <= 0:
            self._note(connection, record + 1)

    def refused(self, connection: Hashable) -> None:
        """Note that a request was refused for what it says."""
        self._note(connection, 1 - REPAID_BY)

    def _note(self, connection: Hashable, record: int) -> None:
        if connection is None:  # a Unix socket: all of its connections would share one record
            return
        self._records.pop(connection, None)
        if len(self._records) >= self._most:
            del self._records[next(iter(self._records))]
        self._records[connection] = record
