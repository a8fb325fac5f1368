"""Connections that give the headers of an answer so many seconds."""

import socket
import threading
from threading import Timer

import pytest
import urllib3
from tests.support.loopback import Asked, LoopbackServer, Reply
from urllib3.exceptions import ReadTimeoutError

from hallmark.client.bounded_connections import bounded_pools


def timers() -> list[Timer]:
    return [thread for thread in threading.enumerate() if isinstance(thread, Timer)]


@pytest.fixture
def pool():
    def make(seconds: float) -> urllib3.PoolManager:
        made = urllib3.PoolManager(retries=False, timeout=20)
        made.pool_classes_by_scheme = bounded_pools(seconds)
        return made

    return make


def test_headers_that_do_not_come_are_not_waited_for(pool):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        with pytest.raises((OSError, urllib3.exceptions.HTTPError)) as caught:
            pool(0.1).request("GET", f"http://127.0.0.1:{silent.getsockname()[1]}")
        assert not isinstance(caught.value, ReadTimeoutError)


def test_an_answer_in_time_leaves_nobody_waiting(pool):
    seen = []

    def answer(_asked: Asked) -> Reply:
        seen.extend(timers())
        return Reply(200, b"ok")

    with LoopbackServer(answer) as server:
        assert pool(60.0).request("GET", server.url).data == b"ok"
    (timer,) = seen
    assert timer.daemon  # or a program that has all it wants would not end
    timer.join(20)
    assert not timer.is_alive()
