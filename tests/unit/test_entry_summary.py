"""Columns of a log's entries: what they say, and that nonsense says nothing."""

import hashlib

import pytest
from tests.support import world as w

from hallmark.core.algorithms import ALGORITHMS
from hallmark.core.entries.dsse import DsseV002, VerifiedBy
from hallmark.core.entries.summary import (
    EntrySummary,
    SignerSummary,
    summarise_body,
    summarise_certificate,
    summarise_tile_entry,
)
from hallmark.core.x509.certificate import load_certificate
from hallmark.core.x509.sct import PrecertEntry, X509Entry
from hallmark.core.x509.tile_entry import TileEntry


@pytest.mark.parametrize("body", [b"", b"opaque", b"[]", b"{}", b'{"kind":1,"apiVersion":2}', b"\xff"])
def test_a_body_that_is_no_entry_has_no_columns(body):
    assert summarise_body(body) == EntrySummary()


def test_of_an_unknown_kind_only_the_kind_is_told():
    found = summarise_body(b'{"apiVersion":"9","kind":"poem"}')
    assert found == EntrySummary(kind="poem", version="9")


def test_a_kind_is_cut_at_100_characters():
    found = summarise_body(b'{"apiVersion":"%b","kind":"%b"}' % (b"9" * 101, b"k" * 101))
    assert (found.kind, found.version) == ("k" * 100, "9" * 100)


def test_of_an_envelope_the_payload_and_the_first_signer_are_told():
    certificate = w.World().certificate()
    algorithm, other = ALGORITHMS["PKIX_ECDSA_P256_SHA_256"], ALGORITHMS["PKIX_ED25519"]
    signatures = (VerifiedBy(b"a", algorithm, certificate, True), VerifiedBy(b"b", other, b"key", False))
    found = summarise_body(DsseV002(bytes(32), signatures).to_bytes())
    assert (found.kind, found.digest, found.verifier) == ("dsse", "00" * 32, "certificate")
    assert (found.key_details, found.signer.identity) == (algorithm.key_details, w.EMAIL)
    assert summarise_body(DsseV002(bytes(32), signatures[1:]).to_bytes()).signer == SignerSummary()


def test_a_precertificate_and_its_certificate_have_the_same_signed_part():
    world = w.World()
    final, submitted = world.certificate(), world.certificate(scts=())
    tbs = load_certificate(final).tbs_precertificate_bytes
    entries = (PrecertEntry(bytes(32), tbs), submitted), (X509Entry(final), final)
    summaries = [
        summarise_tile_entry(TileEntry(timestamp=0, entry=entry, index=0, certificate=der, issuers=()))
        for entry, der in entries
    ]
    assert [item.kind for item in summaries] == ["precertificate", "certificate"]
    assert {item.signer.tbs_sha256 for item in summaries} == {hashlib.sha256(tbs).hexdigest()}
    assert {item.signer.identity for item in summaries} == {w.EMAIL}


def test_of_a_damaged_entry_only_the_kind_is_told():
    found = summarise_body(b'{"apiVersion":"0.0.2","kind":"hashedrekord","spec":{}}')
    assert found == EntrySummary(kind="hashedrekord", version="0.0.2")


def test_bytes_that_are_no_certificate_name_nobody():
    assert summarise_certificate(b"no certificate") == SignerSummary()
