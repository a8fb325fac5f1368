"""Entries of static-ct-api bundles: what is built is read again, and nothing else is."""

import pytest

from hallmark.core.encoding.tls import vector
from hallmark.core.x509.sct import PrecertEntry, X509Entry, leaf_index_extension, timestamped_entry
from hallmark.core.x509.tile_entry import parse_tile_entry
from hallmark.core.x509.tile_leaf import merkle_tree_leaf_of, split_tile_leaves
from hallmark.errors import MalformedInput

ISSUERS = (b"a" * 32, b"b" * 32)
FINAL = X509Entry(b"certificate")
PRECERTIFICATE = PrecertEntry(b"k" * 32, b"tbs certificate")


def record(entry, *, index: int = 7, chain: bytes = b"".join(ISSUERS)) -> bytes:
    precertificate = vector(b"as submitted", 3) if isinstance(entry, PrecertEntry) else b""
    return timestamped_entry(1000, entry, leaf_index_extension(index)) + precertificate + vector(chain, 2)


@pytest.mark.parametrize(
    ("entry", "certificate"), [(FINAL, b"certificate"), (PRECERTIFICATE, b"as submitted")]
)
def test_reads_every_part(entry, certificate):
    found = parse_tile_entry(record(entry))
    assert (found.timestamp, found.index, found.entry) == (1000, 7, entry)
    assert (found.certificate, found.issuers) == (certificate, ISSUERS)


@pytest.mark.parametrize("entry", [FINAL, PRECERTIFICATE])
def test_refuses_what_is_cut_or_has_more(entry):
    whole = record(entry)
    for end in range(len(whole)):
        with pytest.raises(MalformedInput):
            parse_tile_entry(whole[:end])
        if end:
            with pytest.raises(MalformedInput):
                split_tile_leaves(whole[:end])
    with pytest.raises(MalformedInput):
        parse_tile_entry(whole + b"!")
    with pytest.raises(MalformedInput):
        parse_tile_entry(record(entry, chain=b"x" * 33))


def test_cuts_a_bundle_and_rebuilds_what_the_tree_hashes():
    records = [record(FINAL, index=0), record(PRECERTIFICATE, index=1)]
    assert split_tile_leaves(b"".join(records)) == records
    assert merkle_tree_leaf_of(records[0]) == b"\x00\x00" + timestamped_entry(
        1000, FINAL, leaf_index_extension(0)
    )


def test_refuses_a_bundle_of_more_entries_than_allowed():
    bundle = record(FINAL) * 3
    assert len(split_tile_leaves(bundle, 3)) == 3
    with pytest.raises(MalformedInput):
        split_tile_leaves(bundle, 2)


@pytest.mark.parametrize("entry", [FINAL, PRECERTIFICATE])
@pytest.mark.parametrize("kind", [2, 256, 65535])
def test_refuses_an_entry_of_another_type(entry, kind):
    whole = record(entry)
    changed = whole[:8] + kind.to_bytes(2) + whole[10:]
    for read in (parse_tile_entry, split_tile_leaves, merkle_tree_leaf_of):
        with pytest.raises(MalformedInput, match=f"of type {kind}"):
            read(changed)
