"""Columns of a log's entries: what they say, and that nonsense says nothing."""

import pytest

from hallmark.core.entries.summary import EntrySummary, SignerSummary, summarise_body, summarise_certificate


@pytest.mark.parametrize("body", [b"", b"opaque", b"[]", b"{}", b'{"kind":1,"apiVersion":2}', b"\xff"])
def test_a_body_that_is_no_entry_has_no_columns(body):
    assert summarise_body(body) == EntrySummary()


def test_of_an_unknown_kind_only_the_kind_is_told():
    found = summarise_body(b'{"apiVersion":"9","kind":"poem"}')
    assert found == EntrySummary(kind="poem", version="9")


def test_of_a_damaged_entry_only_the_kind_is_told():
    found = summarise_body(b'{"apiVersion":"0.0.2","kind":"hashedrekord","spec":{}}')
    assert found == EntrySummary(kind="hashedrekord", version="0.0.2")


def test_bytes_that_are_no_certificate_name_nobody():
    assert summarise_certificate(b"no certificate") == SignerSummary()
