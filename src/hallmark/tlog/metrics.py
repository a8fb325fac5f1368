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

_UNKNOWN: Final = 2
_INTERNAL: Final = 13
_GRPC_SERVICE: Final = "dev.sigstore.rekor.v2.Rekor"
GRPC_METHODS: Final = ("CreateEntry", "GetTile", "GetEntryBundle", "GetCheckpoint")
_GRPC_CODES: Final = {
    0: "OK",
    2: "Unknown",
    3: "InvalidArgument",
    5: "NotFound",
    6: "AlreadyExists",
    12: "Unimplemented",
    13: "Internal",
    14: "Unavailable",
}
_GRPC_CALL: Final = tuple(("unary", _GRPC_SERVICE, method) for method in GRPC_METHODS)
_GRPC_STARTED: Final = "grpc_server_started_total"
_GRPC_HANDLED: Final = "grpc_server_handled_total"
_GRPC_SIZE: Final = "rekor_v2_grpc_api_request_size"
_GRPC_PANICS: Final = "rekor_v2_grpc_req_panics_recovered_total"

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
    Family(
        name=_GRPC_STARTED,
        documentation="Calls that the gRPC server has begun.",
        labels=("grpc_type", "grpc_service", "grpc_method"),
        values=_GRPC_CALL,
    ),
    Family(
        name=_GRPC_HANDLED,
        documentation="Calls that the gRPC server has answered.",
        labels=("grpc_type", "grpc_service", "grpc_method", "grpc_code"),
        values=tuple((*call, code) for call in _GRPC_CALL for code in _GRPC_CODES.values()),
    ),
    Family(
        name=_GRPC_SIZE,
        documentation="Bytes of the messages of gRPC calls.",
        kind="histogram",
        labels=("grpc_service", "grpc_method", "grpc_packet_part"),
        values=tuple((service, method, "payload") for _, service, method in _GRPC_CALL),
        buckets=_BYTES,
    ),
    Family(name=_GRPC_PANICS, documentation="Unexpected errors in gRPC calls."),
)


class _Tally:
    """The three numbers of one combination of status and method."""

    __slots__ = ("latency", "requests", "size")

    def __init__(self, meter: Meter, code: str, method: str) -> None:
        self.requests: Number = meter.number(_REQUESTS, code, method)
        self.latency: Histogram = meter.histogram(_LATENCY, code, method)
        self.size: Histogram = meter.histogram(_SIZE, code, method)


class _GrpcTally:
    """The numbers of one gRPC method."""

    __slots__ = ("handled", "size", "started")

    def __init__(self, meter: Meter, method: str) -> None:
        labels = ("unary", _GRPC_SERVICE, method)
        self.started: Number = meter.number(_GRPC_STARTED, *labels)
        self.size: Histogram = meter.histogram(_GRPC_SIZE, _GRPC_SERVICE, method, "payload")
        self.handled: dict[int, Number] = {
            code: meter.number(_GRPC_HANDLED, *labels, name) for code, name in _GRPC_CODES.items()
        }


class TlogMetrics:
    """The numbers of one log in one process; used by its event loop only."""

    def __init__(self, meter: Meter | None = None) -> None:
        self._meter = meter or Meter(FAMILIES)
        self._tallies = {(int(code), method): _Tally(self._meter, code, method) for code, method in _BY_CODE}
        self._new = {kind: self._meter.number(name) for kind, name in NEW_ENTRIES.items()}
        self._grpc = {method: _GrpcTally(self._meter, method) for method in GRPC_METHODS}
        self._panics = self._meter.number(_GRPC_PANICS)
        self.proof_failures = self._meter.number(PROOF_FAILURES)

    def added(self, kind: str) -> None:
        """Count a new entry."""
        self._new[kind].add()

    def grpc_started(self, method: str) -> None:
        """Count a gRPC call that has begun."""
        self._grpc[method].started.add()

    def grpc_received(self, method: str, size: int) -> None:
        """Note the size of the message of a gRPC call, in bytes."""
        self._grpc[method].size.observe(size)

    def grpc_handled(self, method: str, code: int) -> None:
        """Count a gRPC call that was answered with this code."""
        self._grpc[method].handled[code if code in _GRPC_CODES else _UNKNOWN].add()
        if code == _INTERNAL:
            self._panics.add()

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
                self.count(scope, status, time.perf_counter() - began)

        return measured

    def count(self, scope: Scope, status: int, seconds: float) -> None:
        """Count an answer."""
        method = scope["method"].lower()
        tally = self._tallies.get((status, method if method in _METHODS else "other"))
        if tally is None:
            return
        tally.requests.add()
        tally.latency.observe(seconds)
        size = header(scope, b"content-length")
        tally.size.observe(float(size) if size is not None and size.isdigit() else 0.0)
