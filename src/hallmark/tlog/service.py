"""The Rekor v2 log, without HTTP: check what was submitted, append it, read it back."""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

import msgspec

from hallmark.errors import Frozen, MalformedInput
from hallmark.ports import Appended, Finalize, LogAppender, LogReads
from hallmark.tiledlog.commit import fixed_leaf
from hallmark.tlog.checks import EnvelopeCheck, check_hashedrekord
from hallmark.tlog.config import PURE_ED25519, TlogConfig
from hallmark.tlog.requests import DsseRequest, EntryRequest
from hallmark.web.asgi import BodyBudget
from hallmark.web.gate import Gate
from hallmark.web.standing import NEW, Standing
from hallmark.web.turns import Turns

LIGHT_BYTES: Final = 32 * 1024  # more than a certificate and its signature; parsed and checked in under 1 ms
MAX_HEAVY_CALLS: Final = 128  # of 10 signatures, 4 ms each: the last one waits five seconds
MAX_HEAVY_BYTES: Final = 32 * 1024 * 1024  # 8 of the largest size, each held two to three times over
ENVELOPES: Final = "envelopes"  # the flow of all that takes many pieces, see `web.turns`
_OVERHEAD: Final = 256


class Submission(msgspec.Struct, frozen=True):
    """What a client has sent: how large it is, how to read it, and from which address (see `web.gate`).

    `flow` is what its connection waits in (see `web.standing`), None where it goes first.
    """

    size: int
    parse: Callable[[], EntryRequest]
    peer: str = ""
    flow: str | None = NEW


class CheckedEntry(msgspec.Struct, frozen=True):
    """An entry that may be logged: every signature of it was verified. `size` is what it holds in memory."""

    kind: str
    dedup_key: bytes
    finalize: Finalize
    size: int


class WriteBounds:
    """What all shards of a process, and both transports, share: room for bodies and for checking them,
    and who has shown what.
    """

    def __init__(self, max_body_bytes_in_flight: int) -> None:
        self.bodies = BodyBudget(max_body_bytes_in_flight)
        self.heavy = Gate(MAX_HEAVY_CALLS, "large entries", most_bytes=MAX_HEAVY_BYTES)
        self.standing = Standing()


class TlogService:
    """One Rekor v2 shard. `log_id` is what clients find its key by in the trusted root.

    `turns` and `bounds` are those of the process that serves it.
    """

    def __init__(
        self,
        log: LogAppender,
        reads: LogReads,
        *,
        log_id: bytes,
        config: TlogConfig,
        turns: Turns | None = None,
        bounds: WriteBounds | None = None,
    ) -> None:
        self._log = log
        self.turns = turns or Turns()
        self.bounds = bounds or WriteBounds(config.max_body_bytes_in_flight)
        self.heavy = self.bounds.heavy
        self._dsse_algorithms = config.algorithms | {PURE_ED25519}
        self.reads = reads
        self.log_id = log_id
        self.config = config

    def check_open(self) -> None:
        """Raise `Frozen` where the operator has closed this log to writers."""
        if self.config.read_only:
            raise Frozen("the log is read-only", code="read_only")

    def read(self, submission: Submission) -> Awaitable[CheckedEntry | DsseRequest]:
        """Read what was submitted, and check it where it is a hashedrekord: one piece of work.

        Raises `MalformedInput` or `InvalidSignature` with the code of the check that failed, and
        `Overloaded`.
        """
        work = partial(self._read, submission)
        if submission.size > LIGHT_BYTES:
            return self._read_large(submission)
        if submission.flow is None:
            return self.turns.light(work)
        return self.turns.heavy(work, submission.flow)

    async def _read_large(self, submission: Submission) -> CheckedEntry | DsseRequest:
        with self.heavy.entered(submission.peer, submission.size):
            return await self.turns.heavy(lambda: self._read(submission), f"{ENVELOPES} {submission.peer}")

    def _read(self, submission: Submission) -> CheckedEntry | DsseRequest:
        request = submission.parse()
        if isinstance(request, DsseRequest):
            return request
        check_hashedrekord(request, self.config.algorithms)
        return _checked("hashedrekord", request.to_bytes())

    async def check_envelope(self, request: DsseRequest, submission: Submission) -> CheckedEntry:
        """Check an envelope; each operation with a key is a piece of work. Raises as `read` does."""
        if not self.config.accept_dsse:
            raise MalformedInput("this log takes no envelopes", code="unsupported_entry")
        heavy = partial(self.turns.heavy, flow=f"{ENVELOPES} {submission.peer}")
        with self.heavy.entered(submission.peer, submission.size):
            check = await heavy(lambda: EnvelopeCheck(request, self._dsse_algorithms))
            steps = check.steps()
            while await heavy(lambda: next(steps, self)) is not self:  # which no step gives
                pass
            return await heavy(lambda: _checked("dsse", check.entry().to_bytes()))

    def append(self, entry: CheckedEntry) -> "asyncio.Future[Appended]":
        """Append a checked entry; see `LogAppender.append`."""
        return self._log.append(entry.dedup_key, entry.finalize, size=entry.size)


def _checked(kind: str, leaf: bytes) -> CheckedEntry:
    return CheckedEntry(kind, hashlib.sha256(leaf).digest(), fixed_leaf(leaf), 2 * len(leaf) + _OVERHEAD)
