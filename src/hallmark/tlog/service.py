"""The Rekor v2 log, without HTTP: check what was submitted, append it, read it back."""

import asyncio
import hashlib
from collections.abc import Awaitable
from typing import Final

from hallmark.core.entries.hashedrekord import HashedRekordV002
from hallmark.errors import Frozen, MalformedInput
from hallmark.ports import Appended, LogAppender, LogReads
from hallmark.tiledlog.commit import fixed_leaf
from hallmark.tlog.checks import EnvelopeCheck, check_hashedrekord
from hallmark.tlog.config import PURE_ED25519, TlogConfig
from hallmark.tlog.requests import DsseRequest, EntryRequest

_OVERHEAD: Final = 256


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

    async def add(self, request: EntryRequest) -> Appended:
        """Check an entry and append it.

        Raises `MalformedInput` or `InvalidSignature` with the code of the check that failed, and whatever
        `LogAppender.append` raises.
        """
        if isinstance(request, HashedRekordV002):
            return await self.add_hashedrekord(request)
        return await self.add_dsse(request)

    async def add_hashedrekord(self, entry: HashedRekordV002) -> Appended:
        """Check a hashedrekord and append it; see `add`."""
        self.check_open()
        check_hashedrekord(entry, self.config.algorithms)
        return await self._append(entry.to_bytes())

    async def add_dsse(self, request: DsseRequest) -> Appended:
        """Check the envelope and append its entry; see `add`.

        Up to a hundred signature checks: other callers get their turn between them.
        """
        self.check_open()
        if not self.config.accept_dsse:
            raise MalformedInput("this log takes no envelopes", code="unsupported_entry")
        check = EnvelopeCheck(request, self._dsse_algorithms)
        for item in request.envelope.signatures:
            check.verify(item.signature)
            await asyncio.sleep(0)
        return await self._append(check.entry().to_bytes())

    def _append(self, leaf: bytes) -> Awaitable[Appended]:
        key = hashlib.sha256(leaf).digest()
        return self._log.append(key, fixed_leaf(leaf), size=2 * len(leaf) + _OVERHEAD)
