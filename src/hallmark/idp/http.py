"""The provider's HTTP interface: discovery, keys, authorization, device flow, tokens.

Any web page can make a browser post to a loopback address. So a post must name this host, and where it says
which page it comes from, that must be one of ours.
"""

import base64
from collections.abc import Awaitable, Callable
from typing import Final
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from hallmark.errors import HallmarkError, MalformedInput, Overloaded, PolicyViolation, Unauthenticated
from hallmark.idp.config import IdpConfig
from hallmark.idp.pages import code_page, device_page, login_page, message_page, page_headers
from hallmark.idp.problems import OAuthError
from hallmark.idp.service import OUT_OF_BAND, IdentityProvider, check_parameters, redirect_with_code
from hallmark.web.asgi import BodyBudget, content_length, read_body
from hallmark.web.gate import Gate, peer_of
from hallmark.web.problems import status_of
from hallmark.web.turns import Turns

CODE_GRANT: Final = "authorization_code"
DEVICE_GRANT: Final = "urn:ietf:params:oauth:grant-type:device_code"
SECRET_GRANT: Final = "urn:hallmark:dev-token"  # noqa: S105 - the name of a grant type
MAX_FIELDS: Final = 32

_LOGINS: Final = "logins"  # the flow in which they wait, see `web.turns`
_NO_STORE: Final = {"cache-control": "no-store", "pragma": "no-cache"}
_CARRIED: Final = (
    "client_id",
    "redirect_uri",
    "response_type",
    "code_challenge",
    "code_challenge_method",
    "state",
    "nonce",
)

_Endpoint = Callable[[Request], Awaitable[Response]]


def routes(service: IdentityProvider, turns: Turns | None = None) -> list[BaseRoute]:
    """Give every route of the provider, below `/oidc`; `turns` are those of the process."""
    endpoints = _Endpoints(service, turns or Turns())
    return [
        Route("/.well-known/openid-configuration", endpoints.discover),
        Route("/keys", endpoints.keys),
        Route("/auth", _page_errors(endpoints.show_login), methods=["GET"]),
        Route("/auth", _page_errors(endpoints.log_in), methods=["POST"]),
        Route("/device", _page_errors(endpoints.show_device), methods=["GET"]),
        Route("/device", _page_errors(endpoints.approve_device), methods=["POST"]),
        Route("/device/code", _json_errors(endpoints.start_device), methods=["POST"]),
        Route("/token", _json_errors(endpoints.token), methods=["POST"]),
    ]


class _Endpoints:
    def __init__(self, service: IdentityProvider, turns: Turns) -> None:
        self._service = service
        self._config = service.config
        self._discovery = _discovery(service.config)
        self._turns = turns
        self._gate = Gate(service.config.max_calls, "logins")
        self._budget = BodyBudget(service.config.max_body_bytes_in_flight)
        self._grants = {
            CODE_GRANT: service.exchange_code,
            DEVICE_GRANT: service.exchange_device_code,
        }

    async def discover(self, _: Request) -> Response:
        return JSONResponse(self._discovery)

    async def keys(self, _: Request) -> Response:
        return Response(self._service.jwks, media_type="application/json")

    async def show_login(self, request: Request) -> Response:
        parameters = _query(request)
        checked = self._service.check_authorization(parameters)
        page = login_page(
            f"{self._config.oidc_issuer}/auth",
            _carried(parameters),
            email=parameters.get("login_hint", ""),
        )
        return HTMLResponse(page, headers=page_headers(checked.redirect_uri))

    async def log_in(self, request: Request) -> Response:
        form = await self._form(request)
        checked = self._service.check_authorization(form)
        email = form.get("email", "")
        try:
            code = await self._turns.heavy(lambda: self._service.authorize(checked, email), _LOGINS)
        except MalformedInput as error:
            page = login_page(
                f"{self._config.oidc_issuer}/auth", _carried(form), email=email, error=error.message
            )
            return HTMLResponse(page, 400, headers=page_headers(checked.redirect_uri))
        if checked.redirect_uri == OUT_OF_BAND:
            return HTMLResponse(code_page(code), headers=page_headers())
        return RedirectResponse(redirect_with_code(checked, code), 303, headers=page_headers())

    async def show_device(self, request: Request) -> Response:
        user_code = _query(request).get("user_code", "")
        page = device_page(f"{self._config.oidc_issuer}/device", user_code=user_code)
        return HTMLResponse(page, headers=page_headers())

    async def approve_device(self, request: Request) -> Response:
        form = await self._form(request)
        user_code, email = form.get("user_code", ""), form.get("email", "")
        try:
            await self._turns.heavy(lambda: self._service.approve_device(user_code, email), _LOGINS)
        except (MalformedInput, OAuthError) as error:
            page = device_page(
                f"{self._config.oidc_issuer}/device", user_code=user_code, email=email, error=error.message
            )
            return HTMLResponse(page, 400, headers=page_headers())
        return HTMLResponse(
            message_page("Signed in", "You can close this page and return to your device."),
            headers=page_headers(),
        )

    async def start_device(self, request: Request) -> Response:
        form = await self._client_form(request)
        codes = await self._turns.heavy(lambda: self._service.start_device(form), _LOGINS)
        page = f"{self._config.oidc_issuer}/device"
        answer = {
            "device_code": codes.device_code,
            "user_code": codes.user_code,
            "verification_uri": page,
            "verification_uri_complete": f"{page}?user_code={codes.user_code}",
            "expires_in": codes.expires_in,
            "interval": codes.interval,
        }
        return JSONResponse(answer, headers=_NO_STORE)

    async def token(self, request: Request) -> Response:
        form = await self._client_form(request)
        with self._gate.entered(peer_of(request.scope)):
            token = await self._turns.heavy(lambda: self._exchange(request, form), _LOGINS)
        answer = {
            "access_token": token,  # the same token twice: some clients take the one, some the other
            "id_token": token,
            "token_type": "Bearer",
            "expires_in": self._config.token_lifetime_seconds,
            "scope": "openid email",
        }
        return JSONResponse(answer, headers=_NO_STORE)

    def _exchange(self, request: Request, form: dict[str, str]) -> str:
        grant_type = form.get("grant_type", "")
        if grant_type == SECRET_GRANT:
            return self._service.exchange_secret(form, _credentials(request, "bearer"))
        if grant_type in self._grants:
            return self._grants[grant_type](form)
        raise OAuthError("unsupported_grant_type", f"grant_type {grant_type[:80]!r} is not supported")

    async def _form(self, request: Request) -> dict[str, str]:
        """Read a form that this host was meant to get, from a page of ours or from no page at all."""
        host, origin = request.headers.get("host", ""), request.headers.get("origin")
        if not self._config.names_us(host):
            raise PolicyViolation(
                f"the request names host {host[:100]!r}, not that of {self._config.origin}; "
                "a proxy must pass the Host header on",
                code="foreign_host",
            )
        if origin is not None and origin != self._config.origin:
            raise PolicyViolation(
                f"the request comes from {origin[:100]!r}, not from {self._config.origin!r}",
                code="foreign_origin",
            )
        with self._budget.hold() as hold:
            body = await read_body(
                request.receive,
                self._config.max_body_bytes,
                hold=hold,
                seconds=self._config.body_timeout,
                announced=content_length(request.scope),
            )
            return _fields(body.decode("utf-8", "replace"))

    async def _client_form(self, request: Request) -> dict[str, str]:
        """Read a form by a client, which may name itself by HTTP Basic with an empty password."""
        form = await self._form(request)
        basic = _credentials(request, "basic")
        if basic:
            form["client_id"] = _basic_client(basic)
        if form.get("client_id", self._config.client_id) != self._config.client_id:
            raise OAuthError("invalid_client", f"the only client is {self._config.client_id!r}", status=401)
        return form


