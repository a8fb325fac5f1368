"""The client of a Rekor v1 log (`POST /api/v1/log/entries`), as the public instance still runs one."""

import re
from typing import Any, Final

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from hallmark.client.http import Answer, HttpClient, refused
from hallmark.client.rekor import SERVICE, Submission
from hallmark.core.dsse import Envelope
from hallmark.core.encoding.protojson import format_bytes, parse_bytes
from hallmark.core.transparency_log_entry import InclusionProof, TransparencyLogEntry
from hallmark.errors import MalformedInput, RemoteError

_ENTRY_ID: Final = re.compile(r"[0-9a-f]{64}(?:[0-9a-f]{16})?", re.ASCII)


class _Proof(msgspec.Struct, frozen=True, rename="camel"):
    log_index: int
    root_hash: str
    tree_size: int
    hashes: list[str]
    checkpoint: str = ""


class _Verification(msgspec.Struct, frozen=True, rename="camel"):
    signed_entry_timestamp: str
    inclusion_proof: _Proof


class _Entry(msgspec.Struct, frozen=True):
    body: str
    integrated_time: int = msgspec.field(name="integratedTime")
    log_id: str = msgspec.field(name="logID")
    log_index: int = msgspec.field(name="logIndex")
    verification: _Verification


class _Body(msgspec.Struct, frozen=True, rename="camel"):
    kind: str
    api_version: str


class RekorV1Client:
    """Submits to one Rekor v1 log."""

    def __init__(self, url: str, http: HttpClient) -> None:
        self.url = url
        self._url = url.rstrip("/") + "/api/v1/log/entries"
        self._http = http

    def submit(self, submission: Submission) -> TransparencyLogEntry:
        """Log a signature; the same one again gives the entry that is there. Raises `RemoteError`."""
        answer = self._http.post(
            self._url,
            msgspec.json.encode(_proposed_entry(submission)),
            service=SERVICE,
            headers={"Content-Type": "application/json", "Accept": "application/json"},
            idempotent=True,
        )
        if answer.status == 409:
            answer = self._existing(answer)
        if answer.status not in {200, 201}:
            raise refused(answer, service=SERVICE, url=self._url)
        return _parse_answer(answer.body)

    def _existing(self, conflict: Answer) -> Answer:
        entry_id = conflict.headers.get("location", "").rstrip("/").rpartition("/")[2]
        if not _ENTRY_ID.fullmatch(entry_id):
            raise refused(conflict, service=SERVICE, url=self._url)
        return self._http.get(f"{self._url}/{entry_id}", service=SERVICE)


def _proposed_entry(submission: Submission) -> dict[str, Any]:
    certificate = x509.load_der_x509_certificate(submission.certificate).public_bytes(Encoding.PEM)
    if submission.envelope is not None:
        return _dsse_entry(submission.envelope, certificate)
    spec = {
        "data": {"hash": {"algorithm": submission.hash_algorithm.name, "value": submission.digest.hex()}},
        "signature": {
            "content": format_bytes(submission.signature),
            "publicKey": {"content": format_bytes(certificate)},
        },
    }
    return {"apiVersion": "0.0.1", "kind": "hashedrekord", "spec": spec}


def _dsse_entry(envelope: Envelope, certificate: bytes) -> dict[str, Any]:
    content = {"envelope": envelope.to_json().decode(), "verifiers": [format_bytes(certificate)]}
    return {"apiVersion": "0.0.1", "kind": "dsse", "spec": {"proposedContent": content}}


def _parse_answer(body: bytes) -> TransparencyLogEntry:
    try:
        found = msgspec.json.decode(body, type=dict[str, _Entry])
        (entry,) = found.values()
        return _to_entry(entry)
    except (msgspec.MsgspecError, MalformedInput, ValueError, RecursionError) as error:
        raise RemoteError(f"{SERVICE} answered with no entry: {error}", code="malformed_answer") from None


def _to_entry(found: _Entry) -> TransparencyLogEntry:
    body = parse_bytes(found.body, what="the entry's body")
    kind = msgspec.json.decode(body, type=_Body)
    proof = found.verification.inclusion_proof
    return TransparencyLogEntry(
        log_index=found.log_index,
        log_id=bytes.fromhex(found.log_id),
        kind=kind.kind,
        version=kind.api_version,
        integrated_time=found.integrated_time,
        inclusion_promise=parse_bytes(found.verification.signed_entry_timestamp, what="the promise"),
        inclusion_proof=InclusionProof(
            log_index=proof.log_index,
            root_hash=bytes.fromhex(proof.root_hash),
            tree_size=proof.tree_size,
            hashes=tuple(bytes.fromhex(item) for item in proof.hashes),
            checkpoint=proof.checkpoint.encode(),
        ),
        canonicalized_body=body,
    )
