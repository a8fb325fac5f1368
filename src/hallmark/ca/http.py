"""The authority's HTTP interface: version 2, and the calls of version 1 that older clients make.

It is the JSON mapping of a gRPC service, so field names come in camelCase or snake_case, unknown fields and
null are ignored, and the content type of a request does not matter. Statuses and messages are those that
clients know; the reason behind a message stands in the error's details.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractContextManager
from functools import partial
from typing import Final, TypeVar

import msgspec
from starlette.routing import BaseRoute, Route

from hallmark.ca.possession import KeyAndProof, SigningRequestCsr, SubjectKey
from hallmark.ca.service import CertificateAuthority, IssuedChain, token_flow
from hallmark.core.encoding.json_document import decode_value
from hallmark.core.encoding.protojson import parse_bytes
from hallmark.errors import HallmarkError, MalformedInput, Overloaded, Unauthenticated
from hallmark.web.asgi import (
    JSON,
    App,
    BodyBudget,
    Receive,
    Scope,
    Send,
    content_length,
    header,
    read_body,
    respond,
)
from hallmark.web.gate import Gate, peer_of
from hallmark.web.problems import error_info, grpc_problem, report_unexpected, status_of

logger = logging.getLogger("hallmark.ca")

MAX_VALUES: Final = 256  # of a request's JSON, which has ten: each costs microseconds of the event loop
PEM_CHAIN: Final = b"application/pem-certificate-chain"

_INVALID_ARGUMENT: Final = (400, 3)
_INTERNAL: Final = (500, 13)
_TOKEN_MESSAGE: Final = "There was an error processing the identity token"  # noqa: S105 - a message
_KEY_MESSAGE: Final = "The public key supplied in the request could not be parsed"
_ENDED: Final = "authority_not_valid"
_MESSAGES: Final[dict[str, tuple[tuple[int, int], str]]] = {
    "malformed_csr": (_INVALID_ARGUMENT, "The certificate signing request could not be parsed"),
    "malformed_key": (_INVALID_ARGUMENT, _KEY_MESSAGE),
    "weak_key": (_INVALID_ARGUMENT, "The public key supplied in the request is insecure"),
    "invalid_proof_of_possession": (
        _INVALID_ARGUMENT,
        "The signature supplied in the request could not be verified",
    ),
    "ctlog_failed": (_INTERNAL, "Error entering certificate in CTL"),
    "invalid_sct": (_INTERNAL, "Error entering certificate in CTL"),
    **dict.fromkeys(
        ("ca_backend_failed", "lint", "invalid_certificate", "invalid_signature"),
        (_INTERNAL, "error communicating with CA backend"),
    ),
}
_ALLOW_ORIGIN: Final = (b"access-control-allow-origin", b"*")
_PREFLIGHT: Final = (
    _ALLOW_ORIGIN,
    (b"access-control-allow-methods", b"GET, POST, HEAD"),
    (b"access-control-allow-headers", b"Accept, Content-Type, X-Requested-With"),
    (b"vary", b"Origin, Access-Control-Request-Method, Access-Control-Request-Headers"),
)


class _Answer(msgspec.Struct, frozen=True):
    body: bytes
    content_type: bytes = JSON
    status: int = 200


_T = TypeVar("_T")
_Handler = Callable[[Scope, Receive], Awaitable[_Answer]]


class _AuthorityRoute:
    """One path with one method, as a raw ASGI callable: CORS, the method, the errors."""

    def __init__(self, method: str, handler: _Handler) -> None:
        self._methods = {method, "HEAD"} if method == "GET" else {method}
        self._handler = handler

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] == "OPTIONS":
            await respond(send, 204, b"", headers=_PREFLIGHT)
            return
        if scope["method"] not in self._methods:
            await _send_problem(send, (501, 12), "Method Not Allowed")
            return
        try:
            answer = await self._handler(scope, receive)
        except HallmarkError as error:
            await _send_error(send, error)
        except Exception as error:  # noqa: BLE001 - the last line of defence: log it, tell nothing
            request_id = report_unexpected(error, "ca")
            await _send_problem(send, _INTERNAL, f"internal error, request {request_id}")
        else:
            await respond(
                send,
                answer.status,
                b"" if scope["method"] == "HEAD" else answer.body,
                content_type=answer.content_type,
                headers=(_ALLOW_ORIGIN,),
            )


def hot_routes(service: CertificateAuthority) -> dict[str, App]:
    """Give the calls that issue as raw ASGI callables, by path."""
    intake = _Intake(service)
    return {
        "/api/v2/signingCert": _AuthorityRoute("POST", partial(_sign_v2, intake)),
        "/api/v1/signingCert": _AuthorityRoute("POST", partial(_sign_v1, intake)),
    }


def routes(service: CertificateAuthority, hot: Mapping[str, App] | None = None) -> list[BaseRoute]:
    """Give every route of the authority; `hot` are its own hot routes."""
    hot = hot_routes(service) if hot is None else hot
    bundle = msgspec.json.encode({"chains": [{"certificates": service.chain}]})
    configuration = msgspec.json.encode({"issuers": _configuration(service)})
    root = "".join(service.chain).encode()
    fixed = {
        "/api/v2/trustBundle": _Answer(bundle),
        "/api/v2/configuration": _Answer(configuration),
        "/api/v1/rootCert": _Answer(root, PEM_CHAIN),
    }
    return [
        *(Route(path, app) for path, app in hot.items()),
        *(Route(path, _AuthorityRoute("GET", partial(_give, answer))) for path, answer in fixed.items()),
    ]


class _Credentials(msgspec.Struct, frozen=True):
    token: str | None = msgspec.field(default=None, name="oidcIdentityToken")
    token_snake: str | None = msgspec.field(default=None, name="oidc_identity_token")


class _Key(msgspec.Struct, frozen=True):
    content: str | None = None


class _KeyRequest(msgspec.Struct, frozen=True):
    key: _Key | None = msgspec.field(default=None, name="publicKey")
    key_snake: _Key | None = msgspec.field(default=None, name="public_key")
    proof: str | None = msgspec.field(default=None, name="proofOfPossession")
    proof_snake: str | None = msgspec.field(default=None, name="proof_of_possession")


class _RequestV2(msgspec.Struct, frozen=True):
    credentials: _Credentials | None = None
    key: _KeyRequest | None = msgspec.field(default=None, name="publicKeyRequest")
    key_snake: _KeyRequest | None = msgspec.field(default=None, name="public_key_request")
    csr: str | None = msgspec.field(default=None, name="certificateSigningRequest")
    csr_snake: str | None = msgspec.field(default=None, name="certificate_signing_request")


class _RequestV1(msgspec.Struct, frozen=True):
    key: _Key | None = msgspec.field(default=None, name="publicKey")
    proof: str | None = msgspec.field(default=None, name="signedEmailAddress")
    csr: str | None = msgspec.field(default=None, name="certificateSigningRequest")


class _Intake:
    """What stands before the authority: bounds on bodies and on calls."""

    def __init__(self, service: CertificateAuthority) -> None:
        self.service = service
        self._config = service.config
        self._budget = BodyBudget(service.config.max_body_bytes_in_flight)
        self._gate = Gate(service.config.max_calls, "signing requests")

    def entered(self, scope: Scope, token: str) -> AbstractContextManager[None]:
        """Hold a place for a call, of those for its address or, where that says nothing, for its token.

        Raises `Overloaded`.
        """
        return self._gate.entered(peer_of(scope) or token_flow(token))

    async def read(self, kind: type[_T], scope: Scope, receive: Receive) -> _T:
        """Read the request's body as a message."""
        flow = f"certificates {peer_of(scope)}"
        await self.service.turns.arrive(flow)
        with self._budget.hold() as hold:
            body = await read_body(
                receive,
                self._config.max_body_bytes,
                hold=hold,
                seconds=self._config.body_timeout,
                announced=content_length(scope),
            )
            return await self.service.turns.heavy(partial(_decode, kind, body), flow)


