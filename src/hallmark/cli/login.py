"""Where an identity token comes from: given, from the CI system, or from a person who logs in."""

import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import click

from hallmark.cli.output import Output
from hallmark.client.files import read_file
from hallmark.client.http import HttpClient, one_line
from hallmark.client.identity_token import IdentityToken, parse_identity_token
from hallmark.client.oidc import DeviceAuthorization, discover, log_in_by_device, log_in_out_of_band
from hallmark.client.signing import AUDIENCE, TokenSource
from hallmark.core.signing_config import ANY, SigningConfig, select
from hallmark.errors import ConfigurationError, MalformedInput

_MAX_TOKEN_BYTES: Final = 128 << 10
_OIDC_VERSIONS: Final = (1,)


def token_source(
    given: str | None, flow: str, config: SigningConfig, http: HttpClient, output: Output
) -> TokenSource:
    """Choose where the token comes from; it is asked for only when a certificate is needed."""
    if given is not None:
        token = read_token(given)
        return lambda: token
    return lambda: _ambient_token(flow) or _log_in(flow, config, http, output)


def read_token(given: str) -> IdentityToken:
    """Read a token that is given as itself, as a file's name, or as - for standard input."""
    if given == "-":
        return parse_identity_token(sys.stdin.buffer.read(_MAX_TOKEN_BYTES).decode("utf-8", "replace"))
    if not _names_a_file(given):
        return _parse_given(given)
    content = read_file(Path(given), max_bytes=_MAX_TOKEN_BYTES)
    return parse_identity_token(content.decode("utf-8", "replace"))


def _parse_given(given: str) -> IdentityToken:
    try:
        return parse_identity_token(given)
    except MalformedInput as error:
        raise MalformedInput(
            f"{error.message}, and no file has that name",
            code=error.code,
            hint="pass a JWT, the name of a file with one, or - for standard input",
        ) from None


def _names_a_file(text: str) -> bool:
    """A file of any kind but a folder: `<(...)` of a shell is a pipe."""
    try:
        return Path(text).exists() and not Path(text).is_dir()
    except (OSError, ValueError):  # a token may be longer than any name
        return False


def _ambient_token(flow: str) -> IdentityToken | None:
    if flow != "auto":
        return None
    from hallmark.client.ambient import detect_token

    raw = detect_token(AUDIENCE)
    return parse_identity_token(raw) if raw else None


def _log_in(flow: str, config: SigningConfig, http: HttpClient, output: Output) -> IdentityToken:
    """Never without a terminal, unless a flow is named: a job that waits for a person hangs."""
    if flow == "auto":
        if not sys.stderr.isatty() or not sys.stdin.isatty():
            raise ConfigurationError(
                "no identity token, and no terminal to log in from",
                code="no_identity_token",
                hint="pass --identity-token TOKEN, or name a way to log in with --oidc-flow",
            )
        flow = "browser" if _has_display() else "device"

    services = select(config.oidc_urls, _OIDC_VERSIONS, ANY, datetime.now(UTC))
    if not services:
        raise ConfigurationError(
            "the instance names no identity provider", code="no_service", hint="pass --identity-token TOKEN"
        )
    issuer = discover(services[0].url, http)
    if flow == "device":
        return log_in_by_device(issuer, _show_device, http)
    if flow == "oob":
        return log_in_out_of_band(issuer, _ask_for_code, http)
    from hallmark.client.browser import log_in_with_browser

    return log_in_with_browser(issuer, _show_url, http)


def _has_display() -> bool:
    if sys.platform in {"darwin", "win32"}:
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def _say(text: str) -> None:
    """On standard error, with --json too: a person is waiting for it."""
    click.echo(text, err=True)


def _show_url(url: str) -> None:
    _say(f"log in with your browser; if it does not open, go to {_printable(url)}")


def _show_device(device: DeviceAuthorization) -> None:
    _say(f"go to {one_line(device.verification_uri)} and enter the code {one_line(device.user_code)}")


def _ask_for_code(url: str) -> str:
    _say(f"go to {_printable(url)}")
    code: str = click.prompt("enter the verification code", err=True, hide_input=True)
    return code


def _printable(url: str) -> str:
    """A URL may be long, but has no place for control characters."""
    return "".join(char for char in url if char.isprintable())
