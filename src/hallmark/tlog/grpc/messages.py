"""Between protocol buffers and the log's own values."""

from typing import Any

from google.protobuf import any_pb2, json_format
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

from hallmark.errors import MalformedInput
from hallmark.ports import Appended
from hallmark.tlog.answers import VERSION, Refusal, kind_of_leaf
from hallmark.tlog.grpc.rekor_v2_pb2 import CreateEntryRequest
from hallmark.tlog.grpc.sigstore_common_pb2 import LogId
from hallmark.tlog.grpc.sigstore_rekor_pb2 import (
    Checkpoint,
    InclusionProof,
    KindVersion,
    TransparencyLogEntry,
)
from hallmark.tlog.grpc.structure import check_structure
from hallmark.tlog.requests import EntryRequest, parse_message


def entry_request(data: bytes) -> EntryRequest:
    """Read a request by the rules of its JSON mapping, so that both transports check the same things.

    Raises `MalformedInput`, also for bytes that are no message.
    """
    check_structure(data)
    try:
        message = CreateEntryRequest.FromString(data)
    except DecodeError:
        raise MalformedInput("the bytes are not a CreateEntryRequest", code="malformed_json") from None
    fields: dict[str, Any] = json_format.MessageToDict(message)
    return parse_message(fields)


def entry_message(log_id: bytes, entry: Appended) -> TransparencyLogEntry:
    """Build the answer for an entry that is no duplicate."""
    return TransparencyLogEntry(
        log_index=entry.index,
        log_id=LogId(key_id=log_id),
        kind_version=KindVersion(kind=kind_of_leaf(entry.leaf), version=VERSION),
        inclusion_proof=InclusionProof(
            log_index=entry.index,
            root_hash=entry.root,
            tree_size=entry.tree_size,
            hashes=entry.proof,
            checkpoint=Checkpoint(envelope=entry.checkpoint.decode()),
        ),
        canonicalized_body=entry.leaf,
    )


def status_message(answer: Refusal) -> bytes:
    """Print a refusal as `google.rpc.Status`, for `grpc-status-details-bin`."""
    status = status_pb2.Status(code=answer.grpc_code, message=answer.message)
    for detail in answer.details:
        info = error_details_pb2.ErrorInfo()
        json_format.ParseDict({name: detail[name] for name in ("reason", "domain", "metadata")}, info)
        status.details.append(_packed(info))
    if answer.retry_after is not None:
        retry = error_details_pb2.RetryInfo()
        retry.retry_delay.FromSeconds(answer.retry_after)
        status.details.append(_packed(retry))
    return bytes(status.SerializeToString())


def _packed(message: Any) -> any_pb2.Any:
    packed = any_pb2.Any()
    packed.Pack(message)
    return packed