async def _give(answer: _Answer, _scope: Scope, _receive: Receive) -> _Answer:
    return answer


async def _sign_v2(intake: _Intake, scope: Scope, receive: Receive) -> _Answer:
    request = await intake.read(_RequestV2, scope, receive)
    credentials = request.credentials or _Credentials()
    token = credentials.token or credentials.token_snake or _bearer_token(scope)
    with intake.entered(scope, token):
        issued = await intake.service.issue_certificate(token, _subject_v2(request))
    chain = [pem.strip() for pem in (issued.certificate, *issued.issuers)]
    return _Answer(msgspec.json.encode({"signedCertificateEmbeddedSct": {"chain": {"certificates": chain}}}))


async def _sign_v1(intake: _Intake, scope: Scope, receive: Receive) -> _Answer:
    request = await intake.read(_RequestV1, scope, receive)
    subject: SubjectKey
    if request.csr:
        subject = SigningRequestCsr(parse_bytes(request.csr, what="certificateSigningRequest"))
    else:
        content = (request.key and request.key.content) or ""
        subject = KeyAndProof(
            parse_bytes(content, what="publicKey.content"),
            parse_bytes(request.proof or "", what="signedEmailAddress"),
        )
    token = _bearer_token(scope)
    with intake.entered(scope, token):
        issued = await intake.service.issue_certificate(token, subject)
    return _Answer(_print_chain(issued), PEM_CHAIN, 201)


