"""What can be set for the identity provider for development."""

import ipaddress
from typing import Final
from urllib.parse import SplitResult, urlsplit

import msgspec

from hallmark.errors import ConfigurationError

DEFAULT_CLIENT_ID: Final = "sigstore"


class IdpConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of the provider.

    `base_url` is the instance's public URL without a path, for example `http://127.0.0.1:8080`; the issuer
    is `<base_url>/oidc`. `client_id` is the one public client, and the audience of every token.
    `token_secret_sha256` is the SHA-256 of the secret that command lines show to get a token without a
    login; None turns that off. Lifetimes are in seconds, `poll_interval_seconds` is how often a device may
    ask, and one that has not asked for `device_silence_seconds` is forgotten. `max_grants` bounds the
    logins of each kind that are under way; the one that is nearest to its end gives way to another.
    `max_body_bytes` bounds a form, `max_body_bytes_in_flight` all of the process that are still arriving,
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
    max_body_bytes_in_flight: int = 16 * 1024 * 1024
    body_timeout: float = 10.0
    max_calls: int = 1024  # of a millisecond each

    @property
    def oidc_issuer(self) -> str:
        """The issuer's URL, as tokens print it."""
        return f"{self.base_url}/oidc"

    @property
    def host(self) -> str:
        """Host and port that browsers must name."""
        return urlsplit(self.base_url).netloc


def check_loopback(base_url: str) -> None:
    """Refuse any base URL but one of a loopback address; raises `ConfigurationError`.

    The provider believes whoever types an e-mail address: beyond this machine it would be an open door.
    """
    try:
        parts = urlsplit(base_url)
        _ = parts.port
    except ValueError:
        raise ConfigurationError(f"{base_url!r} is not a URL", code="not_loopback") from None
    if parts.scheme not in {"http", "https"} or parts.path or parts.query or parts.username is not None:
        raise ConfigurationError(f"{base_url!r} is not the URL of a host without a path", code="not_loopback")
    if not is_loopback_host(exact_host(parts)):
        raise ConfigurationError(
            f"the identity provider for development runs on loopback only, not on {parts.hostname!r}",
            code="not_loopback",
            hint="listen on 127.0.0.1, or configure a real identity provider",
        )


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
