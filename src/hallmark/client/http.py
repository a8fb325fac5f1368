"""One HTTP client for all services: bounded in time and size, and honest about who failed.

A service that cannot be reached, answers nonsense or breaks off is a `RemoteError` that names it. Answers
with an error status are returned: what they mean is the caller's business (see `refused`).
"""

import os
import random
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from http.client import HTTPException
from threading import Lock
from typing import Final
from urllib.parse import unquote, urljoin, urlsplit

import msgspec
import urllib3
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    LocationParseError,
    NameResolutionError,
    NewConnectionError,
    ProxyError,
    ReadTimeoutError,
    SSLError,
)

from hallmark.client.bounded_connections import bounded_pools
from hallmark.client.proxies import find_proxy
from hallmark.errors import ConfigurationError, RemoteError

MAX_ANSWER_BYTES: Final = 16 << 20
_CHUNK: Final = 64 << 10
_CONNECTIONS: Final = 16  # as many as the threads of one signer
_ATTEMPTS: Final = 4
_MAX_REDIRECTS: Final = 3
_MAX_PAUSE_SECONDS: Final = 10.0
_PASSING_FAULTS: Final = frozenset({429, 502, 503, 504})
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})


class Answer(msgspec.Struct, frozen=True):
    """A service's whole answer; header names are lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


class ServerClock(msgspec.Struct, frozen=True):
    """How far this machine's clock is ahead of a server's, to a second or two."""

    host: str
    ahead: timedelta


class HttpClient:
    """Talks http and https; safe to share between threads.

    `timeout_seconds` bounds each step (connect, each read), `deadline_seconds` a call with all its retries;
    what a service answers is the call's answer once `patience_seconds` have passed, even if that is "later".
    TLS trusts what the operating system trusts; `SSL_CERT_FILE` names other authorities, as in OpenSSL.
    Proxies are those of `environment`, by default the process's own. `clock` compares with the service that
    answered last.
    """

    def __init__(
        self,
        *,
        timeout_seconds: float = 10.0,
        deadline_seconds: float = 60.0,
        patience_seconds: float = 15.0,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._deadline_seconds = deadline_seconds
        self._patience_seconds = patience_seconds
        self._timeout = urllib3.Timeout(connect=timeout_seconds, read=timeout_seconds)
        self._environment = os.environ if environment is None else environment
        self._pools: dict[str | None, urllib3.PoolManager] = {}
        self._lock = Lock()
        self.clock: ServerClock | None = None

    def get(self, url: str, *, service: str, max_bytes: int = MAX_ANSWER_BYTES) -> Answer:
        """Fetch a URL; follows redirects to the same host only."""
        return self.request("GET", url, service=service, idempotent=True, max_bytes=max_bytes)

    def post(
        self, url: str, body: bytes, *, service: str, headers: Mapping[str, str], idempotent: bool
    ) -> Answer:
        """Post a body; only an `idempotent` request is repeated once it may have reached the service."""
        return self.request("POST", url, service=service, body=body, headers=headers, idempotent=idempotent)

    def request(
        self,
        method: str,
        url: str,
        *,
        service: str,
        idempotent: bool,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        max_bytes: int = MAX_ANSWER_BYTES,
    ) -> Answer:
        """Do one request, with retries; raises `RemoteError`, naming `service`, when there is no answer."""
        _check_url(url, service)
        request = _Request(
            method=method,
            url=url,
            service=service,
            body=body,
            headers=dict(headers or {}),
            max_bytes=max_bytes,
            deadline=time.monotonic() + self._deadline_seconds,
        )
        attempt = 0
        while True:  # until `_pause` says that there is no other attempt
            attempt += 1
            try:
                answer = self._follow(request)
            except (HTTPError, HTTPException, OSError, _BrokenAnswer) as fault:
                repeat = idempotent or isinstance(fault, NewConnectionError | ConnectTimeoutError)
                if not repeat or not _pause(attempt, request.deadline, ""):
                    raise _unreachable(service, url, fault) from None
                continue
            if not _passing(answer, idempotent=idempotent):
                return answer
            patience = request.deadline - self._deadline_seconds + self._patience_seconds
            if not _pause(attempt, patience, answer.headers.get("retry-after", "")):
                return answer

    def _follow(self, request: "_Request") -> Answer:
        for _ in range(_MAX_REDIRECTS + 1):
            answer = self._once(request)
            location = answer.headers.get("location", "")
            if request.method != "GET" or answer.status not in _REDIRECTS or not location:
                return answer
            target = _redirected(request.url, location, request.service)
            request = msgspec.structs.replace(request, url=target)
        raise RemoteError(
            f"{request.service} redirects more than {_MAX_REDIRECTS} times, last to {request.url}",
            code="bad_redirect",
        )

    def _once(self, request: "_Request") -> Answer:
        response = self._pool(request.url).request(
            request.method,
            request.url,
            body=request.body,
            headers={"User-Agent": "hallmark", **request.headers},
            retries=False,
            redirect=False,
            preload_content=False,
        )
        try:
            content = b"".join(_bounded(response, request.max_bytes, request.deadline))
        except BaseException:
            response.close()  # what is left of the answer must not be taken for the next one
            raise
        response.release_conn()
        self._note_clock(request.url, response.headers.get("date", ""))
        return Answer(response.status, {k.lower(): v for k, v in response.headers.items()}, content)

    def _pool(self, url: str) -> urllib3.PoolManager:
        proxy = find_proxy(url, self._environment)
        with self._lock:
            if proxy not in self._pools:
                self._pools[proxy] = self._new_pool(proxy)
            return self._pools[proxy]

    def _new_pool(self, proxy: str | None) -> urllib3.PoolManager:
        pool = self._open_pool(proxy)
        pool.pool_classes_by_scheme = bounded_pools(self._deadline_seconds)
        return pool

    def _open_pool(self, proxy: str | None) -> urllib3.PoolManager:
        if proxy is None:
            return urllib3.PoolManager(maxsize=_CONNECTIONS, timeout=self._timeout)
        who = urlsplit(proxy)
        login = f"{unquote(who.username)}:{unquote(who.password or '')}" if who.username else None
        headers = urllib3.make_headers(proxy_basic_auth=login)
        return urllib3.ProxyManager(proxy, maxsize=_CONNECTIONS, timeout=self._timeout, proxy_headers=headers)

    def _note_clock(self, url: str, date: str) -> None:
        try:
            told = parsedate_to_datetime(date)
        except ValueError:
            return
        if told.tzinfo is not None:
            self.clock = ServerClock(urlsplit(url).netloc, datetime.now(UTC) - told)


class _Request(msgspec.Struct, frozen=True, kw_only=True):
    method: str
    url: str
    service: str
    body: bytes | None
    headers: dict[str, str]
    max_bytes: int
    deadline: float


class _BrokenAnswer(Exception):
    """The answer is too large, or came too slowly."""


def _bounded(response: urllib3.BaseHTTPResponse, max_bytes: int, deadline: float) -> Iterator[bytes]:
    """Read by what has arrived: a read that waits for a full chunk would let a slow answer last for ever."""
    total = 0
    while chunk := response.read1(_CHUNK, decode_content=True):
        total += len(chunk)
        if total > max_bytes:
            raise _BrokenAnswer(f"the answer has more than {max_bytes} bytes")
        if time.monotonic() > deadline:
            raise _BrokenAnswer("the answer took too long")
        yield chunk


def _check_url(url: str, service: str) -> None:
    try:
        parts = urlsplit(url)
    except ValueError:  # brackets that do not close, or letters that hide a slash
        parts = urlsplit("")
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.username is not None:
        raise ConfigurationError(
            f"{url!r} is not an address of {service}",
            code="bad_url",
            hint="an address looks like https://host or http://127.0.0.1:8080",
        )


def _redirected(url: str, location: str, service: str) -> str:
    """A redirect may not leave the host: whoever answers there is not whom the user named."""
    here = urlsplit(url)
    try:
        target = urljoin(url, location)
        there = urlsplit(target)
    except ValueError:
        raise RemoteError(
            f"{service} at {here.netloc} redirects to no address, {location[:200]!r}", code="bad_redirect"
        ) from None
    if (here.scheme, here.netloc) != (there.scheme, there.netloc):
        raise RemoteError(
            f"{service} at {here.netloc} redirects to another host, {there.netloc or location!r}",
            code="bad_redirect",
            hint="use the address it redirects to, if you trust it",
        )
    return target


def _passing(answer: Answer, *, idempotent: bool) -> bool:
    """429 and 503 say that nothing was done; 502 and 504 leave that open."""
    return answer.status in (_PASSING_FAULTS if idempotent else {429, 503})


def _pause(attempt: int, deadline: float, retry_after: str) -> bool:
    """Wait before the next attempt; False where there is none."""
    asked = float(retry_after) if retry_after.isascii() and retry_after.isdigit() else 0.0
    growing = 0.2 * 2**attempt * (0.5 + random.random() / 2)  # noqa: S311 - spreads retries, guards nothing
    pause = max(asked, growing)
    if attempt >= _ATTEMPTS or pause > _MAX_PAUSE_SECONDS or time.monotonic() + pause > deadline:
        return False
    time.sleep(pause)
    return True


def _unreachable(service: str, url: str, fault: BaseException) -> RemoteError:
    host = urlsplit(url).netloc
    reason, hint = _describe(fault)
    return RemoteError(f"{service} at {host} failed: {reason}", code="service_unreachable", hint=hint)


_FAULTS: Final[tuple[tuple[type[BaseException] | tuple[type[BaseException], ...], str, str], ...]] = (
    (
        ProxyError,
        "the proxy of the environment cannot be reached, or does not let it through",
        "see the environment variables https_proxy, http_proxy and no_proxy",
    ),
    (NameResolutionError, "the host name is not known", "check the address and your network"),
    (NewConnectionError, "nothing answers there", "is the service running, and is the address right?"),
    ((ConnectTimeoutError, ReadTimeoutError), "it does not answer in time", "is the service running?"),
    (TimeoutError, "it does not answer in time", "is the service running?"),
    (LocationParseError, "the address is malformed", "check the address"),
)


def _describe(fault: BaseException) -> tuple[str, str]:
    """Say what went wrong and what to do; the first row that fits counts."""
    if isinstance(fault, SSLError):
        return f"TLS: {one_line(str(fault))}", "SSL_CERT_FILE names a file with your own authorities"
    if isinstance(fault, _BrokenAnswer):
        return str(fault), "try again; if it stays so, tell the operator of the service"
    for kind, reason, hint in _FAULTS:
        if isinstance(fault, kind):
            return reason, hint
    return "the connection broke", "try again"


def refused(answer: Answer, *, service: str, url: str) -> RemoteError:
    """Describe an answer with an error status as an error that names the service and its reason."""
    host = urlsplit(url).netloc
    reason = problem_text(answer.body)
    text = f"{service} at {host} answered {answer.status}" + (f": {reason}" if reason else "")
    if answer.status >= 500 or answer.status == 429:
        return RemoteError(text, code="service_failed", hint=_hint(answer.body) or "try again later")
    if answer.status == 404:
        return RemoteError(text, code="service_not_found", hint="is this the address of the service?")
    return RemoteError(text, code="request_refused", hint="")


class _ErrorInfo(msgspec.Struct, frozen=True):
    metadata: dict[str, str] = {}


class _Problem(msgspec.Struct, frozen=True):
    message: str = ""
    details: list[_ErrorInfo] = []
    error: str = ""
    error_description: str = ""


def problem_text(body: bytes) -> str:
    """Find the reason in an error body: grpc-gateway's, OAuth's or plain text; one line, bounded."""
    try:
        problem = msgspec.json.decode(body, type=_Problem)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return one_line(body[:400].decode("utf-8", "replace")) if not body.startswith(b"<") else ""
    reasons = [problem.message or problem.error, problem.error_description]
    reasons += [item.metadata.get("message", "") for item in problem.details[:4]]
    said: list[str] = []
    for reason in reasons:
        if reason and not any(
            reason in earlier for earlier in said
        ):  # a message often ends with its detail's
            said.append(reason)
    return one_line("; ".join(said))


def _hint(body: bytes) -> str:
    """Find what a Hallmark service says can be done about its error."""
    try:
        problem = msgspec.json.decode(body, type=_Problem)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return ""
    return one_line(
        next((item.metadata["hint"] for item in problem.details[:4] if "hint" in item.metadata), "")
    )


def one_line(text: str) -> str:
    """Make text of others fit for a line on a terminal: nothing but printable characters, at most 300."""
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())[:300]
