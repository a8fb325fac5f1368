"""The address an instance listens on, and its public URL."""

import errno
import socket
from ipaddress import ip_address
from urllib.parse import urlsplit

import msgspec

from hallmark.errors import ConfigurationError


class Address(msgspec.Struct, frozen=True):
    """A host and a port; port 0 stands for any free one."""

    host: str
    port: int

    @property
    def base_url(self) -> str:
        """The URL of this address."""
        return f"http://{self.netloc}"

    @property
    def netloc(self) -> str:
        """The address in one word."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def parse_listen(text: str) -> Address:
    """Read `HOST:PORT` or `[HOST]:PORT`; raises `ConfigurationError`."""
    host, separator, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not separator or not host or not (port.isascii() and port.isdigit()) or int(port) > 65535:
        raise ConfigurationError(
            f"{text!r} is no address to listen on", code="bad_address", hint="write --listen HOST:PORT"
        )
    return Address(host, int(port))


def check_loopback(host: str) -> None:
    """Refuse anything but this machine: the development identity provider gives a token to whoever asks."""
    try:
        loopback = host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        loopback = False
    if not loopback:
        raise ConfigurationError(
            f"the development identity provider does not serve {host}",
            code="not_loopback",
            hint="listen on 127.0.0.1 or ::1, and keep --public-url on the same machine",
        )


def check_public_url(url: str) -> str:
    """Check a public base URL, and give it without a final slash; raises `ConfigurationError`.

    Nothing but scheme, host and port, spelled as clients spell them: logs, tokens and certificates carry it
    for ever.
    """
    base = url.removesuffix("/")
    try:
        parts = urlsplit(base)
        host = parts.hostname or ""
        port = "" if parts.port is None else f":{parts.port}"
    except ValueError:
        host = port = ""
        parts = urlsplit("")
    netloc = f"[{host}]{port}" if ":" in host else f"{host}{port}"
    if parts.scheme not in {"http", "https"} or not host or base != f"{parts.scheme}://{netloc}":
        raise ConfigurationError(
            f"{url!r} is no base URL", code="bad_url", hint="write --public-url http://HOST[:PORT]"
        )
    return base


class Reservation:
    """A port that this process holds, so that its workers, and nobody else, can listen on it.

    The socket is bound but does not listen: connections go to the workers, which share the port with it.
    """

    def __init__(self, address: Address) -> None:
        family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
        port = address.port
        with socket.socket(family, socket.SOCK_STREAM) as probe:  # shares with nobody: finds every user
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            _bind(probe, address)
            port = probe.getsockname()[1]
        self._socket = socket.socket(family, socket.SOCK_STREAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        self.address = Address(address.host, port)
        _bind(self._socket, self.address)

    def close(self) -> None:
        """Give the port back."""
        self._socket.close()


def _bind(sock: socket.socket, address: Address) -> None:
    try:
        sock.bind((address.host, address.port))
    except (TypeError, ValueError):  # of the name's encoding
        raise ConfigurationError(
            f"{address.host!r} is no host", code="bad_address", hint="write --listen HOST:PORT"
        ) from None
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise ConfigurationError(
                f"port {address.port} of {address.host} is in use",
                code="port_in_use",
                hint="stop what listens there, or choose another port with --listen (a new instance only)",
            ) from None
        raise ConfigurationError(
            f"cannot listen on {address.host}:{address.port}: {error.strerror}",
            code="bad_address",
            hint="give an address of this machine with --listen",
        ) from None