def _subject_v2(request: _RequestV2) -> SubjectKey:
    key, csr = request.key or request.key_snake, request.csr or request.csr_snake
    if key is not None and csr is not None:
        raise MalformedInput("publicKeyRequest and certificateSigningRequest exclude each other")
    if csr is not None:
        return SigningRequestCsr(parse_bytes(csr, what="certificateSigningRequest"))
    key = key or _KeyRequest()
    public_key = key.key or key.key_snake or _Key()
    proof = parse_bytes(key.proof or key.proof_snake or "", what="proofOfPossession")
    return KeyAndProof((public_key.content or "").encode(), proof)


def _bearer_token(scope: Scope) -> str:
    """Read the Authorization header; older clients send the bare token without `Bearer`."""
    value = header(scope, b"authorization") or b""
    return value.decode("latin-1").replace("Bearer ", "", 1)


def _decode(kind: type[_T], body: bytes) -> _T:
    value = decode_value(body, what="the signing request", max_bytes=len(body), max_values=MAX_VALUES)
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise MalformedInput(f"the body is not a signing request: {error}") from None


def _print_chain(issued: IssuedChain) -> bytes:
    return "".join((issued.certificate, *issued.issuers)).strip().encode()


def _configuration(service: CertificateAuthority) -> list[dict[str, object]]:
    return [
        {
            "issuerUrl": issuer.url,
            "audience": issuer.audience,
            "challengeClaim": issuer.issuer_type.name_claim,
            "spiffeTrustDomain": "",
            "issuerType": issuer.issuer_type.name,
            "subjectDomain": "",
            "skipEmailVerification": False,
        }
        for issuer in service.issuers.all
    ]


async def _send_error(send: Send, error: HallmarkError) -> None:
    status, message = _problem_of(error)
    if error.code == _ENDED:  # no secret, and nothing that the caller could change: say it as it is
        logger.error("no certificate can be issued: %s", error.message)
    elif status[0] >= 500 and not isinstance(error, Overloaded):
        request_id = report_unexpected(error, "ca")
        await _send_problem(send, status, f"{message} (request {request_id})")
        return
    hint = {"hint": error.hint} if error.hint else {}
    retry = [(b"retry-after", str(error.retry_after).encode())] if isinstance(error, Overloaded) else []
    body = grpc_problem(status[1], message, [error_info(error, **hint)])
    await respond(send, status[0], body, headers=[_ALLOW_ORIGIN, *retry])


def _problem_of(error: HallmarkError) -> tuple[tuple[int, int], str]:
    if isinstance(error, Unauthenticated):
        return _INVALID_ARGUMENT, _TOKEN_MESSAGE
    if error.code == _ENDED:
        return _INTERNAL, f"error communicating with CA backend: {error.message}"
    if error.code in _MESSAGES:
        return _MESSAGES[error.code]
    status = status_of(error)
    return (_INVALID_ARGUMENT if status[0] < 500 else status), error.message


async def _send_problem(send: Send, status: tuple[int, int], message: str) -> None:
    await respond(send, status[0], grpc_problem(status[1], message), headers=(_ALLOW_ORIGIN,))
