"""`hallmark inspect`: everything in a bundle, decoded. Nothing of it is verified."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from hallmark.cli.inspect_trust import describe_trust
from hallmark.cli.options import PATH, json_option
from hallmark.cli.output import Output
from hallmark.client.signature_files import SUFFIX, Signatures, parse_signatures
from hallmark.client.streams import read_input
from hallmark.core.bundle import MAX_BUNDLE_BYTES, Bundle
from hallmark.core.checkpoint import parse_checkpoint
from hallmark.core.dsse import IN_TOTO_PAYLOAD_TYPE, Envelope
from hallmark.core.encoding.json_document import decode_value
from hallmark.core.encoding.protojson import format_bytes, format_timestamp
from hallmark.core.note import parse_note
from hallmark.core.signature_file import FoundBundle
from hallmark.core.statement import parse_statement
from hallmark.core.timestamp import parse_timestamp
from hallmark.core.transparency_log_entry import InclusionProof, TransparencyLogEntry
from hallmark.core.x509.certificate import SigningCertificate, parse_signing_certificate
from hallmark.core.x509.own_certificate import parse_own_certificate
from hallmark.core.x509.sct import Sct, parse_leaf_index
from hallmark.errors import HallmarkError, MalformedInput


@click.command("inspect")
@click.argument("bundle", type=PATH, metavar="BUNDLE")
@json_option
def command(*, bundle: Path, as_json: bool) -> None:
    """Show everything in a bundle, another file with signatures, or a trust document, decoded.

    Nothing of it is verified: hallmark verify does that.
    """
    output = Output(as_json=as_json)
    data = read_input(bundle, max_bytes=MAX_BUNDLE_BYTES)
    facts = describe_trust(data) or _describe(_parse(bundle, data))
    for line in _lines(facts):
        output.line(line)
    output.note("nothing of this has been verified; hallmark verify does that")
    output.finish(file=str(bundle), **facts)


def _parse(path: Path, data: bytes) -> Signatures:
    try:
        return parse_signatures(path, data)
    except MalformedInput as error:
        beside = path.with_name(path.name + SUFFIX)
        hint = f"did you mean {beside}?" if beside.exists() else "name a file that holds a signature"
        raise MalformedInput(error.message, code=error.code, hint=hint) from None


def _describe(signatures: Signatures) -> dict[str, Any]:
    """A lone bundle's facts, or those of each of several."""
    kind, bundles = signatures.file.kind, signatures.file.bundles
    if len(bundles) == 1 and not signatures.file.broken:
        return {"kind": kind, **_describe_found(bundles[0])}
    broken = [{"place": item.place, **_broken(item.error)} for item in signatures.file.broken]
    listed = {"kind": kind, "bundles": [_describe_found(item) for item in bundles]}
    return {**listed, "broken": broken} if broken else listed


def _describe_found(found: FoundBundle) -> dict[str, Any]:
    unknown = {"unknownFields": list(found.unknown_fields)} if found.unknown_fields else {}
    return {**describe_bundle(found.bundle), **unknown}


def describe_bundle(bundle: Bundle) -> dict[str, Any]:
    """Give everything in a bundle as JSON values; a part that does not parse says why."""
    return {
        "mediaType": bundle.media_type,
        **_content(bundle),
        **_signer(bundle),
        "logEntries": [_entry(entry) for entry in bundle.tlog_entries],
        "timestamps": [_timestamp(response) for response in bundle.timestamps],
    }


def _content(bundle: Bundle) -> dict[str, Any]:
    if bundle.message_signature is None:
        return {"envelope": _envelope(bundle.envelope)} if bundle.envelope else {}
    message = bundle.message_signature
    algorithm = message.hash_algorithm
    digest = f"{algorithm.name}:{message.digest.hex()}" if algorithm else "not stated"
    return {"messageSignature": {"digest": digest, "signature": format_bytes(message.signature)}}


def _envelope(envelope: Envelope) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "payloadType": envelope.payload_type,
        "payloadBytes": len(envelope.payload),
        "signature": format_bytes(envelope.signatures[0].signature),
    }
    if envelope.payload_type == IN_TOTO_PAYLOAD_TYPE:
        try:
            facts["statement"] = parse_statement(envelope.payload).to_builtins()
        except HallmarkError as error:
            facts["statement"] = _broken(error)
    return facts


