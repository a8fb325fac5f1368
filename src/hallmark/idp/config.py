"""What can be set for the identity provider for development."""

import ipaddress
from typing import Final
from urllib.parse import SplitResult, urlsplit

import msgspec

from hallmark.errors import ConfigurationError

DEFAULT_CLIENT_ID: Final = "sigstore"


class IdpConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of the provider.

    `base_url` is the instance's public URL, for example `http://127.0.0.1:8080`; the issuer is
    `<base_url>/oidc`. `client_id` is the one public client, and the audience of every token.
    `token_secret_sha256` is the SHA-256 of the secret that command lines show to get a token without a
    login; None turns that off. Lifetimes are in seconds, `poll_interval_seconds` is how often a device may
    ask, and one that has not asked for `device_silence_seconds` is forgotten. `max_grants` bounds the
    logins of each kind that are under way; the one that is nearest to its end gives way to another.
    `max_body_bytes` bounds a form, `max_body_bytes_in_flight` all that the process holds of them yet,
    `body_timeout` the seconds that one may take, `max_calls` the requests that a process works on at once.
    """

    base_url: str
    client_id: str = DEFAULT_CLIENT_ID
    token_secret_sha256: bytes | None = None
    token_lifetime_seconds: int = 600
    code_lifetime_seconds: int = 120
    device_lifetime_seconds: int = 600
    device_silence_seconds: int = (
        60  # thirty times the interval; whoever asks for a code only is gone by then
    )
    poll_interval_seconds: int = 2
    max_grants: int = 5000
    max_body_bytes: int = 16 * 1024
    max_body_bytes_in_flight: int = 8 * 1024 * 1024
    body_timeout: float = 10.0
    max_calls: int = 1024  # of a millisecond each

    @property
    def oidc_issuer(self) -> str:
        """The issuer's URL, as tokens print it."""
        return f"{self.base_url}/oidc"

    @property
    def origin(self) -> str:
        """The origin of our own pages, as browsers name it (RFC 6454 section 6.1)."""
        parts = urlsplit(self.base_url)
        return f"{parts.scheme}://{parts.netloc}"

    def names_us(self, host: str) -> bool:
        """Say whether the Host of a request names this instance, or this machine in any other way.

        A foreign page whose name was made to lead here (DNS rebinding) names that: it can have neither an
        address nor a name that is loopback by definition. A proxy that is left as it comes names the address
        that we listen on, or leaves the port out; ports tell nothing about the page.
        """
        if host == urlsplit(self.base_url).netloc:
            return True
        try:
            parts = urlsplit(f"//{host}")
            _ = parts.port
        except ValueError:
            return False
        return parts.netloc == host and parts.username is None and _is_this_machine(parts.hostname)


def check_loopback(base_url: str) -> None:
    """Refuse any base URL but one of a loopback address; raises `ConfigurationError`.

    The provider believes whoever types an e-mail address: beyond this machine it would be an open door.
    """
    try:
        parts = urlsplit(base_url)
        _ = parts.port
    except ValueError:
        raise ConfigurationError(f"{base_url!r} is not a URL", code="not_loopback") from None
    if parts.scheme not in {"http", "https"} or parts.query or parts.fragment or parts.username is not None:
        raise ConfigurationError(f"{base_url!r} is not a base URL", code="not_loopback")
    if not _is_this_machine(exact_host(parts)):
        raise ConfigurationError(
            f"the identity provider for development runs on loopback only, not on {parts.hostname!r}",
            code="not_loopback",
            hint="listen on 127.0.0.1, or configure a real identity provider",
        )


def _is_this_machine(host: str | None) -> bool:
    """Count the names below localhost too, which are loopback everywhere (RFC 6761 section 6.3)."""
    return is_loopback_host(host) or (host or "").endswith(".localhost")


def exact_host(parts: SplitResult) -> str | None:
    """Read the host of a URL that consists of nothing else than host and port, else None.

    Python takes `[::1].example.com` for `::1` and forgets the rest, which a browser does not.
    """
    host, port = parts.hostname or "", "" if parts.port is None else f":{parts.port}"
    bracketed = f"[{host}]" if ":" in host else host
    return host if "%" not in host and parts.netloc.lower() == f"{bracketed}{port}" else None


def is_loopback_host(host: str | None) -> bool:
    """Say whether a URL's host is this machine."""
    if host == "localhost":
        return True
    try:
        return host is not None and ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