def _discovery(config: IdpConfig) -> dict[str, object]:
    issuer = config.oidc_issuer
    return {
        "issuer": issuer,
        "authorization_endpoint": f"{issuer}/auth",
        "token_endpoint": f"{issuer}/token",
        "device_authorization_endpoint": f"{issuer}/device/code",
        "jwks_uri": f"{issuer}/keys",
        "response_types_supported": ["code"],
        "grant_types_supported": [CODE_GRANT, DEVICE_GRANT],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256"],
        "code_challenge_methods_supported": ["S256"],
        "token_endpoint_auth_methods_supported": ["none", "client_secret_basic"],
        "scopes_supported": ["openid", "email"],
        "claims_supported": ["iss", "sub", "aud", "iat", "exp", "email", "email_verified", "nonce"],
    }


def _query(request: Request) -> dict[str, str]:
    return _fields(request.url.query)


def _fields(text: str) -> dict[str, str]:
    """Read form fields; of a repeated one the request means nothing clear, so it is refused."""
    try:
        pairs = parse_qsl(text, keep_blank_values=True, max_num_fields=MAX_FIELDS)
    except ValueError:
        raise MalformedInput(f"the form has more than {MAX_FIELDS} fields", code="malformed_form") from None
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise MalformedInput("the form has a field twice", code="malformed_form")
    return check_parameters(fields)


def _carried(parameters: dict[str, str]) -> dict[str, str]:
    return {name: parameters[name] for name in _CARRIED if name in parameters}


def _credentials(request: Request, scheme: str) -> str:
    kind, _, value = request.headers.get("authorization", "").partition(" ")
    return value.strip() if kind.lower() == scheme else ""


def _basic_client(credentials: str) -> str:
    try:
        return base64.b64decode(credentials, validate=True).decode().partition(":")[0]
    except ValueError:  # of base64, of its alphabet, or of UTF-8
        raise OAuthError("invalid_client", "the client's credentials are malformed", status=401) from None


def _json_errors(endpoint: _Endpoint) -> _Endpoint:
    """Answer errors as RFC 6749 section 5.2 has it."""

    async def guarded(request: Request) -> Response:
        try:
            return await endpoint(request)
        except HallmarkError as error:
            known = isinstance(error, OAuthError)
            answer = {
                "error": error.code if known else "invalid_request",
                "error_description": error.message,
            }
            return JSONResponse(answer, _status(error), headers={**_NO_STORE, **_retry(error)})

    return guarded


def _page_errors(endpoint: _Endpoint) -> _Endpoint:
    """Answer errors as a page."""

    async def guarded(request: Request) -> Response:
        try:
            return await endpoint(request)
        except HallmarkError as error:
            page = message_page("This does not work", error.message)
            return HTMLResponse(page, _status(error), headers={**page_headers(), **_retry(error)})

    return guarded


def _retry(error: HallmarkError) -> dict[str, str]:
    return {"retry-after": str(error.retry_after)} if isinstance(error, Overloaded) else {}


def _status(error: HallmarkError) -> int:
    if isinstance(error, OAuthError):
        return error.status
    if error.code == "body_too_large":
        return 413
    return 400 if isinstance(error, Unauthenticated) else status_of(error)[0]
