"""OpenID Connect for a person at a terminal.

Discovery, PKCE (RFC 7636), out-of-band login and the device flow (RFC 8628).

The browser flow is in `browser`. Each flow ends in the raw identity token.
"""

import base64
import hashlib
import hmac
import secrets
import time
from collections.abc import Callable
from typing import Final, TypeVar
from urllib.parse import urlencode, urlsplit

import msgspec

from hallmark.client.http import Answer, HttpClient, problem_text, refused
from hallmark.client.identity_token import IdentityToken, parse_identity_token
from hallmark.errors import RemoteError, Unauthenticated

SERVICE: Final = "the identity provider"
CLIENT_ID: Final = "sigstore"
OUT_OF_BAND: Final = "urn:ietf:wg:oauth:2.0:oob"

_Kind = TypeVar("_Kind")

_SCOPE: Final = "openid email"
_DEVICE_GRANT: Final = "urn:ietf:params:oauth:grant-type:device_code"
_FORM: Final = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
_MAX_DEVICE_SECONDS: Final = 1800
_MAX_ANSWER_BYTES: Final = 256 << 10


class OidcIssuer(msgspec.Struct, frozen=True, kw_only=True):
    """An identity provider and its endpoints; without a device endpoint it knows no device flow."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    device_authorization_endpoint: str = ""


class Pkce(msgspec.Struct, frozen=True):
    """A code verifier, its challenge, and the state and nonce of one login."""

    verifier: str
    challenge: str
    state: str
    nonce: str


class DeviceAuthorization(msgspec.Struct, frozen=True, kw_only=True):
    """What the person types where, and what the program polls with."""

    device_code: str
    user_code: str
    verification_uri: str
    verification_uri_complete: str = ""
    expires_in: int = 600
    interval: int = 5


class _Tokens(msgspec.Struct, frozen=True):
    id_token: str = ""
    access_token: str = ""


class _TokenError(msgspec.Struct, frozen=True):
    error: str = ""


def new_pkce() -> Pkce:
    """Make the secrets of one login."""
    verifier = secrets.token_urlsafe(48)
    digest = hashlib.sha256(verifier.encode()).digest()
    challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
    return Pkce(verifier, challenge, secrets.token_urlsafe(24), secrets.token_urlsafe(24))


def discover(url: str, http: HttpClient) -> OidcIssuer:
    """Fetch the configuration of the identity provider at `url`; raises `RemoteError`.

    The document must name exactly this issuer, or its tokens would be somebody else's.
    """
    configuration = url.rstrip("/") + "/.well-known/openid-configuration"
    answer = http.get(configuration, service=SERVICE, max_bytes=_MAX_ANSWER_BYTES)
    if answer.status != 200:
        raise refused(answer, service=SERVICE, url=configuration)
    found = _decode(answer.body, OidcIssuer)
    if found.issuer.rstrip("/") != url.rstrip("/"):
        raise RemoteError(
            f"{SERVICE} at {url} calls itself {found.issuer[:200]!r}",
            code="wrong_oidc_issuer",
            hint="use the address that it calls itself, if you trust it",
        )
    if not found.authorization_endpoint.startswith(("https://", "http://")):
        # the browser would open whatever it names: a file, or another program
        raise RemoteError(
            f"{SERVICE} at {url} names no page to log in, but {found.authorization_endpoint[:200]!r}",
            code="malformed_answer",
        )
    return found


def authorization_url(issuer: OidcIssuer, pkce: Pkce, redirect_uri: str) -> str:
    """Build the URL where the person logs in."""
    parameters = {
        "response_type": "code",
        "client_id": CLIENT_ID,
        "scope": _SCOPE,
        "redirect_uri": redirect_uri,
        "code_challenge": pkce.challenge,
        "code_challenge_method": "S256",
        "state": pkce.state,
        "nonce": pkce.nonce,
    }
    separator = "&" if urlsplit(issuer.authorization_endpoint).query else "?"
    return issuer.authorization_endpoint + separator + urlencode(parameters)


def redeem_code(
    issuer: OidcIssuer, code: str, pkce: Pkce, redirect_uri: str, http: HttpClient
) -> IdentityToken:
    """Exchange an authorization code for the token; raises `Unauthenticated` or `RemoteError`."""
    form = {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": redirect_uri,
        "code_verifier": pkce.verifier,
        "client_id": CLIENT_ID,
    }
    answer = _post_form(issuer.token_endpoint, form, http)
    token = _token(answer, issuer)
    if not hmac.compare_digest(token.unverified_nonce.encode(), pkce.nonce.encode()):
        raise Unauthenticated(
            f"{SERVICE} gave a token of another login", code="wrong_nonce", hint="try again"
        )
    return token


def log_in_out_of_band(issuer: OidcIssuer, ask: Callable[[str], str], http: HttpClient) -> IdentityToken:
    """Let the person log in anywhere and type the code: `ask` shows them the URL and returns the code."""
    pkce = new_pkce()
    code = ask(authorization_url(issuer, pkce, OUT_OF_BAND)).strip()
    if not code:
        raise Unauthenticated("no verification code was given", code="no_code")
    return redeem_code(issuer, code, pkce, OUT_OF_BAND, http)


def log_in_by_device(
    issuer: OidcIssuer, show: Callable[[DeviceAuthorization], None], http: HttpClient
) -> IdentityToken:
    """Let the person log in on another device; `show` tells them where. Raises `Unauthenticated`."""
    if not issuer.device_authorization_endpoint:
        raise RemoteError(f"{SERVICE} at {issuer.issuer} has no device flow", code="no_device_flow")
    pkce = new_pkce()
    form = {
        "client_id": CLIENT_ID,
        "scope": _SCOPE,
        "code_challenge": pkce.challenge,
        "code_challenge_method": "S256",
    }
    answer = _post_form(issuer.device_authorization_endpoint, form, http)
    if answer.status != 200:
        raise refused(answer, service=SERVICE, url=issuer.device_authorization_endpoint)
    device = _decode(answer.body, DeviceAuthorization)
    show(device)
    return _poll(issuer, device, pkce, http)


def _poll(issuer: OidcIssuer, device: DeviceAuthorization, pkce: Pkce, http: HttpClient) -> IdentityToken:
    """Ask until the person is done; `slow_down` adds five seconds to the interval (RFC 8628 section 3.5)."""
    interval = min(max(device.interval, 1), 60)
    deadline = time.monotonic() + min(max(device.expires_in, 1), _MAX_DEVICE_SECONDS)
    form = {
        "grant_type": _DEVICE_GRANT,
        "device_code": device.device_code,
        "client_id": CLIENT_ID,
        "code_verifier": pkce.verifier,
    }
    while time.monotonic() + interval < deadline:
        time.sleep(interval)
        answer = _post_form(issuer.token_endpoint, form, http)
        state = _decode(answer.body, _TokenError).error if answer.status == 400 else ""
        if state not in {"authorization_pending", "slow_down"}:
            return _token(answer, issuer)
        interval += 5 if state == "slow_down" else 0
    raise Unauthenticated("nobody logged in before the code expired", code="login_expired", hint="try again")


def _post_form(url: str, form: dict[str, str], http: HttpClient) -> Answer:
    return http.request(
        "POST",
        url,
        service=SERVICE,
        idempotent=False,
        body=urlencode(form).encode(),
        headers=_FORM,
        max_bytes=_MAX_ANSWER_BYTES,
    )


def _token(answer: Answer, issuer: OidcIssuer) -> IdentityToken:
    if answer.status in {400, 401, 403}:
        reason = problem_text(answer.body) or str(answer.status)
        raise Unauthenticated(
            f"{SERVICE} refuses the login: {reason}", code="login_refused", hint="try again"
        )
    if answer.status != 200:
        raise refused(answer, service=SERVICE, url=issuer.token_endpoint)
    tokens = _decode(answer.body, _Tokens)
    return parse_identity_token(tokens.id_token or tokens.access_token)


def _decode(body: bytes, kind: type[_Kind]) -> _Kind:
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise RemoteError(f"{SERVICE} answers with no JSON that fits", code="malformed_answer") from None
