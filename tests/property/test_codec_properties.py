"""Every codec reads back what it printed, and prints again what it accepts."""

import json
from datetime import UTC, datetime, timedelta

import rfc8785
from hypothesis import given
from hypothesis import strategies as st
from tests.support import world as w

from hallmark.core.algorithms import ALGORITHMS, SHA2_256
from hallmark.core.bundle import Bundle, MessageSignature, parse_bundle
from hallmark.core.checkpoint import Checkpoint, parse_checkpoint
from hallmark.core.dsse import Envelope, EnvelopeSignature, parse_envelope
from hallmark.core.encoding.protojson import (
    format_bytes,
    format_timestamp,
    parse_bytes,
    parse_int64,
    parse_timestamp,
)
from hallmark.core.encoding.tls import Reader, uint, vector
from hallmark.core.entries.hashedrekord import hashedrekord_v002_body, parse_hashedrekord_v002
from hallmark.core.note import Note, NoteSignature, parse_note
from hallmark.core.signing_config import Selector, Service, SigningConfig, parse_signing_config
from hallmark.core.tiles import TileId, entry_bundle, parse_entry_bundle, parse_tile_path
from hallmark.core.transparency_log_entry import (
    InclusionProof,
    TransparencyLogEntry,
    parse_transparency_log_entry,
)
from hallmark.core.trusted_root import TrustedRoot, Validity, parse_trusted_root
from hallmark.core.x509.sct import Sct, parse_sct, parse_sct_list, sct_list_extension
from hallmark.errors import MalformedInput

hashes = st.binary(min_size=32, max_size=32)
some_bytes = st.binary(min_size=1, max_size=100)
numbers = st.integers(0, 2**63 - 1)
text = st.text(min_size=1, max_size=30)
lines = st.text(
    st.characters(codec="utf-8", min_codepoint=0x20, exclude_categories=["Cs"]), min_size=1, max_size=20
)
names = st.text("abc.-/09", min_size=1, max_size=20)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
times = st.integers(0, 2 * 10**17).map(lambda microseconds: EPOCH + timedelta(microseconds=microseconds))
validities = st.builds(Validity, times, st.none() | times)

proofs = st.builds(
    InclusionProof,
    log_index=numbers,
    root_hash=hashes,
    tree_size=numbers,
    hashes=st.lists(hashes, max_size=5).map(tuple),
    checkpoint=text.map(str.encode),
)
entries = st.builds(
    TransparencyLogEntry,
    log_index=numbers,
    log_id=hashes,
    kind=text,
    version=text,
    integrated_time=numbers,
    inclusion_promise=st.none() | some_bytes,
    inclusion_proof=proofs,
    canonicalized_body=some_bytes,
)
envelopes = st.builds(
    Envelope,
    payload=st.binary(max_size=100),
    payload_type=text,
    signatures=st.tuples(st.builds(EnvelopeSignature, some_bytes, st.text(max_size=10))),
)
signatures = st.builds(MessageSignature, st.just(SHA2_256), hashes, some_bytes)
evidence = {
    "tlog_entries": st.lists(entries, max_size=2, unique_by=lambda item: (item.log_id, item.log_index)).map(
        tuple
    ),
    "timestamps": st.lists(some_bytes, max_size=3, unique=True).map(tuple),
}
bundles = st.one_of(
    st.builds(Bundle, certificate=some_bytes, message_signature=signatures, **evidence),
    st.builds(Bundle, public_key_hint=st.text(max_size=10), envelope=envelopes, **evidence),
)
services = st.lists(
    st.builds(
        Service,
        url=names.map("https://{}".format),
        major_api_version=st.integers(0, 9),
        valid_for=validities,
        operator=st.text(max_size=10),
    ),
    max_size=3,
).map(tuple)
selectors = st.sampled_from([Selector("ANY"), Selector("ALL"), Selector("EXACT", 2)])
configs = st.builds(
    SigningConfig,
    ca_urls=services,
    oidc_urls=services,
    rekor_tlog_urls=services,
    rekor_tlog_config=selectors,
    tsa_urls=services,
    tsa_config=selectors,
)


@given(bundles)
def test_bundles(bundle):
    assert parse_bundle(bundle.to_json()) == bundle


@given(entries)
def test_log_entries(entry):
    assert parse_transparency_log_entry(entry.to_json()) == entry


@given(envelopes)
def test_envelopes(envelope):
    assert parse_envelope(envelope.to_json()) == envelope


@given(st.lists(validities, max_size=3), validities)
def test_trusted_roots(log_validities, authority_validity):
    root = TrustedRoot(
        tlogs=tuple(w.v2_log(valid_for=item) for item in log_validities),
        certificate_authorities=(w.authority("ca", WORLD.ca_chain, authority_validity),),
    )
    assert parse_trusted_root(root.to_json()) == root


