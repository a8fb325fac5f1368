"""What a Rekor v2 log counts, under the names that Rekor v2 gives it."""

import time
from typing import Final

from hallmark.web.asgi import App, Message, Receive, Scope, Send, header
from hallmark.web.metrics import SECONDS, Family, Histogram, Meter, Number

_CODES: Final = ("200", "201", "304", "400", "404", "405", "409", "500", "501", "503")
_METHODS: Final = ("get", "head", "post", "other")
_BY_CODE: Final = tuple((code, method) for code in _CODES for method in _METHODS)
_BYTES: Final = (256.0, 1024.0, 2048.0, 4096.0, 8192.0, 16384.0, 65536.0, 262144.0, 1048576.0, 4194304.0)

NEW_ENTRIES: Final = {
    "hashedrekord": "rekor_v2_new_hashedrekord_entries",
    "dsse": "rekor_v2_new_dsse_entries",
}
_REQUESTS: Final = "rekor_v2_http_requests_total"
_LATENCY: Final = "rekor_v2_http_api_latency"
_SIZE: Final = "rekor_v2_http_api_request_size"
PROOF_FAILURES: Final = "rekor_v2_inclusion_proof_failure_total"

FAMILIES: Final = (
    *(
        Family(name=name, documentation=f"New {kind} entries of the log.")
        for kind, name in NEW_ENTRIES.items()
    ),
    Family(
        name=_REQUESTS,
        documentation="HTTP requests to the log.",
        labels=("code", "method"),
        values=_BY_CODE,
    ),
    Family(
        name=_LATENCY,
        documentation="Seconds until an HTTP request to the log was answered.",
        kind="histogram",
        labels=("code", "method"),
        values=_BY_CODE,
        buckets=SECONDS,
    ),
    Family(
        name=_SIZE,
        documentation="Bytes in the body of HTTP requests to the log.",
        kind="histogram",
        labels=("code", "method"),
        values=_BY_CODE,
        buckets=_BYTES,
    ),
    Family(
        name=PROOF_FAILURES,
        documentation="Proofs that did not hold before they were handed out; must stay zero.",
    ),
)


class _Tally:
    """The three numbers of one combination of status and method."""

    __slots__ = ("latency", "requests", "size")

    def __init__(self, meter: Meter, code: str, method: str) -> None:
        self.requests: Number = meter.number(_REQUESTS, code, method)
        self.latency: Histogram = meter.histogram(_LATENCY, code, method)
        self.size: Histogram = meter.histogram(_SIZE, code, method)


class TlogMetrics:
    """The numbers of one log in one process; used by its event loop only."""

    def __init__(self, meter: Meter | None = None) -> None:
        self._meter = meter or Meter(FAMILIES)
        self._tallies = {(int(code), method): _Tally(self._meter, code, method) for code, method in _BY_CODE}
        self._new = {kind: self._meter.number(name) for kind, name in NEW_ENTRIES.items()}
        self.proof_failures = self._meter.number(PROOF_FAILURES)

    def added(self, kind: str) -> None:
        """Count a new entry."""
        self._new[kind].add()

    def measured(self, app: App) -> App:
        """Wrap an ASGI application so that its answers are counted and timed."""

        async def measured(scope: Scope, receive: Receive, send: Send) -> None:
            began = time.perf_counter()
            status = 500

            async def note_status(message: Message) -> None:
                nonlocal status
                if message["type"] == "http.response.start":
                    status = message["status"]
                await send(message)

            try:
                await app(scope, receive, note_status)
            finally:
                self._count(scope, status, time.perf_counter() - began)

        return measured

    def _count(self, scope: Scope, status: int, seconds: float) -> None:
        method = scope["method"].lower()
        tally = self._tallies.get((status, method if method in _METHODS else "other"))
        if tally is None:
            return
        tally.requests.add()
        tally.latency.observe(seconds)
        size = header(scope, b"content-length")
        tally.size.observe(float(size) if size is not None and size.isdigit() else 0.0)
