"""In-toto statements."""

import json
import tracemalloc

import pytest
from tests.support import world as w

from hallmark.core.statement import (
    MAX_DECODED_VALUES,
    MAX_STATEMENT_BYTES,
    STATEMENT_V01,
    STATEMENT_V1,
    parse_statement,
)
from hallmark.errors import MalformedInput


def document(**changes: object) -> bytes:
    return json.dumps({**w.a_statement(), **changes}).encode()


@pytest.mark.parametrize("version", [STATEMENT_V1, STATEMENT_V01])
def test_reads_both_versions(version):
    statement = parse_statement(document(_type=version))
    assert statement.to_builtins() == {**w.a_statement(), "_type": version}


def test_a_subject_needs_no_name_and_a_statement_no_predicate():
    found = json.loads(document(subject=[{"digest": {"sha256": "AB"}}]))
    del found["predicate"]
    statement = parse_statement(json.dumps(found).encode())
    assert statement.subjects[0].name == ""
    assert statement.subjects[0].digests == (("sha256", "ab"),)
    assert statement.to_builtins()["predicate"] is None


@pytest.mark.parametrize(
    "changes",
    [
        {"_type": "https://in-toto.io/Statement/v2"},
        {"subject": []},
        {"subject": [{"name": "x"}]},
        {"subject": [{"digest": {}}]},
        {"subject": [{"digest": {"sha256": 5}}]},
        {"predicateType": ""},
        {"predicateType": None},
    ],
)
def test_refuses_a_statement_that_breaks_a_rule(changes):
    with pytest.raises(MalformedInput):
        parse_statement(document(**changes))


@pytest.mark.parametrize("payload", [b"", b"[]", b"text", b"\xff"])
def test_refuses_what_is_no_statement(payload):
    with pytest.raises(MalformedInput):
        parse_statement(payload)


@pytest.mark.parametrize("predicate", [b"1e999", b"1" * 5000, b'"\xff"', b"[" * 200 + b"]" * 200])
def test_refuses_a_predicate_that_nobody_could_read(predicate):
    with pytest.raises(MalformedInput):
        parse_statement(document().replace(b'{"tested": true}', predicate))


def test_reads_a_predicate_with_many_values_that_nests_little():
    predicate = [{"number": number} for number in range(1000)]
    assert parse_statement(document(predicate=predicate)).to_builtins()["predicate"] == predicate


def test_refuses_a_statement_with_a_name_twice():
    for twice in (
        document().replace(b'"predicateType"', b'"predicateType": "x", "predicateType"'),
        document().replace(b'"name"', b'"name": "x", "name"'),
        document().replace(b'"tested"', b'"tested": 1, "tested"'),
    ):
        with pytest.raises(MalformedInput) as caught:
            parse_statement(twice)
        assert caught.value.code == "repeated_name"


def test_a_large_predicate_stays_text():
    values = MAX_DECODED_VALUES  # with the list itself, less one that no comma follows
    most = b"[" + b",".join([b"1"] * values) + b"]"
    assert parse_statement(with_predicate(most)).to_builtins()["predicate"] == [1] * values
    larger = parse_statement(with_predicate(most[:-1] + b",1]")).to_builtins()
    assert "predicate" not in larger
    assert larger["predicateBytes"] == len(most) + 2


def test_a_large_predicate_takes_little_memory():
    payload = with_predicate(b"[" + b"{}," * 2_000_000 + b"{}]")
    tracemalloc.start()
    try:
        parse_statement(payload)
        assert tracemalloc.get_traced_memory()[1] < 5 * len(payload)
    finally:
        tracemalloc.stop()


def test_a_large_predicate_must_be_json():
    with pytest.raises(MalformedInput):
        parse_statement(with_predicate(b"[" + b"1," * (MAX_DECODED_VALUES + 1) + b"]"))


def test_a_statement_has_up_to_128_mib():
    assert parse_statement(document().ljust(MAX_STATEMENT_BYTES))
    with pytest.raises(MalformedInput) as caught:
        parse_statement(document().ljust(MAX_STATEMENT_BYTES + 1))
    assert caught.value.code == "too_large"


def with_predicate(predicate: bytes) -> bytes:
    return document().replace(b'{"tested": true}', predicate)
