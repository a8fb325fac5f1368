"""Every route stands behind its bounds: each full by one place too few, and then by the last."""

import asyncio
import gc
import json
import os
import signal
from collections import Counter
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from socket import IPPROTO_TCP, TCP_USER_TIMEOUT, create_connection, create_server, socket

import pytest
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from tests.support.asgi_call import call
from tests.support.rekor import ENTRIES, RekorLog
from tests.support.small_ca import SmallCa

from hallmark.ctlog import http as ctlog_http
from hallmark.instance.connections import UNTAKEN_SECONDS
from hallmark.instance.directory import install
from hallmark.instance.listening import Bound
from hallmark.instance.serving import run, serve
from hallmark.tlog import http as tlog_http
from hallmark.web.application import Dispatcher
from hallmark.web.asgi import BodyBudget
from hallmark.web.gate import Gate
from hallmark.web.health import well_known_routes
from hallmark.web.kept import Kept
from hallmark.web.log_reads import MAX_BUNDLE_READS, ReadLoad
from hallmark.web.metrics import Meter
from hallmark.web.metrics_route import metrics_routes
from hallmark.web.turns import MAX_ARRIVALS, Turns
from hallmark.wiring.application import open_application
from hallmark.wiring.create import create_instance
from hallmark.wiring.layout import VERSION, InstanceFile, Layout
from hallmark.wiring.metrics import FAMILIES


@pytest.fixture
def small(tmp_path):
    made = SmallCa(tmp_path)
    yield made
    made.close()


def fill(gate, places: int) -> ExitStack:
    full = ExitStack()
    for _ in range(places):
        full.enter_context(gate.entered(""))
    return full


def test_reading_an_entry_waits_with_the_bundles():
    load = ReadLoad()
    with RekorLog() as log:
        log.log.append(b"leaf")
        routes = tlog_http.routes(log.service, log.metrics, load)
        with fill(load.bundles, MAX_BUNDLE_READS - 1):
            assert call(routes, "GET", f"{ENTRIES}/0").status == 200
        with fill(load.bundles, MAX_BUNDLE_READS):
            refused = call(routes, "GET", f"{ENTRIES}/0")
        assert (refused.status, refused.headers["retry-after"]) == (503, "1")


@pytest.mark.parametrize("path", ["/ct/v1/add-chain", "/ct/v1/add-pre-chain"])
def test_only_so_many_submissions_are_looked_at_at_once(small, path):
    routes = ctlog_http.routes(small.ctlog)
    gate = next(route.app._gate for route in routes if route.path == path)
    with fill(gate, ctlog_http.MAX_SUBMISSIONS - 1):
        assert call(routes, "POST", path, b'{"chain":[]}').status == 400
    with fill(gate, ctlog_http.MAX_SUBMISSIONS):
        refused = call(routes, "POST", path, b'{"chain":[]}')
    assert (refused.status, refused.headers["retry-after"]) == (503, "1")


def test_an_application_has_one_gate_and_one_budget_of_each_kind(tmp_path):
    layout = Layout(tmp_path)
    instance = InstanceFile(version=VERSION, base_url="http://localhost:8", host="localhost", port=8)
    create_instance(layout, instance, now=datetime.now(UTC))
    install(layout)
    gc.collect()
    before = {id(item) for item in gc.get_objects() if isinstance(item, Gate | BodyBudget)}
    application = open_application(layout, on_failure=os.abort)
    made = [
        item for item in gc.get_objects() if isinstance(item, Gate | BodyBudget) and id(item) not in before
    ]
    kinds = Counter(item._what for item in made if isinstance(item, Gate))
    assert set(kinds.values()) == {1}
    assert len(kinds) >= 6
    assert sum(isinstance(item, BodyBudget) for item in made) == 5  # both logs, both authorities, logins
    application.shards.stop()


@pytest.mark.parametrize("route", ["/metrics", "/.well-known/hallmark.json"])
def test_what_costs_is_looked_up_once_however_many_ask(route):
    asked: list[int] = []

    def look_up() -> bytes:
        asked.append(1)
        return b"{}"

    def samples():
        look_up()
        return ()

    routes = [*well_known_routes(look_up, {}), *metrics_routes(Meter(FAMILIES), samples)]
    for _ in range(50):
        assert call(routes, "GET", route).status == 200
    assert len(asked) == 1


def test_what_was_looked_up_is_looked_up_again_when_it_is_old():
    found = iter((1, 2))
    kept = Kept(lambda: next(found), seconds=0.0)
    assert [asyncio.run(kept.read()), asyncio.run(kept.read())] == [1, 2]


def test_a_failure_is_not_kept():
    def look_up() -> int:
        tries.append(1)
        if len(tries) == 1:
            raise OSError("not now")
        return 5

    tries: list[int] = []
    kept = Kept(look_up, seconds=3600)
    with pytest.raises(OSError, match="not now"):
        asyncio.run(kept.read())
    assert asyncio.run(kept.read()) == 5


def test_an_entry_of_many_values_is_refused_before_it_is_parsed():
    with RekorLog() as log:
        body = b'{"dsseRequestV002":{"verifiers":[%s{}]}}' % (b"{}," * 20_000)
        answer = call(log.routes, "POST", ENTRIES, body)
        assert "marks of structure" in json.loads(answer.body)["message"]


def test_requests_that_go_through_routing_begin_so_many_in_a_turn():
    began: list[int] = []
    turn = 0

    async def hello(_request):
        began.append(turn)
        return PlainTextResponse("hello")

    async def ask(app):
        async def send(_message):
            pass

        scope = {"type": "http", "method": "GET", "path": "/", "root_path": "", "headers": []}
        await app(scope, None, send)

    async def everybody():
        nonlocal turn
        app = Dispatcher([Route("/", hello)], {}, Turns(lambda: 0.0))
        calls = [asyncio.create_task(ask(app)) for _ in range(3 * MAX_ARRIVALS)]
        while not all(task.done() for task in calls):
            turn += 1
            await asyncio.sleep(0)

    asyncio.run(everybody())
    assert max(began.count(number) for number in set(began)) == MAX_ARRIVALS


def test_connections_of_a_server_end_when_nothing_is_taken():
    with create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    found: list[int] = []

    async def app(_scope, _receive, send):
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def look():
        with create_connection(("127.0.0.1", port)) as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            await asyncio.to_thread(client.recv, 100)
            found.extend(limits_of_connections_to(client))
        os.kill(os.getpid(), signal.SIGUSR1)

    run(serve(app, Bound("127.0.0.1", port), (signal.SIGUSR1,), while_serving=look))
    assert found == [1000 * UNTAKEN_SECONDS]


def limits_of_connections_to(client: socket) -> list[int]:
    """Read the limit of this process's own end of a connection to itself."""
    found = []
    for path in Path("/proc/self/fd").iterdir():
        try:
            other = socket(fileno=os.dup(int(path.name)))
        except OSError:  # no socket
            continue
        with other:
            try:
                if other.getpeername() == client.getsockname():
                    found.append(other.getsockopt(IPPROTO_TCP, TCP_USER_TIMEOUT))
            except OSError:  # it is not connected
                pass
    return found
