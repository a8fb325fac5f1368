"""Talks to one witness (C2SP tlog-witness): sends a checkpoint with its proof, checks what comes back."""

import hashlib
import time
from collections.abc import Callable, Sequence
from typing import Final

import msgspec
import urllib3
from urllib3.exceptions import HTTPError

from hallmark.core.checkpoint import Checkpoint, parse_checkpoint
from hallmark.core.cosignature import Cosignature, find_cosignature
from hallmark.core.note import Note, parse_note, parse_signature_lines
from hallmark.core.witness_policy import PolicyWitness
from hallmark.errors import InvalidSignature, MalformedInput, RemoteError
from hallmark.tiledlog.witnessing import Prove
from hallmark.witness.config import AskingConfig
from hallmark.witness.requests import SIZE_TYPE, parse_size, print_add_checkpoint

MAX_ANSWER_BYTES: Final = 64 * 1024
_CHUNK: Final = 16 * 1024
_FIRST_PAUSE: Final = 0.1

Monotonic = Callable[[], float]


class Request(msgspec.Struct, frozen=True):
    """One checkpoint that wants cosignatures; `deadline` on the monotonic clock.

    `ahead` collects the larger checkpoints of the log that witnesses show, not verified.
    """

    note: Note
    data: bytes
    checkpoint: Checkpoint
    prove: Prove
    deadline: float
    ahead: list[bytes] = msgspec.field(default_factory=list)


class Sighting(msgspec.Struct, frozen=True):
    """What a witness has seen of a log: a size that it states, and its note where it shows one.

    The size is 0 for a log it has not seen. The note is not verified. `other` says that it has cosigned
    another tree of the size it was asked about.
    """

    witness: str
    size: int
    note: bytes = b""
    other: bool = False


class WitnessClient:
    """Talks to one witness. Remembers its size of the log, so that a round is one request as a rule.

    One thread at a time asks; `busy` says that one does, maybe for longer than its round.
    """

    def __init__(
        self,
        witness: PolicyWitness,
        pool: urllib3.PoolManager,
        config: AskingConfig,
        monotonic: Monotonic = time.monotonic,
    ) -> None:
        self.name = witness.name
        self._key = witness.key
        self._base = witness.url.rstrip("/")
        self._pool = pool
        self._config = config
        self._monotonic = monotonic
        self._size = 0
        self._failures = 0
        self._not_before = 0.0
        self.busy = False

    def look(self, request: Request) -> Sighting:
        """Learn how far this witness has seen the log; raises `RemoteError` where it does not tell.

        First by the newest checkpoint it shows (not every witness does), then by what it says to this one.
        """
        size = request.checkpoint.size
        note = self._newest(request)
        if note:
            return Sighting(self.name, _stated_size(note), note)
        status, content_type, body = self._send(
            print_add_checkpoint(size, (), request.data), request.deadline
        )
        if status == 409:
            stated = content_type == SIZE_TYPE
            return Sighting(self.name, parse_size(body) if stated else size, other=not stated)
        if status in (200, 404):
            return Sighting(self.name, size if status == 200 else 0)
        raise RemoteError(f"it answered {status}: {_printable(body)}", code="witness_unreachable")

    def is_ready(self) -> bool:
        """Say whether it is worth asking now."""
        return not self.busy and self._monotonic() >= self._not_before

    def fetch(self, request: Request) -> Cosignature:
        """Get a cosignature; raises `HallmarkError` where there is none, and remembers to pause then."""
        try:
            cosignature = self._fetch(request)
        except BaseException:
            pause = min(_FIRST_PAUSE * 2 ** min(self._failures, 16), self._config.longest_pause)
            self._failures += 1
            self._not_before = self._monotonic() + pause
            raise
        self._failures = 0
        self._size = request.checkpoint.size
        return cosignature

    def _fetch(self, request: Request) -> Cosignature:
        status, content_type, body = self._post(request)
        if status == 409 and content_type == SIZE_TYPE:
            self._size = parse_size(body)
            status, content_type, body = self._post(request)
        if status != 200:
            raise RemoteError(f"it answered {status}: {_printable(body)}", code="cosignature_refused")
        answer = Note(request.note.text, parse_signature_lines(body.decode("utf-8", "replace")))
        found = find_cosignature(answer, request.checkpoint, self._key)
        if found is None or found.timestamp == 0:
            raise InvalidSignature(f"it did not sign with the key {self._key.name}", code="unsigned_note")
        return found

    def _post(self, request: Request) -> tuple[int, str, bytes]:
        old, new = self._size, request.checkpoint.size
        if old > new:
            if note := self._newest(request):
                request.ahead.append(note)
            raise RemoteError(
                f"it has cosigned size {old} of this log, which now has {new}: was an old copy restored?",
                code="witness_ahead",
            )
        proof: Sequence[bytes] = request.prove(old) if 0 < old < new else ()
        return self._send(print_add_checkpoint(old, proof, request.data), request.deadline)

    def _newest(self, request: Request) -> bytes:
        """Fetch the newest checkpoint of the log that it has cosigned; nothing where it shows none."""
        name = hashlib.sha256(request.checkpoint.origin.encode()).hexdigest()
        status, _, body = self._exchange("GET", f"/{name}/checkpoint", None, request.deadline)
        return body if status == 200 else b""

    def _send(self, body: bytes, deadline: float) -> tuple[int, str, bytes]:
        return self._exchange("POST", "/add-checkpoint", body, deadline)

    def _exchange(
        self, method: str, path: str, body: bytes | None, deadline: float
    ) -> tuple[int, str, bytes]:
        left = deadline - self._monotonic()
        if left <= 0:
            raise RemoteError("there was no time left to ask again", code="witness_too_slow")
        try:
            return self._request(method, path, body, deadline, left)
        except (HTTPError, OSError) as error:
            raise RemoteError(
                f"it cannot be asked: {type(error).__name__}", code="witness_unreachable"
            ) from None

    def _request(
        self, method: str, path: str, body: bytes | None, deadline: float, left: float
    ) -> tuple[int, str, bytes]:
        response = self._pool.request(
            method,
            self._base + path,
            body=body,
            headers={"Content-Type": "text/plain; charset=utf-8", "User-Agent": "hallmark"},
            timeout=urllib3.Timeout(total=left),
            retries=False,
            redirect=False,
            preload_content=False,
        )
        try:
            content = self._read(response, deadline)
        except BaseException:
            response.close()  # what is left of the answer must not be taken for the next one
            raise
        response.release_conn()
        return response.status, response.headers.get("Content-Type", ""), content

    def _read(self, response: urllib3.BaseHTTPResponse, deadline: float) -> bytes:
        parts: list[bytes] = []
        total = 0
        while part := response.read1(_CHUNK, decode_content=False):
            total += len(part)
            parts.append(part)
            if total > MAX_ANSWER_BYTES or self._monotonic() > deadline:
                raise RemoteError("its answer is too long or too slow", code="malformed_answer")
        return b"".join(parts)


def _stated_size(note: bytes) -> int:
    try:
        return parse_checkpoint(parse_note(note).text).size
    except MalformedInput as error:
        raise RemoteError(f"its checkpoint is malformed: {error.message}", code="malformed_answer") from None


def _printable(body: bytes) -> str:
    text = body[:200].decode("utf-8", "replace")
    return "".join(char if char.isprintable() else " " for char in text).strip()
