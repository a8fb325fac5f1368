"""What the log does at once for requests that cost much: how many, and how much in a turn of the loop."""

import asyncio
import json
from contextlib import ExitStack

import pytest
from starlette.routing import Route
from tests.support.asgi_call import call
from tests.support.rekor import ENTRIES, RekorLog, dsse, hashedrekord, to_body

from hallmark.tlog import http as tlog_http
from hallmark.tlog.config import TlogConfig
from hallmark.tlog.service import LIGHT_BYTES, MAX_HEAVY_BYTES, MAX_HEAVY_CALLS, TlogService
from hallmark.web.turns import TURN_SECONDS, Turns

SIGNERS = ["PKIX_ECDSA_P256_SHA_256"] * 5


class SlowTurns(Turns):
    """Turns in which every piece takes all of the time; notes in which one each heavy piece ran."""

    def __init__(self) -> None:
        self.now = 0.0
        self.turn = 0
        self.ran_in: list[int] = []
        super().__init__(lambda: self.now)

    async def heavy(self, work, flow=""):
        def noted():
            self.now += 2 * TURN_SECONDS
            self.ran_in.append(self.turn)
            return work()

        return await super().heavy(noted, flow)

    def _end_heavy(self, loop):
        self.turn += 1
        super()._end_heavy(loop)


@pytest.mark.parametrize("callers", [1, 20])
def test_a_turn_checks_one_signature_however_many_envelopes_come(callers):
    log = RekorLog()
    turns = log.service.turns = SlowTurns()
    bodies = [to_body(dsse(*SIGNERS, payload=b"%d" % number)) for number in range(callers)]

    async def post(body: bytes) -> int:
        statuses = []

        async def receive():
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message):
            statuses.append(message.get("status"))

        scope = {"type": "http", "method": "POST", "path": ENTRIES, "headers": []}
        await log.routes[0].app(scope, receive, send)
        return statuses[0]

    async def run():
        return await asyncio.gather(*map(post, bodies))

    with log:
        assert asyncio.run(run()) == [201] * callers
    assert len(turns.ran_in) == len(set(turns.ran_in)) == callers * (len(SIGNERS) + 4)


def post(log: RekorLog, request: dict, pad: int = 0) -> tuple[int, str]:
    answer = call(log.routes, "POST", ENTRIES, to_body(request) + b" " * pad)
    details = json.loads(answer.body).get("details") or [{}]
    return answer.status, details[0].get("reason", "")


def pad_to(request: dict, size: int) -> int:
    return size - len(to_body(request))


def test_only_so_many_envelopes_are_checked_at_once():
    with RekorLog() as log, ExitStack() as full:
        for _ in range(MAX_HEAVY_CALLS - 1):
            full.enter_context(log.service.heavy.entered(""))
        assert post(log, dsse())[0] == 201
        full.enter_context(log.service.heavy.entered(""))
        assert post(log, dsse(payload=b"other")) == (503, "TOO_MANY_CALLS")
        assert post(log, hashedrekord())[0] == 201


def test_a_large_request_is_a_heavy_one():
    small = hashedrekord(message=b"small")
    large = hashedrekord(message=b"large")
    with RekorLog() as log, ExitStack() as full:
        for _ in range(MAX_HEAVY_CALLS):
            full.enter_context(log.service.heavy.entered(""))
        assert post(log, small, pad_to(small, LIGHT_BYTES))[0] == 201
        assert post(log, large, pad_to(large, LIGHT_BYTES + 1)) == (503, "TOO_MANY_CALLS")


def test_only_so_many_bytes_are_checked_at_once():
    request = dsse()
    size = len(to_body(request))
    with RekorLog() as log:
        with log.service.heavy.entered("", MAX_HEAVY_BYTES - size + 1):
            assert post(log, request) == (503, "TOO_MANY_CALLS")
        with log.service.heavy.entered("", MAX_HEAVY_BYTES - size):
            assert post(log, request)[0] == 201


@pytest.mark.parametrize(
    ("value", "reason"),
    [(b"{},", "MALFORMED_JSON"), (b"\\u00e9", "MALFORMED_JSON"), (b"[", "MALFORMED_JSON")],
)
def test_a_large_body_that_is_costly_to_parse_is_refused_before(value, reason):
    with RekorLog() as log:
        body = b'{"dsseRequestV002":{"verifiers":[' + value * 1_000_000
        answer = call(log.routes, "POST", ENTRIES, body[: 4 * 1024 * 1024])
        assert answer.status == 400
        assert json.loads(answer.body)["details"][0]["reason"] == reason


@pytest.mark.parametrize(("size", "counted"), [(LIGHT_BYTES, False), (LIGHT_BYTES + 1, True)])
def test_the_values_of_a_large_body_are_counted_however_well_it_is_formed(size, counted):
    with RekorLog() as log:
        body = b'{"dsseRequestV002":{"verifiers":[' + b"{}," * 10_000 + b"{}]}}"
        answer = call(log.routes, "POST", ENTRIES, body.ljust(size))
    reason = json.loads(answer.body)["details"][0]["reason"]
    assert (reason == "MALFORMED_JSON") == counted


def test_what_a_caller_has_sent_is_let_go_before_it_waits_for_its_commit():
    """Callers wait for long where commits are slow, and what they sent has been read."""

    class Noting:
        def append(self, dedup_key, finalize, *, size):
            free.append(log.service.bounds.bodies.has(len(request)))
            return log.sequencer.append(dedup_key, finalize, size=size)

    request, free = to_body(hashedrekord()), []
    with RekorLog(TlogConfig(max_body_bytes_in_flight=len(request))) as log:
        log.service._log = Noting()
        assert call(log.routes, "POST", ENTRIES, request).status == 201
    assert free == [True]


def test_a_log_is_served_without_numbers_of_its_own():
    with RekorLog() as log:
        routes = tlog_http.routes(log.service)
        assert call(routes, "POST", ENTRIES, to_body(hashedrekord())).status == 201
        assert call(routes, "GET", f"{ENTRIES}/0").status == 200
        hot = tlog_http.hot_routes(log.service)[ENTRIES]
        assert (
            call([Route(ENTRIES, tlog_http._Endpoint(hot), methods=["POST"])], "POST", ENTRIES).status == 400
        )


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("0", "entry"),
        ("1" + "0" * 18, "entry 1"),
        ("1" + "0" * 19, "the path names no entry"),
        ("x", "the path names no entry"),
        ("-1", "the path names no entry"),
        ("\u0660", "the path names no entry"),  # a zero, but not one of ASCII
        ("\u00b2", "the path names no entry"),  # a digit that is no number
    ],
)
def test_a_path_names_an_entry_by_ascii_digits(path, message):
    with RekorLog() as log:
        answer = call(log.routes, "GET", f"{ENTRIES}/{path}")
    assert answer.status == 404
    assert message in json.loads(answer.body)["message"]


def test_the_log_and_its_process_take_turns_together():
    turns = Turns()
    log = RekorLog()
    service = TlogService(
        log.sequencer, log.log.reader, log_id=b"", config=TlogConfig(), turns=turns, bounds=log.service.bounds
    )
    assert (service.turns, service.heavy) == (turns, log.service.heavy)
