"""The address an instance listens on, and its public URL."""

import errno
import fcntl
import os
import re
import socket
import stat
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from ipaddress import ip_address
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import msgspec

from hallmark.errors import ConfigurationError
from hallmark.wiring.layout import slug_of

BACKLOG: Final = 4096  # connections that wait to be accepted: more than a burst of clients of one instance
_LOCK_TRIES: Final = 40
_LOCK_PAUSE_SECONDS: Final = 0.05
_UNIX: Final = "unix:"
_SOCKET_MODE: Final = 0o660  # a proxy gets in by the group of the socket's folder
_PATH: Final = re.compile(r"(/[a-z0-9]+(-[a-z0-9]+)*)+", re.ASCII)
_MAX_LABEL: Final = 63  # of a host name (RFC 1035 section 2.3.4)
_TAKEN: Final = {
    "api",
    "checkpoint",
    "ctlog",
    "health",
    "healthz",
    "metrics",
    "oidc",
    "ping",
    "shards",
    "tile",
    "tuf",
}
_HINT: Final = "write --listen HOST:PORT, or --listen unix:PATH"


class Address(msgspec.Struct, frozen=True):
    """A host and a port, or `unix:PATH` and zero; port 0 of a host stands for any free one."""

    host: str
    port: int

    @property
    def socket_path(self) -> Path | None:
        """The path of a Unix socket; None for a host."""
        return Path(self.host.removeprefix(_UNIX)) if self.host.startswith(_UNIX) else None

    @property
    def base_url(self) -> str:
        """The URL of this address."""
        return f"http://{self.netloc}"

    @property
    def netloc(self) -> str:
        """The address in one word."""
        if self.socket_path is not None:
            return self.host
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


class Bound(msgspec.Struct, frozen=True):
    """Where workers listen: on an IP address and a port, or on a socket that the parent has opened."""

    host: str
    port: int
    descriptor: int | None = None


def parse_listen(text: str) -> Address:
    """Read `HOST:PORT`, `[HOST]:PORT` or `unix:PATH`; raises `ConfigurationError`."""
    if text.startswith(_UNIX):
        path = text.removeprefix(_UNIX)
        if not path or "\0" in path:
            raise ConfigurationError(f"{text!r} names no socket", code="bad_address", hint=_HINT)
        return Address(f"{_UNIX}{os.path.abspath(path)}", 0)
    host, separator, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if (
        not separator
        or not host
        or not (port.isascii() and port.isdigit())
        or len(port) > 5
        or int(port) > 65535
    ):
        raise ConfigurationError(f"{text!r} is not an address to listen on", code="bad_address", hint=_HINT)
    return Address(host, int(port))


def check_loopback(host: str) -> None:
    """Refuse anything but this machine: the development identity provider gives a token to whoever asks.

    `localhost` and the names below it are loopback everywhere (RFC 6761, section 6.3).
    """
    try:
        loopback = host == "localhost" or host.endswith(".localhost") or ip_address(host).is_loopback
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

    Nothing but scheme, host, port and path, spelled as clients spell them: logs, tokens and certificates
    carry it for ever.
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
    if parts.scheme not in {"http", "https"} or not host or base != f"{parts.scheme}://{netloc}{parts.path}":
        raise ConfigurationError(
            f"{url!r} is not a base URL", code="bad_url", hint="write --public-url http://HOST[:PORT][/PATH]"
        )
    if parts.path:
        _check_path(parts.path, host)
    return base


def _check_path(path: str, host: str) -> None:
    """Check the path of a base URL: the origin of the signature log is a host name made of it."""
    hint = "use lower-case letters, digits and single dashes, as in http://localhost:8080/team/sigstore"
    if not _PATH.fullmatch(path):
        raise ConfigurationError(f"{path!r} is not a valid path for an instance", code="bad_url", hint=hint)
    if len(slug_of(path)) > _MAX_LABEL:
        raise ConfigurationError(
            f"the path {path!r} has more than {_MAX_LABEL} characters",
            code="bad_url",
            hint="take a shorter one",
        )
    first = path.split("/")[1]
    if first in _TAKEN:
        raise ConfigurationError(
            f"a path of an instance cannot begin with /{first}",
            code="bad_url",
            hint="an instance has such a path itself: behind a proxy nobody could tell which is meant",
        )
    if _is_address(host):
        raise ConfigurationError(
            f"an instance below a path needs a host name, not {host}",
            code="bad_url",
            hint="write localhost, or a name below it: the log's origin is made of host and path",
        )


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


