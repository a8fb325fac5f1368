"""Whose entries go before the work of all others."""

import pytest
from tests.support.asgi_call import call
from tests.support.rekor import ENTRIES, RekorLog, dsse, hashedrekord, to_body

from hallmark.web.standing import MAX_CONNECTIONS, NEW, REFUSED, REPAID_BY, Standing


def wrong(request: dict) -> dict:
    request["hashedRekordRequestV002"]["digest"] = "A" * 43 + "="
    return request


FIRST = to_body(hashedrekord(message=b"1"))
CLIENT = ("127.0.0.1", 1)  # of `asgi_call`


def test_a_connection_goes_first_once_an_entry_of_it_was_appended():
    standing = Standing()
    assert standing.flow("a") == NEW
    standing.accepted("a")
    assert standing.flow("a") is None
    assert standing.flow("b") == NEW


@pytest.mark.parametrize(("entries", "expected"), [(REPAID_BY, None), (REPAID_BY - 1, NEW), (1, REFUSED)])
def test_one_refusal_is_repaid_by_so_many_entries(entries, expected):
    standing = Standing()
    for _ in range(100):
        standing.accepted("a")
    standing.refused("a")
    assert standing.flow("a") == REFUSED
    for _ in range(entries):
        standing.accepted("a")
    assert standing.flow("a") == expected


def test_connections_that_nothing_tells_apart_have_no_record():
    standing = Standing()
    standing.accepted(None)
    assert standing.flow(None) == NEW
    standing.refused(None)
    assert standing.flow(None) == NEW


@pytest.mark.parametrize(("others", "known"), [(MAX_CONNECTIONS - 1, True), (MAX_CONNECTIONS, False)])
def test_so_many_records_are_kept(others, known):
    standing = Standing()
    standing.accepted("first")
    for number in range(others):
        standing.accepted(number)
    assert (standing.flow("first") is None) is known


def post(log: RekorLog, body: bytes) -> int:
    return call(log.routes, "POST", ENTRIES, body).status


@pytest.mark.parametrize(
    ("second", "status"),
    [
        (to_body(wrong(hashedrekord(message=b"2"))), 400),
        (b"{", 400),
        (FIRST, 409),
    ],
    ids=["wrong-signature", "no-request", "duplicate"],
)
def test_what_the_log_does_not_append_costs_its_connection_the_place_in_front(second, status):
    with RekorLog() as log:
        standing = log.service.bounds.standing
        assert post(log, FIRST) == 201
        assert standing.flow(CLIENT) is None
        assert post(log, second) == status
        assert standing.flow(CLIENT) == REFUSED


def test_a_refusal_for_want_of_room_is_not_the_callers_fault():
    with RekorLog() as log:
        assert post(log, FIRST) == 201
        log.service.bounds.bodies.take(log.service.config.max_body_bytes_in_flight)
        assert post(log, to_body(hashedrekord(message=b"2"))) == 503
        assert log.service.bounds.standing.flow(CLIENT) is None


def test_the_log_works_first_for_those_that_appended_entries(monkeypatch):
    """Which queue a request waits in: the names of the flows, in the order of the requests."""
    with RekorLog() as log:
        turns, used = log.service.turns, []
        light, heavy = turns.light, turns.heavy
        monkeypatch.setattr(turns, "light", lambda work: used.append("light") or light(work))
        monkeypatch.setattr(turns, "heavy", lambda work, flow="": used.append(flow) or heavy(work, flow))
        first, second, third = (to_body(hashedrekord(message=b"%d" % number)) for number in range(3))
        statuses = [post(log, first), post(log, second), post(log, b"{"), post(log, third)]
        assert statuses == [201, 201, 400, 201]
        assert used == [f"{NEW} ", "light", "light", f"{REFUSED} "]
        used.clear()
        assert post(log, to_body(dsse("PKIX_ECDSA_P256_SHA_256"))) == 201
        assert used[0] == f"{REFUSED} "
        assert set(used[1:]) == {"envelopes "}
