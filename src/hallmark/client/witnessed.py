"""Waiting for witnesses: an entry is answered at once, its cosigned checkpoint follows with publication.

The log is asked for the entry again until its checkpoint carries the cosignatures, or time is up. What
comes back is not verified here.
"""

import time
from typing import Final, Protocol

import msgspec

from hallmark.core.checkpoint import parse_checkpoint
from hallmark.core.note import parse_note
from hallmark.core.transparency_log_entry import TransparencyLogEntry
from hallmark.core.witness_policy import WitnessPolicy
from hallmark.errors import HallmarkError

_FIRST_PAUSE: Final = 0.1
_LONGEST_PAUSE: Final = 1.0


class ReadableLog(Protocol):
    """A log that gives an entry again, proved against its newest checkpoint."""

    def fetch(self, log_index: int) -> TransparencyLogEntry:
        """Fetch an entry; raises `RemoteError`."""
        ...


class WitnessWait(msgspec.Struct, frozen=True):
    """How long to wait for witnesses, and for whose.

    Without a policy any signature beside the log's own is enough: the log shows a cosigned checkpoint only
    once its own quorum has signed.
    """

    seconds: float
    policy: WitnessPolicy | None = None

    def is_witnessed(self, entry: TransparencyLogEntry) -> bool:
        """Say whether the entry's checkpoint carries the cosignatures; False for anything malformed."""
        if entry.inclusion_proof is None:
            return False
        try:
            note = parse_note(entry.inclusion_proof.checkpoint)
            stated = parse_checkpoint(note.text)
            if self.policy is not None:
                return self.policy.holds(self.policy.find_cosignatures(note, stated).keys())
        except HallmarkError:
            return False
        # a Rekor v1 log signs as HOST what it states of HOST - TREE ID
        own = {stated.origin, stated.origin.partition(" - ")[0]}
        return any(line.name not in own for line in note.signatures)

    def wait(self, log: ReadableLog, entry: TransparencyLogEntry) -> TransparencyLogEntry:
        """Give the entry with a cosigned checkpoint; the one that was given when time is up."""
        deadline, pause = time.monotonic() + self.seconds, _FIRST_PAUSE
        while not self.is_witnessed(entry) and (left := deadline - time.monotonic()) > 0:
            time.sleep(min(pause, left))
            pause = min(2 * pause, _LONGEST_PAUSE)
            try:
                newer = log.fetch(entry.log_index)
            except HallmarkError:  # a read that fails now says nothing about the entry; ask again
                continue
            if newer.canonicalized_body == entry.canonicalized_body and self.is_witnessed(newer):
                return newer
        return entry
