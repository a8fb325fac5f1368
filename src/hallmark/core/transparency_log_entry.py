"""Transparency log entries (protobuf-specs `dev.sigstore.rekor.v1.TransparencyLogEntry`).

What Rekor v2 answers to a submission, and what a bundle carries as proof of it. Nothing here is verified.
"""

from typing import Final

import msgspec

from hallmark.core.encoding.message import Int, Message, decode_message
from hallmark.core.encoding.protojson import format_bytes, parse_bytes, parse_int64
from hallmark.core.merkle import HASH_SIZE
from hallmark.core.note import MAX_NOTE_BYTES
from hallmark.errors import MalformedInput

MAX_ENTRY_JSON_BYTES: Final = 10 * 1024 * 1024
MAX_PROOF_HASHES: Final = 64
LOG_ID_SIZE: Final = 32


class InclusionProof(msgspec.Struct, frozen=True, kw_only=True):
    """A Merkle path to the root hash that `checkpoint`, a signed note, states.

    `log_index` is the index in the tree, which for Rekor v1 is not the entry's global index. `checkpoint` is
    empty where an old (v0.1) bundle has none.
    """

    log_index: int
    root_hash: bytes
    tree_size: int
    hashes: tuple[bytes, ...]
    checkpoint: bytes

    def __post_init__(self) -> None:
        _check_not_negative(self.log_index, "inclusionProof.logIndex")
        _check_not_negative(self.tree_size, "inclusionProof.treeSize")
        if len(self.hashes) > MAX_PROOF_HASHES:
            raise MalformedInput(f"the inclusion proof has more than {MAX_PROOF_HASHES} hashes")
        if any(len(item) != HASH_SIZE for item in (self.root_hash, *self.hashes)):
            raise MalformedInput(f"a hash of the inclusion proof has not {HASH_SIZE} bytes")
        if len(self.checkpoint) > MAX_NOTE_BYTES:
            raise MalformedInput(f"the checkpoint has more than {MAX_NOTE_BYTES} bytes")


class TransparencyLogEntry(msgspec.Struct, frozen=True, kw_only=True):
    """An entry of a transparency log with what proves it.

    `integrated_time` counts seconds since 1970; 0 says that the log states none (Rekor v2).
    `inclusion_promise` is the signed entry timestamp of Rekor v1.
    """

    log_index: int
    log_id: bytes
    kind: str
    version: str
    integrated_time: int = 0
    inclusion_promise: bytes | None = None
    inclusion_proof: InclusionProof | None = None
    canonicalized_body: bytes

    def __post_init__(self) -> None:
        _check_not_negative(self.log_index, "logIndex")
        _check_not_negative(self.integrated_time, "integratedTime")
        if len(self.log_id) != LOG_ID_SIZE:
            raise MalformedInput(f"a log id has {LOG_ID_SIZE} bytes, not {len(self.log_id)}")
        if not self.kind or not self.version:
            raise MalformedInput("the log entry names no kind and version")
        if not self.canonicalized_body:
            raise MalformedInput("the log entry has no body")
        if self.inclusion_promise is None and self.inclusion_proof is None:
            raise MalformedInput("the log entry has neither inclusion proof nor inclusion promise")

    def to_json(self) -> bytes:
        """Print the entry as Rekor v2 answers it: zero values are there, an absent promise is null."""
        return msgspec.json.encode(entry_to_message(self, absent=None))


class LogIdMessage(Message, frozen=True):
    """`dev.sigstore.common.v1.LogId`."""

    key_id: str | None = ""


class _KindVersion(Message, frozen=True):
    kind: str | None = ""
    version: str | None = ""


class _InclusionPromise(Message, frozen=True):
    signed_entry_timestamp: str | None = ""


class _Checkpoint(Message, frozen=True):
    envelope: str | None = ""


class _InclusionProof(Message, frozen=True):
    log_index: Int = 0
    root_hash: str | None = ""
    tree_size: Int = 0
    hashes: tuple[str, ...] | None = ()
    checkpoint: _Checkpoint | None = None


