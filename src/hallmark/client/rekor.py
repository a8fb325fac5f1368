"""The transparency log's client (Rekor v2, `POST /api/v2/log/entries`; v1 is in `rekor_v1`)."""

import re
from typing import Any, Final, Protocol

import msgspec

from hallmark.client.http import Answer, HttpClient, refused
from hallmark.core.algorithms import HashAlgorithm
from hallmark.core.dsse import Envelope
from hallmark.core.encoding.protojson import format_bytes
from hallmark.core.transparency_log_entry import TransparencyLogEntry, parse_transparency_log_entry
from hallmark.errors import MalformedInput, RemoteError

SERVICE: Final = "the transparency log"
LOG_FROZEN: Final = "log_frozen"
_FROZEN_HINT: Final = (
    "the log was rotated: fetch the trust material again (for a context: hallmark context update), "
    "then sign again"
)
_INDEX: Final = re.compile(r"[0-9]{1,19}", re.ASCII)


class Submission(msgspec.Struct, frozen=True, kw_only=True):
    """A signature to be logged: over `digest`, by the key in `certificate` (DER).

    For an attestation the digest is of the envelope's PAE, and `envelope` stands beside it for logs that
    want it whole.
    """

    digest: bytes
    hash_algorithm: HashAlgorithm
    signature: bytes
    certificate: bytes
    key_details: str
    envelope: Envelope | None = None


class LogClient(Protocol):
    """A transparency log: submitting the same signature twice gives the one entry."""

    url: str

    def submit(self, submission: Submission) -> TransparencyLogEntry:
        """Log a signature; raises `RemoteError`. What comes back is not verified."""
        ...


class RekorV2Client:
    """Submits to one Rekor v2 log."""

    def __init__(self, url: str, http: HttpClient) -> None:
        self.url = url
        self._url = url.rstrip("/") + "/api/v2/log/entries"
        self._http = http

    def submit(self, submission: Submission) -> TransparencyLogEntry:
        """Log a signature; the same one again gives the entry that is there. Raises `RemoteError`."""
        answer = self._http.post(
            self._url,
            msgspec.json.encode(_request(submission)),
            service=SERVICE,
            headers={"Content-Type": "application/json", "Accept": "application/json"},
            idempotent=True,
        )
        if answer.status == 409:
            answer = self._existing(answer)
        if answer.status not in {200, 201}:
            raise _refused(answer, self._url)
        return _parse_entry(answer.body)

    def _existing(self, conflict: Answer) -> Answer:
        """An attempt whose answer was lost has been logged: fetch that entry."""
        location = conflict.headers.get("location", "").rstrip("/").rpartition("/")[2]
        index = conflict.headers.get("x-log-index") or location
        if not _INDEX.fullmatch(index):
            raise refused(conflict, service=SERVICE, url=self._url)
        return self._http.get(f"{self._url}/{index}", service=SERVICE)

    def fetch(self, log_index: int) -> TransparencyLogEntry:
        """Fetch an entry again, proved against the log's newest checkpoint; raises `RemoteError`.

        Not part of Rekor v2: a log that does not have it answers 404 or 405.
        """
        url = f"{self._url}/{log_index}"
        answer = self._http.get(url, service=SERVICE)
        if answer.status != 200:
            raise refused(answer, service=SERVICE, url=url)
        return _parse_entry(answer.body)


def _refused(answer: Answer, url: str) -> RemoteError:
    """Tell a log that is frozen from whatever else answers 405: rekor-tiles says it in these words."""
    error = refused(answer, service=SERVICE, url=url)
    if answer.status != 405 or "frozen" not in error.message:
        return error
    return RemoteError(error.message, code=LOG_FROZEN, hint=_FROZEN_HINT)


def _request(submission: Submission) -> dict[str, Any]:
    verifier = {
        "x509Certificate": {"rawBytes": format_bytes(submission.certificate)},
        "keyDetails": submission.key_details,
    }
    signature = {"content": format_bytes(submission.signature), "verifier": verifier}
    return {"hashedRekordRequestV002": {"digest": format_bytes(submission.digest), "signature": signature}}


def _parse_entry(body: bytes) -> TransparencyLogEntry:
    try:
        return parse_transparency_log_entry(body)
    except MalformedInput as error:
        raise RemoteError(f"{SERVICE} answered with no entry: {error}", code="malformed_answer") from None
