"""What waits, by flows: order within a flow, and turns of flows."""

import pytest

from hallmark.web.flows import Flows


@pytest.fixture
def flows():
    made = Flows()
    for number in range(4):
        made.push("a", f"a{number}")
    for number in range(4):
        made.push("b", f"b{number}")
    return made


def test_flows_take_turns_and_keep_their_order(flows):
    assert [flows.pop() for _ in range(8)] == ["a0", "b0", "a1", "b1", "a2", "b2", "a3", "b3"]
    assert not flows


def test_each_flow_gives_its_oldest_and_its_newest_in_turn(flows):
    taken = [flows.pop_from_either_end(name) for name in "abababab"]
    assert taken == ["a0", "b0", "a3", "b3", "a1", "b1", "a2", "b2"]
    flows.push("a", "later")
    flows.push("a", "latest")
    assert flows.pop_from_either_end("a") == "later"  # nothing is remembered of a flow that was empty


def test_what_waits_no_more_is_taken_out(flows):
    flows.remove("a", "a1")
    flows.remove("a", "b1")
    flows.remove("c", "c1")
    assert (len(flows), flows.count("a"), flows.count("b"), list(flows)) == (7, 3, 4, ["a", "b"])
    for number in (0, 2, 3):
        flows.remove("a", f"a{number}")
    assert (len(flows), list(flows)) == (4, ["b"])


def test_what_waits_is_counted(flows):
    flows.pop()
    flows.pop_from_either_end("a")
    assert len(flows) == 6