class TransparencyLogEntryMessage(Message, frozen=True):
    """The JSON of an entry, field by field."""

    log_index: Int = 0
    log_id: LogIdMessage | None = None
    kind_version: _KindVersion | None = None
    integrated_time: Int = 0
    inclusion_promise: _InclusionPromise | msgspec.UnsetType | None = msgspec.UNSET
    inclusion_proof: _InclusionProof | msgspec.UnsetType | None = msgspec.UNSET
    canonicalized_body: str | None = ""


def parse_transparency_log_entry(data: bytes) -> TransparencyLogEntry:
    """Read the JSON of an entry, for example the answer of Rekor v2; raises `MalformedInput`."""
    message = decode_message(
        TransparencyLogEntryMessage, data, what="the log entry", max_bytes=MAX_ENTRY_JSON_BYTES
    )
    return entry_from_message(message)


def entry_from_message(message: TransparencyLogEntryMessage) -> TransparencyLogEntry:
    """Build an entry from its JSON message; raises `MalformedInput`."""
    kind_version = message.kind_version or _KindVersion()
    log_id = (message.log_id and message.log_id.key_id) or ""
    promise, proof = message.inclusion_promise, message.inclusion_proof
    return TransparencyLogEntry(
        log_index=parse_int64(message.log_index or 0, what="logIndex"),
        log_id=parse_bytes(log_id, what="logId.keyId"),
        kind=kind_version.kind or "",
        version=kind_version.version or "",
        integrated_time=parse_int64(message.integrated_time or 0, what="integratedTime"),
        inclusion_promise=_parse_promise(promise) if isinstance(promise, _InclusionPromise) else None,
        inclusion_proof=_parse_proof(proof) if isinstance(proof, _InclusionProof) else None,
        canonicalized_body=parse_bytes(message.canonicalized_body or "", what="canonicalizedBody"),
    )


def _parse_promise(message: _InclusionPromise) -> bytes | None:
    promise = parse_bytes(message.signed_entry_timestamp or "", what="signedEntryTimestamp")
    return promise or None  # an empty message, as some writers leave it, promises nothing


def _parse_proof(message: _InclusionProof) -> InclusionProof:
    checkpoint = (message.checkpoint and message.checkpoint.envelope) or ""
    return InclusionProof(
        log_index=parse_int64(message.log_index or 0, what="inclusionProof.logIndex"),
        root_hash=parse_bytes(message.root_hash or "", what="inclusionProof.rootHash"),
        tree_size=parse_int64(message.tree_size or 0, what="inclusionProof.treeSize"),
        hashes=tuple(parse_bytes(item, what="inclusionProof.hashes") for item in message.hashes or ()),
        checkpoint=checkpoint.encode(),
    )


def entry_to_message(
    entry: TransparencyLogEntry, *, absent: msgspec.UnsetType | None
) -> TransparencyLogEntryMessage:
    """Build the JSON message of an entry; `absent` stands for a missing promise or proof."""
    promise, proof = entry.inclusion_promise, entry.inclusion_proof
    return TransparencyLogEntryMessage(
        log_index=str(entry.log_index),
        log_id=LogIdMessage(key_id=format_bytes(entry.log_id)),
        kind_version=_KindVersion(kind=entry.kind, version=entry.version),
        integrated_time=str(entry.integrated_time),
        inclusion_promise=absent
        if promise is None
        else _InclusionPromise(signed_entry_timestamp=format_bytes(promise)),
        inclusion_proof=absent if proof is None else _proof_to_message(proof),
        canonicalized_body=format_bytes(entry.canonicalized_body),
    )


def _proof_to_message(proof: InclusionProof) -> _InclusionProof:
    return _InclusionProof(
        log_index=str(proof.log_index),
        root_hash=format_bytes(proof.root_hash),
        tree_size=str(proof.tree_size),
        hashes=tuple(format_bytes(item) for item in proof.hashes),
        checkpoint=_Checkpoint(envelope=proof.checkpoint.decode()),
    )


def _check_not_negative(value: int, what: str) -> None:
    if value < 0:
        raise MalformedInput(f"{what} is negative: {value}")
