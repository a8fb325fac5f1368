"""Ten thousand clients at once: what waits is bounded, nobody is forgotten."""

import asyncio
import gc
import json
import tracemalloc

import msgspec
import pytest
from tests.support.load import entry_request
from tests.support.rekor import ENTRIES, RekorLog, b64, dsse, to_body

from hallmark.tiledlog.sequencer import QueueLimits

CLIENTS = 10_000


class Client(msgspec.Struct):
    """One request and what came back."""

    body: bytes
    status: int = 0
    headers: dict = {}
    answer: bytes = b""

    async def call(self, app) -> None:
        scope = {"type": "http", "method": "POST", "path": ENTRIES, "headers": []}
        await app(scope, self._receive, self._send)

    async def _receive(self):
        body, self.body = self.body, b""
        return {"type": "http.request", "body": body, "more_body": False}

    async def _send(self, message):
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = dict(message["headers"])
        else:
            self.answer = message["body"]


async def turn_until(reached) -> None:
    """Let the loop turn until something is so; a call takes as many turns as it needs."""
    for _ in range(1_000_000):
        if reached():
            return
        await asyncio.sleep(0)
    raise AssertionError("it is not so after a million turns")


def run(log, bodies) -> list[Client]:
    """Let every client call at once; the log begins to commit when all of them wait or were refused."""

    async def everybody():
        clients = [Client(body) for body in bodies]
        app = log.routes[0].app
        calls = [asyncio.create_task(client.call(app)) for client in clients]
        await turn_until(lambda: len(log.sequencer._queue) + sum(call.done() for call in calls) == len(calls))
        waiting = sum(not call.done() for call in calls)
        log.sequencer.start()
        await asyncio.gather(*calls)
        log.sequencer.stop()
        return clients, waiting

    clients, waiting = asyncio.run(everybody())
    created = [client for client in clients if client.status == 201]
    assert len(created) == waiting
    indexes = {json.loads(client.answer)["logIndex"] for client in created}
    assert len(indexes) == waiting
    return clients


def check_refused(clients) -> int:
    refused = [client for client in clients if client.status != 201]
    for client in refused:
        assert client.status == 503
        assert client.headers[b"retry-after"] == b"1"
        problem = json.loads(client.answer)
        assert (problem["code"], problem["details"][0]["reason"]) == (14, "QUEUE_FULL")
    return len(refused)


@pytest.fixture(scope="module")
def bodies():
    return [entry_request() for _ in range(CLIENTS)]


def test_only_so_many_entries_wait(bodies):
    log = RekorLog(limits=QueueLimits(max_entries=8192))
    assert check_refused(run(log, bodies)) == CLIENTS - 8192
    assert log.log.reader.head().size == 8192


def test_only_so_many_bytes_wait(bodies):
    log = RekorLog(limits=QueueLimits(max_entries=CLIENTS, max_bytes=1_000_000))
    created = CLIENTS - check_refused(run(log, bodies))
    leaf = len(log.log.reader.record(0)) - 2
    assert created == pytest.approx(1_000_000 / (2 * leaf), rel=0.25)


def test_what_a_client_has_sent_is_let_go_while_it_waits():
    """An envelope may have megabytes, its entry has hundreds of bytes: only the entry waits."""
    size = 500_000
    bodies = [to_body(dsse(payload=b64(bytes([number]) * size).encode())) for number in range(20)]

    async def held() -> int:
        log = RekorLog()
        clients = [Client(bodies.pop()) for _ in range(20)]
        calls = [asyncio.create_task(client.call(log.routes[0].app)) for client in clients]
        await turn_until(lambda: len(log.sequencer._queue) == len(calls))
        assert not any(call.done() for call in calls)
        gc.collect()
        current, _ = tracemalloc.get_traced_memory()
        log.sequencer.start()
        await asyncio.gather(*calls)
        log.sequencer.stop()
        assert {client.status for client in clients} == {201}
        return current

    tracemalloc.start()
    try:
        assert asyncio.run(held()) < 2 * size
    finally:
        tracemalloc.stop()
