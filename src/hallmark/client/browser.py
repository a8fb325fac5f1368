"""The browser login: authorization code with PKCE, caught by a listener on loopback (RFC 8252)."""

import hmac
import time
import webbrowser
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Final
from urllib.parse import parse_qs, urlsplit

from hallmark.client.http import HttpClient, one_line
from hallmark.client.identity_token import IdentityToken
from hallmark.client.oidc import OidcIssuer, authorization_url, new_pkce, redeem_code
from hallmark.errors import Unauthenticated

_PATH: Final = "/auth/callback"
_LOGIN_SECONDS: Final = 300.0
_DONE: Final = (
    b"<!doctype html><html lang=en><title>Hallmark</title>"
    b"<p>You are logged in. Close this window and go back to the terminal.</html>"
)
_FAILED: Final = (
    b"<!doctype html><html lang=en><title>Hallmark</title><p>The login failed. The terminal says why.</html>"
)
_HEADERS: Final = (
    ("Content-Type", "text/html; charset=utf-8"),
    ("Cache-Control", "no-store"),
    ("Content-Security-Policy", "default-src 'none'"),
    ("Connection", "close"),
)


def log_in_with_browser(
    issuer: OidcIssuer,
    show: Callable[[str], None],
    http: HttpClient,
    *,
    open_browser: Callable[[str], bool] = webbrowser.open,
    login_seconds: float = _LOGIN_SECONDS,
) -> IdentityToken:
    """Open the browser and wait for the login; `show` gets the URL, for people whose browser does not open.

    Raises `Unauthenticated` where the login fails or takes more than `login_seconds`.
    """
    pkce = new_pkce()
    with _Listener(pkce.state) as listener:
        redirect_uri = f"http://localhost:{listener.server_port}{_PATH}"
        url = authorization_url(issuer, pkce, redirect_uri)
        show(url)
        open_browser(url)
        code = listener.wait_for_code(login_seconds)
    return redeem_code(issuer, code, pkce, redirect_uri, http)


class _Listener(HTTPServer):
    """Serves one path on loopback, one request at a time, until a code for this login has come."""

    def __init__(self, state: str) -> None:
        super().__init__(("127.0.0.1", 0), _Callback)
        self.state = state
        self.code = ""
        self.failure = ""

    def handle_error(self, request: object, client_address: object) -> None:
        """Keep quiet about connections that break: they end nothing."""

    def wait_for_code(self, seconds: float) -> str:
        deadline = time.monotonic() + seconds
        while not self.code and not self.failure:
            self.timeout = deadline - time.monotonic()
            if self.timeout <= 0:
                raise Unauthenticated(
                    f"nobody logged in within {seconds:.0f} seconds", code="login_expired", hint="try again"
                )
            self.handle_request()
        if self.failure:
            raise Unauthenticated(
                f"the identity provider refuses the login: {self.failure}", code="login_refused"
            )
        return self.code

    def accept_answer(self, query: str) -> bool:
        """Take the answer to this login; another's, or none of ours, changes nothing."""
        try:
            found = parse_qs(query, max_num_fields=16)
        except ValueError:
            return False
        state = found.get("state", [""])[0]
        if not hmac.compare_digest(state.encode(), self.state.encode()):
            return False
        self.code = found.get("code", [""])[0]
        error = found.get("error_description") or found.get("error") or ["no code came"]
        self.failure = "" if self.code else one_line(error[0])
        return bool(self.code)


class _Callback(BaseHTTPRequestHandler):
    timeout = 5.0  # a connection that says nothing must not hold up the login

    def do_GET(self) -> None:  # the name is http.server's
        """Answer the redirect of the identity provider."""
        parts = urlsplit(self.path)
        listener = self.server
        good = isinstance(listener, _Listener) and parts.path == _PATH and listener.accept_answer(parts.query)
        body = _DONE if good else _FAILED
        self.send_response(200 if good else 400)
        for name, value in (*_HEADERS, ("Content-Length", str(len(body)))):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the signature is http.server's
        """Keep quiet: the request line holds the code."""
