"""One target for each parser of the log: bytes are refused with `MalformedInput`, or printed back the same.

A target takes bytes and returns; whatever it raises is a finding. `SEEDS` are inputs that parse.
"""

import base64
import json
from typing import Final

from hallmark.core.checkpoint import parse_checkpoint
from hallmark.core.encoding.protojson import format_bytes, format_timestamp, parse_bytes, parse_int64
from hallmark.core.encoding.protojson import parse_timestamp as parse_time
from hallmark.core.entries.dsse import parse_dsse_v002
from hallmark.core.entries.hashedrekord import parse_hashedrekord_v002
from hallmark.core.note import parse_note
from hallmark.core.tiles import entry_bundle, parse_entry_bundle, parse_tile_path, split_hashes
from hallmark.core.transparency_log_entry import parse_transparency_log_entry
from hallmark.errors import InvalidSignature, MalformedInput
from hallmark.tiledlog.records import TLOG_TILES
from hallmark.tlog.checks import EnvelopeCheck, check_hashedrekord
from hallmark.tlog.config import DEFAULT_ALGORITHMS
from hallmark.tlog.requests import DsseRequest, parse_create_entry, parse_message
from tests.fuzz.target import Target
from tests.fuzz.witness_targets import WITNESS_TARGETS
from tests.support.rekor import changed, dsse, hashedrekord, to_body

P256: Final = "PKIX_ECDSA_P256_SHA_256"


def request(data: bytes) -> None:
    """A request: the quick way and the thorough way read the same, and canonical JSON of it too."""
    try:
        entry = parse_create_entry(data)
    except MalformedInput:
        return
    again = json.loads(data)
    assert parse_message(again) == entry
    assert parse_create_entry(json.dumps(again).encode()) == entry


def request_entry(data: bytes) -> None:
    """A request that holds, and then the body that is logged: it reads back as what was checked."""
    try:
        entry = parse_create_entry(data)
        if isinstance(entry, DsseRequest):
            check = EnvelopeCheck(entry, DEFAULT_ALGORITHMS | {"PKIX_ED25519"})
            for _ in check.steps():
                pass
            logged = check.entry()
            assert parse_dsse_v002(logged.to_bytes()) == logged
        else:
            check_hashedrekord(entry, DEFAULT_ALGORITHMS)
            assert parse_hashedrekord_v002(entry.to_bytes()) == entry
    except (MalformedInput, InvalidSignature):
        return


def note(data: bytes) -> None:
    """A signed note."""
    try:
        parsed = parse_note(data)
    except MalformedInput:
        return
    assert parsed.to_bytes() == data


def checkpoint(data: bytes) -> None:
    """The text of a checkpoint."""
    try:
        text = data.decode()
        parsed = parse_checkpoint(text)
    except (MalformedInput, UnicodeDecodeError):
        return
    assert parsed.to_text() == text


def tile(data: bytes) -> None:
    """A tile of hashes."""
    try:
        parsed = split_hashes(data)
    except MalformedInput:
        return
    assert b"".join(parsed) == data


def tile_path(data: bytes) -> None:
    """The path of a tile or bundle."""
    try:
        text = data.decode()
        parsed = parse_tile_path(text)
    except (MalformedInput, UnicodeDecodeError):
        return
    assert parsed.path() == text


def bundle(data: bytes) -> None:
    """A bundle of entries; the engine's own cut agrees with the codec's."""
    try:
        parsed = parse_entry_bundle(data)
    except MalformedInput:
        return
    assert entry_bundle(parsed) == data
    assert [TLOG_TILES.entry(record) for record in TLOG_TILES.split(data)] == parsed


def leaf_hashedrekord(data: bytes) -> None:
    """The body of a hashedrekord."""
    try:
        parsed = parse_hashedrekord_v002(data)
    except MalformedInput:
        return
    assert parsed.to_bytes() == data


def leaf_dsse(data: bytes) -> None:
    """The body of a dsse."""
    try:
        parsed = parse_dsse_v002(data)
    except MalformedInput:
        return
    assert parsed.to_bytes() == data


