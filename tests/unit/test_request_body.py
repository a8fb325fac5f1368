"""A request's body, piece by piece."""

import asyncio

import pytest

from hallmark.errors import MalformedInput
from hallmark.web.asgi import BodyBudget, read_body


def read(*messages, budget=None):
    left = list(messages)

    async def receive():
        return left.pop(0)

    return asyncio.run(read_body(receive, 100, budget=budget))


def piece(body: bytes, *, more: bool = True):
    return {"type": "http.request", "body": body, "more_body": more}


GONE = {"type": "http.disconnect"}


def test_joins_the_pieces():
    assert read(piece(b"email=bob@example.co"), piece(b"m", more=False)) == b"email=bob@example.com"


@pytest.mark.parametrize("messages", [(GONE,), (piece(b"email=bob@example.co"), GONE)])
def test_what_came_before_the_client_left_is_no_request(messages):
    budget = BodyBudget(20)
    with pytest.raises(MalformedInput) as refused:
        read(*messages, budget=budget)
    assert refused.value.code == "body_cut"
    budget.take(20)
