"""Which proxy a request goes through, by the environment variables that curl, Go and other clients know.

`https_proxy` for https, `http_proxy` for http, else `all_proxy`; each in lower case first, then in upper.
`no_proxy` lists what is reached directly, and this machine always is: as in Go's net/http/httpproxy.
"""

import ipaddress
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

from hallmark.errors import ConfigurationError

_SCHEMES: Final = ("http", "https")
_PORTS: Final = {"http": 80, "https": 443}


def find_proxy(url: str, environment: Mapping[str, str]) -> str | None:
    """Find the proxy's URL for a request, None for none; raises `ConfigurationError` for one of no use."""
    parts = urlsplit(url)
    host, port = (parts.hostname or "").rstrip("."), parts.port or _PORTS.get(parts.scheme, 0)
    variable, proxy = _named(parts.scheme, environment)
    if not proxy or _is_this_machine(host) or _is_direct(host, port, _value("no_proxy", environment)):
        return None
    return _check_proxy(variable, proxy)


def _named(scheme: str, environment: Mapping[str, str]) -> tuple[str, str]:
    for variable in (f"{scheme}_proxy", "all_proxy"):
        found = _value(variable, environment)
        if found:
            return variable, found
    return "", ""


def _value(variable: str, environment: Mapping[str, str]) -> str:
    """In a CGI program HTTP_PROXY is the `Proxy:` header of whoever asks, so it is not believed there."""
    if environment.get(variable):
        return environment[variable].strip()
    if variable == "http_proxy" and environment.get("REQUEST_METHOD"):
        return ""
    return environment.get(variable.upper(), "").strip()


def _is_this_machine(host: str) -> bool:
    address = _address(host)
    return host.lower() == "localhost" or (address is not None and address.is_loopback)


def _is_direct(host: str, port: int, no_proxy: str) -> bool:
    items = [item.strip().lower() for item in no_proxy.split(",")]
    return any(_matches(host.lower(), port, item) for item in items if item)


def _matches(host: str, port: int, item: str) -> bool:
    """A name means itself and all below it, with a dot before it only those below."""
    if item == "*":
        return True
    address = _address(host)
    if address is not None:
        return _matches_address(address, port, item)
    name, colon, wanted = item.partition(":")
    if colon and wanted != str(port):
        return False
    name = name.removeprefix("*")
    return host.endswith(name if name.startswith(".") else f".{name}") or host == name


def _matches_address(address: ipaddress.IPv4Address | ipaddress.IPv6Address, port: int, item: str) -> bool:
    for text, wanted in (
        (item.strip("[]"), ""),
        (item.rpartition(":")[0].strip("[]"), item.rpartition(":")[2]),
    ):
        try:
            net = ipaddress.ip_network(text, strict=False)
        except ValueError:
            continue
        if address in net and wanted in {"", str(port)}:
            return True
    return False


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _check_proxy(variable: str, proxy: str) -> str:
    """The value may hold a password: it is not shown."""
    url = proxy if "://" in proxy else f"http://{proxy}"
    try:
        parts = urlsplit(url)
        usable = parts.scheme in _SCHEMES and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        usable = False
    if not usable:
        raise ConfigurationError(
            f"the environment variable {variable} names no http or https proxy",
            code="bad_proxy",
            hint="it looks like http://proxy.example:3128; no_proxy lists hosts that are reached without it",
        )
    return url
