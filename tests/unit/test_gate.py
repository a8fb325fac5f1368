"""How many calls are worked on at a time."""

from contextlib import ExitStack

import pytest

from hallmark.errors import Overloaded
from hallmark.web.gate import RETRY_SECONDS, Gate, distinct_address, peer_of


def enter(gate: Gate, peers, size: int = 0) -> ExitStack:
    stack = ExitStack()
    for peer in peers:
        stack.enter_context(gate.entered(peer, size))
    return stack


def refused(gate: Gate, peer: str = "", size: int = 0) -> bool:
    try:
        with gate.entered(peer, size):
            return False
    except Overloaded as error:
        return (error.code, error.retry_after) == ("too_many_calls", RETRY_SECONDS)


def test_lets_so_many_in():
    gate = Gate(4, "calls")
    with enter(gate, [""] * 3):
        assert not refused(gate)
        with gate.entered(""):
            assert refused(gate)
            assert refused(gate, "192.0.2.1")
    assert not refused(gate)


def test_one_address_has_half_of_the_places():
    gate = Gate(4, "calls")
    with enter(gate, ["192.0.2.1"]):
        assert not refused(gate, "192.0.2.1")
        with gate.entered("192.0.2.1"):
            assert refused(gate, "192.0.2.1")
            assert not refused(gate, "192.0.2.2")
            assert not refused(gate, "")
    assert not refused(gate, "192.0.2.1")


def test_holds_so_many_bytes():
    gate = Gate(4, "calls", most_bytes=100)
    with enter(gate, [""], 60):
        assert not refused(gate, size=40)
        assert refused(gate, size=41)
    assert not refused(gate, size=100)
    assert refused(gate, size=101)


def test_a_call_that_fails_gives_its_place_back():
    gate = Gate(1, "calls")
    with pytest.raises(ValueError, match="of a call"), gate.entered("192.0.2.1", 5):
        raise ValueError("of a call")
    assert not refused(gate, "192.0.2.1", 5)


@pytest.mark.parametrize(
    ("host", "expected"),
    [("192.0.2.1", "192.0.2.1"), ("2001:db8::1", "2001:db8::1")]
    + [(host, "") for host in ("127.0.0.1", "127.9.9.9", "::1", "", "unix:", "name")],
)
def test_only_an_address_of_another_machine_tells_clients_apart(host, expected):
    assert distinct_address(host) == expected
    assert peer_of({"client": (host, 1)}) == expected


def test_a_client_without_an_address_is_anybody():
    assert peer_of({}) == peer_of({"client": None}) == ""