def log_entry(data: bytes) -> None:
    """The answer of a log: what was read prints to something that reads the same."""
    try:
        parsed = parse_transparency_log_entry(data)
    except MalformedInput:
        return
    assert parse_transparency_log_entry(parsed.to_json()) == parsed


def protojson_bytes(data: bytes) -> None:
    """A `bytes` field."""
    try:
        parsed = parse_bytes(data.decode("latin-1"), what="the field")
    except MalformedInput:
        return
    assert parse_bytes(format_bytes(parsed), what="the field") == parsed


def protojson_int64(data: bytes) -> None:
    """An `int64` field."""
    try:
        parsed = parse_int64(data.decode("latin-1"), what="the field")
    except MalformedInput:
        return
    assert parse_int64(str(parsed), what="the field") == parsed


def protojson_timestamp(data: bytes) -> None:
    """A `Timestamp` field."""
    try:
        parsed = parse_time(data.decode("latin-1"), what="the field")
    except MalformedInput:
        return
    assert parse_time(format_timestamp(parsed), what="the field") == parsed


_ROOT: Final = base64.b64encode(bytes(32))
_NOTE: Final = b"log.example\n7\n%b\n\n\xe2\x80\x94 log.example %b\n" % (_ROOT, base64.b64encode(bytes(68)))
_REQUESTS: Final = (
    to_body(hashedrekord()),
    to_body(
        changed(hashedrekord(), "hashedRekordRequestV002", "signature", "verifier", "keyDetails", value=5)
    ),
    to_body(dsse(P256, "PKIX_ED25519")),
    to_body({"hashed_rekord_request_v002": hashedrekord()["hashedRekordRequestV002"]}),
)


def _leaf_hashedrekord() -> bytes:
    entry = parse_create_entry(_REQUESTS[0])
    assert not isinstance(entry, DsseRequest)
    return entry.to_bytes()


def _leaf_dsse() -> bytes:
    entry = parse_create_entry(_REQUESTS[2])
    assert isinstance(entry, DsseRequest)
    check = EnvelopeCheck(entry, DEFAULT_ALGORITHMS | {"PKIX_ED25519"})
    for _ in check.steps():
        pass
    return check.entry().to_bytes()


_LOG_ENTRY: Final = json.dumps(
    {
        "logIndex": "5",
        "logId": {"keyId": base64.b64encode(bytes(32)).decode()},
        "kindVersion": {"kind": "hashedrekord", "version": "0.0.2"},
        "integratedTime": "0",
        "inclusionPromise": None,
        "inclusionProof": {
            "logIndex": "5",
            "rootHash": _ROOT.decode(),
            "treeSize": "7",
            "hashes": [_ROOT.decode()],
            "checkpoint": {"envelope": _NOTE.decode()},
        },
        "canonicalizedBody": "e30=",
    }
).encode()

TARGETS: Final = {
    "request": Target(request, _REQUESTS),
    "request_entry": Target(request_entry, _REQUESTS),
    "note": Target(note, (_NOTE, _NOTE + b"\xe2\x80\x94 witness %b\n" % base64.b64encode(bytes(76)))),
    "checkpoint": Target(checkpoint, (b"log.example\n7\n%b\n" % _ROOT, b"o\n0\n%b\nmore\n" % _ROOT)),
    "tile": Target(tile, (bytes(32), bytes(8192))),
    "tile_path": Target(tile_path, (b"0/x001/x234/067", b"entries/067.p/8", b"7/000")),
    "bundle": Target(bundle, (b"\x00\x01a\x00\x00\x00\x02bc", entry_bundle([bytes(300)] * 3))),
    "leaf_hashedrekord": Target(leaf_hashedrekord, (_leaf_hashedrekord(),)),
    "leaf_dsse": Target(leaf_dsse, (_leaf_dsse(),)),
    "log_entry": Target(log_entry, (_LOG_ENTRY,)),
    "protojson_bytes": Target(protojson_bytes, (b"AAECAw==", b"-_8", b"")),
    "protojson_int64": Target(protojson_int64, (b"0", b"-5", b"9223372036854775807")),
    "protojson_timestamp": Target(
        protojson_timestamp, (b"2026-01-02T03:04:05Z", b"1970-01-01T00:00:00.123456+01:00")
    ),
    **WITNESS_TARGETS,
}
