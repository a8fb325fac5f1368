"""Tiles and entry bundles (C2SP tlog-tiles)."""

import hashlib

import pytest

from hallmark.core.tiles import (
    MAX_ENTRY_BYTES,
    TILE_WIDTH,
    TileId,
    TileNodes,
    bundle_record,
    bundles_between,
    entry_bundle,
    parse_entry_bundle,
    parse_tile_path,
    split_hashes,
    tiles_between,
)
from hallmark.errors import MalformedInput


def paths(tiles) -> list[str]:
    return [tile.path() for tile in tiles]


@pytest.mark.parametrize(
    ("tile", "path"),
    [
        (TileId(0, 0), "0/000"),
        (TileId(1, 5, 17), "1/005.p/17"),
        (TileId(0, 1234067), "0/x001/x234/067"),
        (TileId(None, 999), "entries/999"),
        (TileId(None, 1000, 255), "entries/x001/000.p/255"),
    ],
)
def test_prints_and_reads_paths(tile, path):
    assert tile.path() == path
    assert parse_tile_path(path) == tile
    assert parse_tile_path(tile.path("data"), "data") == tile


@pytest.mark.parametrize(
    "path",
    [
        "",
        "0",
        "0/",
        "0/1",
        "0/0000",
        "0/x000/001",
        "0/001/002",
        "0/x01/002",
        "00/000",
        "8/000",
        "-1/000",
        "a/000",
        "data/000",
        "0/000.p/",
        "0/000.p/0",
        "0/000.p/256",
        "0/000.p/01",
        "0/000.p/1/",
        "0/000/",
        "/0/000",
        "0/000\n",
        "0/\u0660\u0660\u0660",
        "0/" + "x001/" * 30 + "000",
        "0/" + "x999/" * 6 + "999",
        "../0/000",
    ],
)
def test_refuses_every_other_path(path):
    with pytest.raises(MalformedInput):
        parse_tile_path(path)


def test_the_worked_example_of_seventy_thousand_leaves():
    """C2SP tlog-tiles: 273 full tiles and one of 112 at level 0, one full and one of 17 above, one of 1."""
    found = paths(tiles_between(0, 70_000))
    assert len(found) == 277
    assert found[272:] == ["0/272", "0/273.p/112", "1/000", "1/001.p/17", "2/000.p/1"]
    assert paths(tiles_between(0, 256)) == ["0/000", "1/000.p/1"]


def test_lists_only_what_is_new():
    assert paths(tiles_between(255, 257)) == ["0/000", "0/001.p/1", "1/000.p/1"]
    assert paths(tiles_between(257, 258)) == ["0/001.p/2"]
    assert paths(tiles_between(258, 258)) == []
    assert paths(bundles_between(0, 0)) == []
    assert paths(bundles_between(255, 513)) == ["entries/000", "entries/001", "entries/002.p/1"]
    assert paths(bundles_between(5, 5)) == []


def test_entry_bundles_hold_their_entries():
    entries = [b"", b"one", b"x" * MAX_ENTRY_BYTES]
    assert parse_entry_bundle(entry_bundle(entries)) == entries
    assert bundle_record(b"one") == b"\x00\x03one"
    assert parse_entry_bundle(b"") == []


@pytest.mark.parametrize("data", [b"\x00", b"\x00\x05abc", b"\x00\x01a\xff", b"\x00\x00" * 257])
def test_refuses_a_broken_entry_bundle(data):
    with pytest.raises(MalformedInput):
        parse_entry_bundle(data)


def test_refuses_an_entry_that_is_too_large():
    with pytest.raises(MalformedInput) as caught:
        bundle_record(b"x" * (MAX_ENTRY_BYTES + 1))
    assert caught.value.code == "entry_too_large"


def test_cuts_a_tile_into_hashes():
    assert split_hashes(b"a" * 32 + b"b" * 32) == [b"a" * 32, b"b" * 32]
    with pytest.raises(MalformedInput):
        split_hashes(b"a" * 33)


@pytest.mark.parametrize("width", [1, 2, 7, 129, 255, 256])
def test_gives_the_complete_nodes_above_a_tile_and_no_others(width):
    hashes = [hashlib.sha256(bytes([number])).digest() for number in range(width)]
    nodes = TileNodes(b"".join(hashes))
    row = hashes
    for height in range(9):
        assert [nodes.node(height, index) for index in range(len(row))] == row
        with pytest.raises(MalformedInput):
            nodes.node(height, len(row))
        row = [
            hashlib.sha256(b"\x01" + row[at] + row[at + 1]).digest() for at in range(0, len(row) // 2 * 2, 2)
        ]


def test_a_tile_of_broken_length_has_no_nodes():
    with pytest.raises(MalformedInput):
        TileNodes(b"a" * 65).node(1, 0)


def test_a_path_names_tiles_up_to_the_last_of_any_tree():
    last = TileId(None, 2**55 - 1, TILE_WIDTH)
    assert parse_tile_path(last.path()) == last
    with pytest.raises(MalformedInput, match="names no tile"):
        parse_tile_path(TileId(None, 2**55, TILE_WIDTH).path())


def test_a_path_has_up_to_64_characters():
    path = "0/" + "x001/" * 11 + "1234567"
    assert len(path) == 64
    with pytest.raises(MalformedInput, match="names no tile"):
        parse_tile_path(path)
    with pytest.raises(MalformedInput, match="too long"):
        parse_tile_path(path + "8")


@pytest.mark.parametrize("level", ["\u0660", "\u00b2", "-1", "+1", "00", "64"])
def test_a_level_is_spelled_in_one_way(level):
    with pytest.raises(MalformedInput):
        parse_tile_path(f"{level}/000")
