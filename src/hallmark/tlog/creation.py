"""CreateEntry, whatever the transport: read, check, append, and every failure as an answer."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable

from hallmark.errors import HallmarkError, InvalidProof, Overloaded
from hallmark.ports import Appended
from hallmark.tlog.answers import Refusal, Refused, refusal
from hallmark.tlog.metrics import TlogMetrics
from hallmark.tlog.requests import MalformedDsseRequest
from hallmark.tlog.service import CheckedEntry, Submission, TlogService
from hallmark.web.asgi import Hold
from hallmark.web.problems import INTERNAL_ERROR, error_info, report_unexpected


class EntryCreator:
    """Creates entries of one log. Every method raises `Refused` and nothing else."""

    def __init__(self, service: TlogService, metrics: TlogMetrics) -> None:
        self._service = service
        self._metrics = metrics
        self._standing = service.bounds.standing

    async def create(
        self, receive: Callable[[], Awaitable[Submission]], hold: Hold, connection: Hashable = None
    ) -> Appended:
        """Append the entry that `receive` gives, or find it in the log; `hold` is of what it receives.

        What comes of it is noted for the connection.
        """
        try:
            # a caller may wait long for its commit; what it has sent is let go before
            entry = await self._check(receive)
            hold.let_go()
            appended = await self._append(entry)
        except HallmarkError as error:
            if isinstance(error, InvalidProof):
                self._metrics.proof_failures.add()
            raise self._noted(Refused(self._refusal(error)), connection) from None
        except Refused as refused:
            raise self._noted(refused, connection) from None
        except Exception as error:  # noqa: BLE001  the caller gets a plain 500, the server's log the reason
            raise Refused(_unexpected(error)) from None
        if appended.duplicate:  # it cost as much as an entry
            self._standing.refused(connection)
        else:
            self._standing.accepted(connection)
            self._metrics.added(entry.kind)
        return appended

    def _noted(self, refused: Refused, connection: Hashable) -> Refused:
        """Note a refusal for the connection, unless it is the server's own fault."""
        if refused.answer.status < INTERNAL_ERROR[0]:
            self._standing.refused(connection)
        return refused

    async def _check(self, receive: Callable[[], Awaitable[Submission]]) -> CheckedEntry:
        self._service.check_open()
        dsse = False
        try:
            submission = await receive()
            found = await self._service.read(submission)
            if isinstance(found, CheckedEntry):
                return found
            dsse = True
            return await self._service.check_envelope(found, submission)
        except HallmarkError as error:
            dsse = dsse or isinstance(error, MalformedDsseRequest)
            raise Refused(self._refusal(error, "dsse" if dsse else "hashedrekord")) from None

    async def _append(self, entry: CheckedEntry) -> Appended:
        """Wait for the commit, but not for ever.

        The timer ends the future and not, as `asyncio.timeout` does, the task: at thousands of entries a
        second the difference is five per cent of the processor.
        """
        future = self._service.append(entry)
        timer = future.get_loop().call_later(self._service.config.append_timeout, _give_up, future)
        try:
            return await future
        finally:
            timer.cancel()

    def _refusal(self, error: HallmarkError, kind: str = "hashedrekord") -> Refusal:
        return refusal(error, kind, accept_dsse=self._service.config.accept_dsse)


def _give_up(future: asyncio.Future[Appended]) -> None:
    if not future.done():
        future.set_exception(Overloaded("the log did not commit the entry in time", code="commit_timeout"))


def _unexpected(error: Exception) -> Refusal:
    request_id = report_unexpected(error, "the log")
    described = error_info(HallmarkError("an unexpected error", code="internal"), request=request_id)
    status, grpc_code = INTERNAL_ERROR
    return Refusal(status=status, grpc_code=grpc_code, message="internal server error", details=(described,))
