"""The JSON of a log entry, as Rekor v2 answers it."""

import json

import msgspec
import pytest
from tests.support import world as w

from hallmark.core.note import MAX_NOTE_BYTES
from hallmark.core.transparency_log_entry import (
    MAX_ENTRY_JSON_BYTES,
    MAX_PROOF_HASHES,
    InclusionProof,
    TransparencyLogEntry,
    parse_transparency_log_entry,
)
from hallmark.errors import MalformedInput

ENTRY = w.World().bundle().tlog_entries[0]


def test_prints_what_it_reads():
    for entry in (ENTRY, w.World().v1_bundle().tlog_entries[0]):
        assert parse_transparency_log_entry(entry.to_json()) == entry
        assert parse_transparency_log_entry(entry.to_json()).to_json() == entry.to_json()


def test_prints_the_shape_that_rekor_v2_answers():
    found = json.loads(ENTRY.to_json())
    assert list(found) == [
        "logIndex",
        "logId",
        "kindVersion",
        "integratedTime",
        "inclusionPromise",
        "inclusionProof",
        "canonicalizedBody",
    ]
    assert (found["logIndex"], found["integratedTime"], found["inclusionPromise"]) == ("3", "0", None)
    assert found["kindVersion"] == {"kind": "hashedrekord", "version": "0.0.2"}
    assert found["inclusionProof"]["treeSize"] == "6"


@pytest.mark.parametrize(
    "change", [{"inclusionProof": None}, {"inclusionProof": None, "inclusionPromise": {}}]
)
def test_an_entry_needs_some_proof(change):
    found = {**json.loads(ENTRY.to_json()), **change}
    with pytest.raises(MalformedInput, match="neither"):
        parse_transparency_log_entry(json.dumps(found).encode())


def test_construction_checks_what_parsing_checks():
    fields = msgspec.structs.asdict(ENTRY)
    for change in (
        {"log_id": b""},
        {"log_index": -1},
        {"integrated_time": -1},
        {"canonicalized_body": b""},
        {"version": ""},
        {"kind": ""},
    ):
        with pytest.raises(MalformedInput):
            TransparencyLogEntry(**{**fields, **change})


def test_an_index_that_is_not_there_is_zero():
    found = json.loads(ENTRY.to_json())
    del found["logIndex"], found["integratedTime"]
    del found["inclusionProof"]["logIndex"], found["inclusionProof"]["treeSize"]
    entry = parse_transparency_log_entry(json.dumps(found).encode())
    proof = entry.inclusion_proof
    assert (entry.log_index, entry.integrated_time, proof.log_index, proof.tree_size) == (0, 0, 0, 0)


@pytest.mark.parametrize(("field", "reason"), [("logId", "32 bytes"), ("kindVersion", "no kind")])
def test_an_entry_without_log_or_kind_is_refused(field, reason):
    found = json.loads(ENTRY.to_json())
    del found[field]
    with pytest.raises(MalformedInput, match=reason):
        parse_transparency_log_entry(json.dumps(found).encode())


def test_a_proof_need_not_have_a_checkpoint_nor_an_entry_with_a_promise_a_proof():
    found = json.loads(w.World().v1_bundle().tlog_entries[0].to_json())
    del found["inclusionProof"]["checkpoint"]
    assert parse_transparency_log_entry(json.dumps(found).encode()).inclusion_proof.checkpoint == b""
    del found["inclusionProof"]
    assert parse_transparency_log_entry(json.dumps(found).encode()).inclusion_proof is None


PROOF = msgspec.structs.asdict(ENTRY.inclusion_proof)


@pytest.mark.parametrize(
    ("field", "most", "beyond"),
    [
        ("hashes", (bytes(32),) * MAX_PROOF_HASHES, (bytes(32),) * (MAX_PROOF_HASHES + 1)),
        ("hashes", (bytes(32), bytes(32)), (bytes(32), bytes(31))),
        ("root_hash", bytes(32), bytes(33)),
        ("checkpoint", bytes(MAX_NOTE_BYTES), bytes(MAX_NOTE_BYTES + 1)),
        ("log_index", 0, -1),
        ("tree_size", 0, -1),
    ],
)
def test_a_proof_has_bounds(field, most, beyond):
    assert InclusionProof(**{**PROOF, field: most})
    with pytest.raises(MalformedInput):
        InclusionProof(**{**PROOF, field: beyond})


def test_the_json_of_an_entry_has_up_to_10_mib():
    assert parse_transparency_log_entry(ENTRY.to_json().ljust(MAX_ENTRY_JSON_BYTES)) == ENTRY
    with pytest.raises(MalformedInput) as caught:
        parse_transparency_log_entry(ENTRY.to_json().ljust(MAX_ENTRY_JSON_BYTES + 1))
    assert caught.value.code == "too_large"