def _signer(bundle: Bundle) -> dict[str, Any]:
    if bundle.certificate is None:
        return {"publicKeyHint": bundle.public_key_hint or ""}
    parse = parse_own_certificate if bundle.holds_chain else parse_signing_certificate
    try:
        return {"certificate": _certificate(parse(bundle.certificate))}
    except HallmarkError as error:
        return {"certificate": _broken(error)}


def _certificate(leaf: SigningCertificate) -> dict[str, Any]:
    identity = leaf.identity
    return {
        "identity": identity.identity,
        "identityKind": identity.kind,
        "oidcIssuer": identity.oidc_issuer,
        "extensions": dict(identity.extensions),
        "serial": f"{leaf.certificate.serial_number:x}",
        "issuingCa": leaf.certificate.issuer.rfc4514_string(),
        "notBefore": format_timestamp(leaf.not_before),
        "notAfter": format_timestamp(leaf.not_after),
        "key": leaf.public_key.algorithm.name,
        "scts": [_sct(sct) for sct in leaf.scts],
    }


def _sct(sct: Sct) -> dict[str, Any]:
    facts: dict[str, Any] = {"logId": sct.log_id.hex(), "time": _milliseconds(sct.timestamp)}
    try:
        index = parse_leaf_index(sct.extensions)
    except HallmarkError as error:
        return {**facts, **_broken(error)}
    return facts if index is None else {**facts, "leafIndex": index}


def _entry(entry: TransparencyLogEntry) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "logIndex": entry.log_index,
        "logId": entry.log_id.hex(),
        "kind": f"{entry.kind} {entry.version}",
        "body": _body(entry.canonicalized_body),
    }
    if entry.integrated_time:
        facts["integratedTime"] = _milliseconds(1000 * entry.integrated_time)
    if entry.inclusion_promise is not None:
        facts["inclusionPromise"] = format_bytes(entry.inclusion_promise)
    if entry.inclusion_proof is not None:
        facts["inclusionProof"] = _proof(entry.inclusion_proof)
    return facts


def _body(body: bytes) -> Any:
    try:
        return decode_value(body, what="the entry's body", max_bytes=len(body))
    except HallmarkError:
        return body.decode("utf-8", "replace")


def _proof(proof: InclusionProof) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "logIndex": proof.log_index,
        "treeSize": proof.tree_size,
        "rootHash": proof.root_hash.hex(),
        "hashes": [item.hex() for item in proof.hashes],
    }
    if proof.checkpoint:
        facts["checkpoint"] = _checkpoint(proof.checkpoint)
    return facts


def _checkpoint(envelope: bytes) -> dict[str, Any]:
    try:
        note = parse_note(envelope)
        checkpoint = parse_checkpoint(note.text)
    except HallmarkError as error:
        return _broken(error)
    return {
        "origin": checkpoint.origin,
        "size": checkpoint.size,
        "rootHash": checkpoint.root.hex(),
        "signedBy": [line.name for line in note.signatures],
    }


def _timestamp(response: bytes) -> dict[str, Any]:
    try:
        timestamp = parse_timestamp(response)
    except HallmarkError as error:
        return _broken(error)
    return {
        "time": format_timestamp(timestamp.time),
        "digest": f"{timestamp.hash_algorithm.name}:{timestamp.digest.hex()}",
        "policy": timestamp.policy,
        "serial": f"{timestamp.serial:x}",
    }


def _broken(error: HallmarkError) -> dict[str, Any]:
    return {"error": error.message}


def _milliseconds(value: int) -> str:
    """Times in a bundle are claims of strangers, and may lie beyond every calendar."""
    try:
        return format_timestamp(datetime.fromtimestamp(value / 1000, UTC))
    except (ValueError, OverflowError, OSError):
        return f"{value} ms"


def _lines(facts: Mapping[str, Any], indent: str = "") -> Iterator[str]:
    """Print nested values as indented `name: value` lines."""
    for name, value in facts.items():
        if isinstance(value, Mapping):
            yield f"{indent}{name}:"
            yield from _lines(value, indent + "  ")
        elif isinstance(value, Sequence) and not isinstance(value, str):
            for number, item in enumerate(value):
                yield from _lines({f"{name}[{number}]": item}, indent)
        else:
            yield f"{indent}{name}: {value}"
