"""The Rekor v2 log, without HTTP: check what was submitted, append it, read it back."""

import asyncio
import hashlib
from typing import Final

import msgspec

from hallmark.core.entries.hashedrekord import HashedRekordV002
from hallmark.errors import Frozen, MalformedInput
from hallmark.ports import Appended, Finalize, LogAppender, LogReads
from hallmark.tiledlog.commit import fixed_leaf
from hallmark.tlog.checks import EnvelopeCheck, check_hashedrekord
from hallmark.tlog.config import PURE_ED25519, TlogConfig
from hallmark.tlog.requests import DsseRequest, EntryRequest

_OVERHEAD: Final = 256


class CheckedEntry(msgspec.Struct, frozen=True):
    """An entry that may be logged: every signature of it was verified. `size` is what it holds in memory."""

    kind: str
    dedup_key: bytes
    finalize: Finalize
    size: int


class TlogService:
    """One Rekor v2 shard. `log_id` is what clients find its key by in the trusted root."""

    def __init__(self, log: LogAppender, reads: LogReads, *, log_id: bytes, config: TlogConfig) -> None:
        self._log = log
        self._dsse_algorithms = config.algorithms | {PURE_ED25519}
        self.reads = reads
        self.log_id = log_id
        self.config = config

    def check_open(self) -> None:
        """Raise `Frozen` where the operator has closed this log to writers."""
        if self.config.read_only:
            raise Frozen("the log is read-only", code="read_only")

    async def check(self, request: EntryRequest) -> CheckedEntry:
        """Check an entry.

        Raises `MalformedInput` or `InvalidSignature` with the code of the check that failed.
        """
        if isinstance(request, HashedRekordV002):
            check_hashedrekord(request, self.config.algorithms)
            return _checked("hashedrekord", request.to_bytes())
        return _checked("dsse", await self._check_dsse(request))

    async def _check_dsse(self, request: DsseRequest) -> bytes:
        """Check an envelope: up to thirty signature checks, so other callers get turns between them."""
        if not self.config.accept_dsse:
            raise MalformedInput("this log takes no envelopes", code="unsupported_entry")
        check = EnvelopeCheck(request, self._dsse_algorithms)
        for _ in check.steps():
            await asyncio.sleep(0)
        return check.entry().to_bytes()

    def append(self, entry: CheckedEntry) -> "asyncio.Future[Appended]":
        """Append a checked entry; see `LogAppender.append`."""
        return self._log.append(entry.dedup_key, entry.finalize, size=entry.size)


def _checked(kind: str, leaf: bytes) -> CheckedEntry:
    return CheckedEntry(kind, hashlib.sha256(leaf).digest(), fixed_leaf(leaf), 2 * len(leaf) + _OVERHEAD)
