"""Connections that give the headers of an answer so many seconds."""

import socket
import threading
from threading import Timer

import pytest
import urllib3
from tests.support.loopback import Asked, LoopbackServer, Reply
from tests.support.witness_server import wait_until
from urllib3.exceptions import ProtocolError, ReadTimeoutError

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


@pytest.mark.parametrize(
    ("begun", "error"),
    [(b"", ProtocolError), (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n", ReadTimeoutError)],
)
def test_headers_that_do_not_come_are_not_waited_for(pool, begun, error):
    """What had come by then looks like an answer once the connection is cut."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        accepted = []

        def begin() -> None:
            accepted.append(server.accept()[0])
            accepted[0].sendall(begun)

        thread = threading.Thread(target=begin)
        thread.start()
        with pytest.raises(error):
            pool(0.3).request("GET", f"http://127.0.0.1:{server.getsockname()[1]}")
        thread.join()
        accepted[0].close()


def test_an_answer_in_time_leaves_nobody_waiting(pool):
    seen = []

    def answer(_asked: Asked) -> Reply:
        wait_until(timers)  # the request is sent before its answer is waited for
        seen.extend(timers())
        return Reply(200, b"ok")

    with LoopbackServer(answer) as server:
        assert pool(60.0).request("GET", server.url).data == b"ok"
    (timer,) = seen
    assert timer.daemon  # or a program that has all it wants would not end
    timer.join(20)
    assert not timer.is_alive()
