"""Talks to one witness (C2SP tlog-witness): sends a checkpoint with its proof, checks what comes back."""

import time
from collections.abc import Callable, Sequence
from typing import Final

import msgspec
import urllib3
from urllib3.exceptions import HTTPError

from hallmark.core.checkpoint import Checkpoint
from hallmark.core.cosignature import Cosignature, find_cosignature
from hallmark.core.note import Note, parse_signature_lines
from hallmark.core.witness_policy import PolicyWitness
from hallmark.errors import InvalidSignature, RemoteError
from hallmark.tiledlog.witnessing import Prove
from hallmark.witness.config import AskingConfig
from hallmark.witness.requests import SIZE_TYPE, parse_size, print_add_checkpoint

MAX_ANSWER_BYTES: Final = 64 * 1024
_CHUNK: Final = 16 * 1024
_FIRST_PAUSE: Final = 0.1

Monotonic = Callable[[], float]


class Request(msgspec.Struct, frozen=True):
    """One checkpoint that wants cosignatures; `deadline` on the monotonic clock."""

    note: Note
    data: bytes
    checkpoint: Checkpoint
    prove: Prove
    deadline: float


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
        self._url = witness.url.rstrip("/") + "/add-checkpoint"
        self._pool = pool
        self._config = config
        self._monotonic = monotonic
        self._size = 0
        self._failures = 0
        self._not_before = 0.0
        self.busy = False

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
            raise RemoteError(
                f"it has cosigned size {old} of this log, which now has {new}: was an old copy restored?",
                code="witness_ahead",
            )
        proof: Sequence[bytes] = request.prove(old) if 0 < old < new else ()
        left = request.deadline - self._monotonic()
        if left <= 0:
            raise RemoteError("there was no time left to ask again", code="witness_too_slow")
        try:
            return self._send(print_add_checkpoint(old, proof, request.data), request.deadline, left)
        except (HTTPError, OSError) as error:
            raise RemoteError(
                f"it cannot be asked: {type(error).__name__}", code="witness_unreachable"
            ) from None

    def _send(self, body: bytes, deadline: float, left: float) -> tuple[int, str, bytes]:
        response = self._pool.request(
            "POST",
            self._url,
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


def _printable(body: bytes) -> str:
    text = body[:200].decode("utf-8", "replace")
    return "".join(char if char.isprintable() else " " for char in text).strip()