WORLD = w.World()


@given(configs)
def test_signing_configs(config):
    assert parse_signing_config(config.to_json()) == config


@given(
    digest=st.binary(max_size=64),
    signature=st.binary(max_size=200),
    details=st.sampled_from(sorted(name for name, row in ALGORITHMS.items() if row.hash)),
    verifier=some_bytes,
    kind=st.sampled_from(["certificate", "public_key"]),
)
def test_hashedrekord_bodies_are_canonical(digest, signature, details, verifier, kind):
    body = hashedrekord_v002_body(digest, ALGORITHMS[details].hash, signature, details, **{kind: verifier})
    assert rfc8785.dumps(json.loads(body)) == body
    assert parse_hashedrekord_v002(body).to_bytes() == body


@given(
    st.lists(lines, max_size=4),
    st.lists(
        st.builds(NoteSignature, names, st.binary(min_size=4, max_size=4), some_bytes), min_size=1, max_size=3
    ),
)
def test_notes(text_lines, found):
    note = Note("".join(f"{line}\n" for line in text_lines) or "\n", tuple(found))
    assert parse_note(note.to_bytes()) == note


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_an_accepted_note_is_printed_the_same(data):
    data = b"text\n\n\xe2\x80\x94 name " + data
    try:
        note = parse_note(data)
    except MalformedInput:
        return
    assert note.to_bytes() == data


@given(names, numbers, hashes, st.lists(lines, max_size=3))
def test_checkpoints(origin, size, root, extensions):
    checkpoint = Checkpoint(origin, size, root, tuple(extensions))
    assert parse_checkpoint(checkpoint.to_text()) == checkpoint


@given(st.text("0123456789+-=abAB/\n ", max_size=80))
def test_an_accepted_checkpoint_is_printed_the_same(found):
    candidate = f"log.example\n{found}"
    try:
        checkpoint = parse_checkpoint(candidate)
    except MalformedInput:
        return
    assert checkpoint.to_text() == candidate


@given(st.none() | st.integers(0, 7), st.integers(0, 2**55 - 1), st.integers(1, 256))
def test_tile_paths(level, index, width):
    tile = TileId(level, index, width)
    assert parse_tile_path(tile.path()) == tile


@given(st.text("0123456789x/.pentris", max_size=30))
def test_an_accepted_tile_path_is_printed_the_same(path):
    try:
        tile = parse_tile_path(path)
    except MalformedInput:
        return
    assert tile.path() == path


@given(st.lists(st.binary(max_size=50), max_size=20))
def test_entry_bundles(found):
    assert parse_entry_bundle(entry_bundle(found)) == found


@given(st.binary(max_size=60))
def test_an_accepted_entry_bundle_is_printed_the_same(data):
    try:
        found = parse_entry_bundle(data)
    except MalformedInput:
        return
    assert entry_bundle(found) == data


scts = st.builds(
    Sct,
    log_id=hashes,
    timestamp=st.integers(0, 2**64 - 1),
    extensions=st.binary(max_size=20),
    hash_algorithm=st.integers(0, 255),
    signature_algorithm=st.integers(0, 255),
    signature=st.binary(max_size=80),
)


@given(st.lists(scts, max_size=4))
def test_scts(found):
    assert parse_sct_list(sct_list_extension(found)) == tuple(found)
    for sct in found:
        assert parse_sct(sct.to_bytes()) == sct


@given(st.binary(max_size=80))
def test_an_accepted_sct_is_printed_the_same(data):
    candidate = b"\x00" + bytes(32) + data
    try:
        sct = parse_sct(candidate)
    except MalformedInput:
        return
    assert sct.to_bytes() == candidate


@given(st.integers(0, 2**24 - 1), st.binary(max_size=50))
def test_tls_values(number, content):
    reader = Reader(uint(number, 3) + vector(content, 2), "the value")
    assert (reader.uint(3), reader.vector(2)) == (number, content)
    reader.finish()


@given(st.binary(max_size=50), st.integers(-(2**63), 2**63 - 1), times)
def test_proto_values(data, number, moment):
    assert parse_bytes(format_bytes(data), what="x") == data
    assert parse_int64(str(number), what="x") == parse_int64(number, what="x") == number
    assert parse_timestamp(format_timestamp(moment), what="x") == moment


@given(
    st.recursive(
        st.none() | st.booleans() | st.text(max_size=5),
        lambda inner: st.dictionaries(st.text(max_size=9), inner, max_size=4) | st.lists(inner, max_size=3),
    )
)
def test_hostile_json_ends_in_malformed_input(value):
    data = json.dumps(value).encode()
    for parse in (parse_bundle, parse_transparency_log_entry, parse_trusted_root, parse_signing_config):
        try:
            parse(data)
        except MalformedInput:
            continue
        raise AssertionError(f"{parse.__name__} accepted {data!r}")
