"""How much a bundle may hold, and of which versions there are."""

import json

import msgspec
import pytest
from tests.support import world as w

from hallmark.core.bundle import (
    BUNDLE_V02,
    MAX_CERTIFICATE_BYTES,
    MAX_ENTRIES,
    MAX_INTERMEDIATES,
    MAX_TIMESTAMPS,
    parse_bundle,
)
from hallmark.errors import MalformedInput

replace = msgspec.structs.replace
BUNDLE = w.World().bundle()
OLD = replace(BUNDLE, media_type=BUNDLE_V02)


def entries(count: int):
    return tuple(replace(BUNDLE.tlog_entries[0], log_index=index) for index in range(count))


@pytest.mark.parametrize(
    ("field", "most", "beyond"),
    [
        ("tlog_entries", entries(MAX_ENTRIES), entries(MAX_ENTRIES + 1)),
        ("timestamps", (b"t",) * MAX_TIMESTAMPS, (b"t",) * (MAX_TIMESTAMPS + 1)),
        ("intermediates", (b"c",) * MAX_INTERMEDIATES, (b"c",) * (MAX_INTERMEDIATES + 1)),
        ("intermediates", (bytes(MAX_CERTIFICATE_BYTES),), (bytes(MAX_CERTIFICATE_BYTES + 1),)),
        ("intermediates", (b"c",), (b"",)),
        ("certificate", bytes(MAX_CERTIFICATE_BYTES), bytes(MAX_CERTIFICATE_BYTES + 1)),
        ("certificate", b"c", b""),
    ],
)
def test_a_bundle_holds_up_to(field, most, beyond):
    assert replace(OLD, **{field: most})
    with pytest.raises(MalformedInput):
        replace(OLD, **{field: beyond})


@pytest.mark.parametrize("field", ["log_id", "log_index"])
def test_entries_of_several_logs_or_places_are_not_the_same(field):
    (entry,) = BUNDLE.tlog_entries
    other = replace(entry, **({"log_id": bytes(32)} if field == "log_id" else {"log_index": 77}))
    assert len(replace(BUNDLE, tlog_entries=(entry, other)).tlog_entries) == 2
    with pytest.raises(MalformedInput, match="twice"):
        replace(BUNDLE, tlog_entries=(entry, entry))


def test_an_unknown_version_is_told_before_anything_else():
    unknown = "application/vnd.dev.sigstore.bundle.v9+json"
    with pytest.raises(MalformedInput) as caught:
        replace(BUNDLE, media_type=unknown)
    assert unknown in caught.value.message
    for rest in ({}, {"verificationMaterial": {"tlogEntries": [{"logIndex": "x"}]}}):
        with pytest.raises(MalformedInput) as caught:
            parse_bundle(json.dumps({"mediaType": unknown, **rest}).encode())
        assert unknown in caught.value.message


def test_a_chain_needs_its_leaf():
    bare = w.World().key_bundle()
    assert replace(bare, media_type=BUNDLE_V02).certificate is None
    with pytest.raises(MalformedInput, match="no certificate chain"):
        replace(bare, media_type=BUNDLE_V02, intermediates=(b"c",))


def test_a_chain_is_a_mark_of_the_new_version_alone():
    """The older versions have one as a rule, and a bundle printed anew has none."""
    found = json.loads(BUNDLE.to_json())
    material = found["verificationMaterial"]
    chain = {"certificates": [material.pop("certificate")]}
    for version, holds_chain in ((BUNDLE_V02, False), (BUNDLE.media_type, True)):
        old = {
            **found,
            "mediaType": version,
            "verificationMaterial": {**material, "x509CertificateChain": chain},
        }
        read = parse_bundle(json.dumps(old).encode())
        assert read.holds_chain is holds_chain
        assert parse_bundle(read.to_json()).holds_chain is False