class Reservation:
    """A port or a Unix socket that this process holds, so that its workers, and nobody else, can serve it.

    A port's socket is bound but does not listen: connections go to the workers, which share the port with it.
    A Unix socket cannot be shared so: this process listens, and the workers accept. A name stands for the
    first of its addresses that this machine has, IPv4 before IPv6; with `loopback` no other is taken.
    """

    def __init__(self, address: Address, *, loopback: bool = False) -> None:
        path = address.socket_path
        self._path = path
        if path is not None:
            self._socket = _listen_on(path)
            self.address, self.bound = address, Bound(address.host, 0, self._socket.fileno())
            return
        host = _find_host(address)
        if loopback:
            check_loopback(host)
        with _alone(host, address.port):
            self._socket = _hold(host, address)
        port: int = self._socket.getsockname()[1]
        self.address, self.bound = Address(address.host, port), Bound(host, port)

    def close(self) -> None:
        """Give the port back, or take the socket away."""
        self._socket.close()
        if self._path is not None:
            self._path.unlink(missing_ok=True)


@contextmanager
def _alone(host: str, port: int) -> Iterator[None]:
    """Let one instance at a time try a port: between trying and holding it, another could hold it too.

    An abstract socket of Linux is a name without a file, and goes with its process. Port 0 needs none.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as claim:
        if sys.platform == "linux" and port:
            try:
                claim.bind(f"\0hallmark {host} {port}")
            except OSError:
                raise _in_use(f"port {port} of {host} is in use") from None
        yield


def _hold(host: str, address: Address) -> socket.socket:
    family = _family(host)
    with socket.socket(family, socket.SOCK_STREAM) as probe:  # shares with nobody: finds every user
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        _bind(probe, host, address)
        port: int = probe.getsockname()[1]
    # without SO_REUSEADDR: two that both set it share a port, as long as neither listens
    held = socket.socket(family, socket.SOCK_STREAM)
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        _bind(held, host, Address(address.host, port))
    except ConfigurationError:
        held.close()
        raise
    return held


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def _find_host(address: Address) -> str:
    """Find the IP address behind a host; raises `ConfigurationError`."""
    try:
        found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    except (TypeError, ValueError):  # of the name's encoding
        raise ConfigurationError(
            f"{address.host!r} is not a host", code="bad_address", hint="write --listen HOST:PORT"
        ) from None
    except OSError as error:
        raise ConfigurationError(
            f"the host {address.host!r} has no address: {error.strerror}",
            code="bad_address",
            hint="write --listen 127.0.0.1:PORT, or another address of this machine",
        ) from None
    hosts = sorted({str(item[4][0]) for item in found}, key=lambda host: (":" in host, host))
    if len(hosts) == 1:
        return hosts[0]  # binding it will show
    return next((host for host in hosts if _is_ours(host)), hosts[0])


def _is_ours(host: str) -> bool:
    with socket.socket(_family(host), socket.SOCK_STREAM) as probe:
        try:
            probe.bind((host, 0))
        except OSError:
            return False
    return True


def _bind(sock: socket.socket, host: str, address: Address) -> None:
    try:
        sock.bind((host, address.port))
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise _in_use(f"port {address.port} of {address.host} is in use") from None
        raise ConfigurationError(
            f"cannot listen on {address.host}:{address.port}: {error.strerror}",
            code="bad_address",
            hint="give an address of this machine with --listen",
        ) from None


def _in_use(message: str) -> ConfigurationError:
    return ConfigurationError(
        message,
        code="port_in_use",
        hint="stop what listens there, or choose another port with --listen (a new instance only)",
    )


def _listen_on(path: Path) -> socket.socket:
    """Listen on a Unix socket; one that a killed process left behind is replaced."""
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with _locked(path.parent):
            _remove_dead_socket(path)
            listening.bind(str(path))
            _give_to_group_of_folder(path)
            os.chmod(path, _SOCKET_MODE)
            listening.listen(BACKLOG)
        listening.setblocking(False)  # of two workers that one connection wakes, one would wait
    except OSError as error:  # without an errno: the path is longer than an address may be
        listening.close()
        raise ConfigurationError(
            f"cannot listen on {path}: {error.strerror or error}",
            code="bad_address",
            hint="name a short path in a folder that you may write to",
        ) from None
    except ConfigurationError:
        listening.close()
        raise
    return listening


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Keep other instances from the folder meanwhile: a socket that does not listen yet looks dead to them.

    Somebody who holds the lock for longer is not one of them, and is not waited for.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for _ in range(_LOCK_TRIES):
            with suppress(BlockingIOError):
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            time.sleep(_LOCK_PAUSE_SECONDS)
        yield
    finally:
        os.close(descriptor)


def _give_to_group_of_folder(path: Path) -> None:
    """Only root and members of the group may; for others the socket keeps their own group."""
    with suppress(PermissionError):
        os.chown(path, -1, path.parent.stat().st_gid)


def _remove_dead_socket(path: Path) -> None:
    """Take away a socket that nobody listens on; raises `ConfigurationError` for anything else."""
    with suppress(FileNotFoundError):
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise ConfigurationError(
                f"{path} exists and is not a socket", code="bad_address", hint="name another path"
            )
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            try:
                probe.connect(str(path))
            except ConnectionRefusedError:
                path.unlink()
                return
        raise _in_use(f"the socket {path} is in use")
