"""Requests for timestamps as JSON, for clients without a DER encoder."""

import base64
import binascii
from typing import Final

import msgspec

from hallmark.core.algorithms import HASHES
from hallmark.core.timestamp import TimestampRequest
from hallmark.errors import MalformedInput

MAX_JSON_BYTES: Final = 1024  # a nonce is an integer of any length, and reading one costs its length squared

_MAX_ARCS: Final = 128
_HASHES_BY_NAME: Final = {item.name: item for item in HASHES.values()}


class _JsonRequest(msgspec.Struct, frozen=True):
    artifact_hash: str = msgspec.field(name="artifactHash")
    hash_algorithm: str = msgspec.field(name="hashAlgorithm")
    certificates: bool | None = None
    nonce: int | None = None
    policy: str | None = msgspec.field(name="tsaPolicyOID", default=None)


_DECODER: Final = msgspec.json.Decoder(_JsonRequest)


def parse_json_request(body: bytes) -> TimestampRequest:
    """Read a request in JSON; unknown keys are ignored.

    Raises `MalformedInput` with code `json_too_large`, `malformed_request`, `weak_hash`,
    `unsupported_hash`, `digest_length` or `malformed_policy`.
    """
    if len(body) > MAX_JSON_BYTES:
        raise MalformedInput(f"the JSON has more than {MAX_JSON_BYTES} bytes", code="json_too_large")
    try:
        request = _DECODER.decode(body)
        digest = base64.b64decode(request.artifact_hash, validate=True)
    except (msgspec.DecodeError, binascii.Error, ValueError, RecursionError):
        raise MalformedInput("the JSON is not a timestamp request", code="malformed_request") from None
    name = request.hash_algorithm.lower()
    if name == "sha1":
        raise MalformedInput("SHA-1 is too weak for a timestamp", code="weak_hash")
    hash_algorithm = _HASHES_BY_NAME.get(name)
    if hash_algorithm is None:
        raise MalformedInput("the hash algorithm is not supported", code="unsupported_hash")
    if len(digest) != hash_algorithm.size:
        raise MalformedInput(
            f"a {name} digest has {hash_algorithm.size} bytes, not {len(digest)}", code="digest_length"
        )
    return TimestampRequest(
        hash_algorithm=hash_algorithm,
        digest=digest,
        nonce=request.nonce,
        cert_req=bool(request.certificates),
        policy=_check_policy(request.policy) if request.policy else None,
    )


def _check_policy(dotted: str) -> str:
    arcs = dotted.split(".")
    if not 2 <= len(arcs) <= _MAX_ARCS or not all(arc.isascii() and arc.isdigit() for arc in arcs):
        raise MalformedInput("the policy is not an object identifier", code="malformed_policy")
    return dotted
