"""What the kernel is asked to do with connections whose peers take nothing."""

import socket
from contextlib import closing

import pytest

from hallmark.instance.connections import UNTAKEN_SECONDS, end_untaken


def untaken(sock: socket.socket) -> int:
    return sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)


@pytest.mark.parametrize(
    ("family", "host"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")], ids=["v4", "v6"]
)
def test_every_connection_that_is_accepted_has_the_limit(family, host):
    with closing(socket.create_server((host, 0), family=family)) as server:
        port = server.getsockname()[1]
        with closing(socket.create_connection((host, port))), closing(server.accept()[0]) as before:
            assert untaken(before) == 0
        end_untaken(port)
        with closing(socket.create_connection((host, port))) as client, closing(server.accept()[0]) as sock:
            assert untaken(sock) == 1000 * UNTAKEN_SECONDS
            assert untaken(client) == 0


def test_other_listening_sockets_are_left_alone(tmp_path):
    with (
        closing(socket.create_server(("127.0.0.1", 0))) as other,
        closing(socket.socket(socket.AF_UNIX)) as unix,
    ):
        unix.bind(str(tmp_path / "socket"))
        unix.listen()
        with closing(socket.create_server(("127.0.0.1", 0))) as server:
            end_untaken(server.getsockname()[1])
        assert untaken(other) == 0
