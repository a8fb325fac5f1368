"""A request's body, piece by piece."""

import asyncio

import pytest

from hallmark.errors import MalformedInput
from hallmark.web.asgi import BodyBudget, content_length, read_body


def read(*messages, budget=None, announced=None):
    left = list(messages)

    async def receive():
        return left.pop(0)

    return asyncio.run(read_body(receive, 100, budget=budget, announced=announced))


def piece(body: bytes, *, more: bool = True):
    return {"type": "http.request", "body": body, "more_body": more}


GONE = {"type": "http.disconnect"}


def test_joins_the_pieces():
    assert read(piece(b"email=bob@example.co"), piece(b"m", more=False)) == b"email=bob@example.com"


def test_a_body_of_the_announced_size_is_whole_without_another_word():
    assert read(piece(b"all of it"), announced=9) == b"all of it"


def test_a_body_that_is_shorter_than_announced_is_waited_for():
    assert read(piece(b"all "), piece(b"of it", more=False), announced=9) == b"all of it"
    with pytest.raises(MalformedInput) as refused:
        read(piece(b"all "), GONE, announced=9)
    assert refused.value.code == "body_cut"


def test_an_announced_size_does_not_widen_the_bound():
    with pytest.raises(MalformedInput) as refused:
        read(piece(b"x" * 101), announced=101)
    assert refused.value.code == "body_too_large"


@pytest.mark.parametrize(
    ("headers", "expected"),
    [([], None), ([(b"content-length", b"12")], 12), ([(b"content-length", b"-1")], None)],
)
def test_the_announced_size_is_that_of_the_header(headers, expected):
    assert content_length({"headers": headers}) == expected


@pytest.mark.parametrize("messages", [(GONE,), (piece(b"email=bob@example.co"), GONE)])
def test_what_came_before_the_client_left_is_no_request(messages):
    budget = BodyBudget(20)
    with pytest.raises(MalformedInput) as refused:
        read(*messages, budget=budget)
    assert refused.value.code == "body_cut"
    budget.take(20)
