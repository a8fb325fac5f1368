"""What the kernel is asked to do with connections whose peers take nothing."""

import os
import socket
from pathlib import Path
from typing import Final

UNTAKEN_SECONDS: Final = 20  # a peer that takes nothing for so long is gone, or wishes us no good


def end_untaken(port: int) -> None:
    """Let connections to the port end when what was sent has not been taken for `UNTAKEN_SECONDS`.

    The server neither offers that nor gives its listening socket away, so it is looked for among this
    process's own. What is set for it holds for every connection that it accepts.
    """
    for name in os.listdir("/proc/self/fd"):
        listener = _listener(int(name), port)
        if listener is not None:
            with listener:
                listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 1000 * UNTAKEN_SECONDS)


def _listener(descriptor: int, port: int) -> socket.socket | None:
    """Give a socket of the same open file where the descriptor listens on this TCP port, else nothing."""
    try:
        if not Path(f"/proc/self/fd/{descriptor}").readlink().name.startswith("socket:"):
            return None
        found = socket.socket(fileno=os.dup(descriptor))
    except OSError:  # it was closed meanwhile
        return None
    internet = found.family in (socket.AF_INET, socket.AF_INET6) and found.type == socket.SOCK_STREAM
    listens = internet and found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    if listens and found.getsockname()[1] == port:
        return found
    found.close()
    return None
