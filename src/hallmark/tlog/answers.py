"""What a Rekor v2 log answers, before HTTP or gRPC puts it on the wire."""

import base64
import json
from binascii import b2a_base64
from typing import Final

import msgspec

from hallmark.errors import (
    Frozen,
    HallmarkError,
    InvalidProof,
    MalformedInput,
    Overloaded,
    VerificationError,
)
from hallmark.ports import Appended
from hallmark.web.problems import error_info, status_of

FROZEN_TEXT: Final = "This log has been frozen, please switch to the latest log."
VERSION: Final = "0.0.2"

_UNKNOWN: Final = 2
_OWN_WORDS: Final = frozenset({"malformed_json", "malformed_base64"})
_FIXED_WORDS: Final[tuple[tuple[type[HallmarkError], str], ...]] = (
    (Frozen, "log frozen"),
    (Overloaded, "reached max pushback; retry"),
    (InvalidProof, "failed to integrate entry"),
)
_DSSE_LEAF: Final = b'{"apiVersion":"0.0.2","kind":"dsse"'


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """An answer to what was not logged: HTTP status, gRPC code, the protocol's words, and the real reason."""

    status: int
    grpc_code: int
    message: str
    details: tuple[dict[str, object], ...] = ()
    retry_after: int | None = None


class Refused(Exception):
    """Raised with the answer to a request that was not fulfilled."""

    def __init__(self, answer: Refusal) -> None:
        super().__init__(answer.message)
        self.answer = answer


def refusal(error: HallmarkError, kind: str, *, accept_dsse: bool) -> Refusal:
    """Answer an error in a request for an entry of this kind."""
    status, grpc_code = status_of(error)
    if isinstance(error, InvalidProof):
        status, grpc_code = 500, _UNKNOWN  # of the log's own tree: nothing that the caller has sent
    return Refusal(
        status=status,
        grpc_code=grpc_code,
        message=_message(error, kind, accept_dsse=accept_dsse),
        details=(error_info(error),),
        retry_after=error.retry_after if isinstance(error, Overloaded) else None,
    )


def _message(error: HallmarkError, kind: str, *, accept_dsse: bool) -> str:
    """The text that the protocol fixes; which check failed stands in the details."""
    if error.code == "body_too_large":
        return "http: request body too large"
    if error.code == "unsupported_entry":
        return f"invalid type, must be {'either hashedrekord or dsse' if accept_dsse else 'hashedrekord'}"
    for cause, words in _FIXED_WORDS:
        if isinstance(error, cause):
            return words
    if error.code in _OWN_WORDS or not isinstance(error, MalformedInput | VerificationError):
        return error.message
    return f"invalid {kind} request"


def duplicate_message(index: int) -> str:
    """The words for an entry that the log has already."""
    return f"an equivalent entry already exists in the transparency log with index {index}"


def kind_of_leaf(leaf: bytes) -> str:
    """Tell the kind of a logged entry."""
    return "dsse" if leaf.startswith(_DSSE_LEAF) else "hashedrekord"


class EntryPrinter:
    """Prints TransparencyLogEntry messages of one log, zero values included, as the gateway does."""

    def __init__(self, log_id: bytes) -> None:
        key_id = base64.b64encode(log_id).decode("ascii")
        self._checkpoint = b""
        self._envelope = b""
        self._middle = {
            kind: (
                f'","logId":{{"keyId":"{key_id}"}},"kindVersion":{{"kind":"{kind}","version":"{VERSION}"}},'
                '"integratedTime":"0","inclusionPromise":null,"inclusionProof":{"logIndex":"'
            ).encode()
            for kind in ("hashedrekord", "dsse")
        }

    def print(self, entry: Appended) -> bytes:
        """Print an entry that is no duplicate."""
        index = str(entry.index).encode()
        hashes = b",".join([b'"' + b2a_base64(item, newline=False) + b'"' for item in entry.proof])
        return b"".join(
            (
                b'{"logIndex":"',
                index,
                self._middle[kind_of_leaf(entry.leaf)],
                index,
                b'","rootHash":"',
                b2a_base64(entry.root, newline=False),
                b'","treeSize":"',
                str(entry.tree_size).encode(),
                b'","hashes":[',
                hashes,
                b'],"checkpoint":{"envelope":',
                self._print_envelope(entry.checkpoint),
                b'}},"canonicalizedBody":"',
                b2a_base64(entry.leaf, newline=False),
                b'"}',
            )
        )

    def _print_envelope(self, checkpoint: bytes) -> bytes:
        """Print a checkpoint once for all entries of its commit, which are answered one after another."""
        if checkpoint != self._checkpoint:
            self._envelope = json.dumps(checkpoint.decode(), ensure_ascii=False).encode()
            self._checkpoint = checkpoint
        return self._envelope
