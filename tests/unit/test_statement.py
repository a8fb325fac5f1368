"""In-toto statements."""

import json

import pytest
from tests.support import world as w

from hallmark.core.statement import STATEMENT_V01, STATEMENT_V1, parse_statement
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
