"""The timestamp authority's client (RFC 3161 over HTTP)."""

import secrets
from typing import Final

from hallmark.client.http import HttpClient, refused
from hallmark.core.algorithms import SHA2_256
from hallmark.core.timestamp import build_request, parse_timestamp
from hallmark.errors import HallmarkError, RemoteError

SERVICE: Final = "the timestamp authority"
API_VERSIONS: Final = (1,)
_MAX_RESPONSE_BYTES: Final = 64 << 10


class TimestampClient:
    """Asks one timestamp authority; `url` is the full URL to post to."""

    def __init__(self, url: str, http: HttpClient) -> None:
        self._url = url
        self._http = http

    def fetch(self, message: bytes) -> bytes:
        """Ask for a timestamp over `message`; the bytes of a TimeStampResp, not yet verified.

        Certificates are not asked for: the trusted root has them. Raises `RemoteError`.
        """
        nonce = secrets.randbits(63)
        query = build_request(SHA2_256.digest(message), nonce=nonce)
        answer = self._http.request(
            "POST",
            self._url,
            service=SERVICE,
            idempotent=True,
            body=query,
            headers={"Content-Type": "application/timestamp-query"},
            max_bytes=_MAX_RESPONSE_BYTES,
        )
        if answer.status not in {200, 201}:
            raise refused(answer, service=SERVICE, url=self._url)
        _check_nonce(answer.body, nonce)
        return answer.body


def _check_nonce(response: bytes, nonce: int) -> None:
    """The nonce binds the answer to this question: without it an old answer could be played back."""
    try:
        found = parse_timestamp(response).nonce
    except HallmarkError as error:
        raise RemoteError(f"{SERVICE} gave no timestamp: {error}", code="malformed_answer") from None
    if found != nonce:
        raise RemoteError(f"{SERVICE} answered another question than ours", code="malformed_answer")
