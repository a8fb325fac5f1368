"""fsck finds what is wrong where nothing else is, and takes nothing else for wrong."""

import sqlite3

import msgspec
import pytest
from tests.support.damaged_log import ALL, PUBLISHED, found, write_log
from tests.support.small_log import tree_hash

from hallmark.adapters.storage import key_index
from hallmark.core.merkle import HASH_SIZE, leaf_hash
from hallmark.errors import InvalidEntry, MalformedInput
from hallmark.tiledlog.records import TLOG_TILES
from hallmark.wiring.entry_rules import signature_rules


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    return write_log(tmp_path_factory.mktemp("log"))


@pytest.fixture
def log(sound, tmp_path, monkeypatch):
    monkeypatch.setattr(key_index, "RUN_KEYS", 530)
    return sound.copy(tmp_path)


def read(log, query: str, *values):
    with sqlite3.connect(log.database) as db:
        row = db.execute(query, values).fetchone()
    db.close()
    return row


def codes(report) -> set[str]:
    return {item.code for item in report.findings}


def test_what_was_published_beyond_the_head_is_found_unless_the_log_was_ended(log):
    log.path("tile/entries/003").write_bytes(b"of a larger tree")
    assert found(log.check()) == {("beyond_head", "tile/entries/003")}
    log.sql("UPDATE head SET frozen = 1")
    assert found(log.check()) == set()


def test_without_a_head_the_files_are_examined_by_their_own_checkpoint(log):
    log.flip("tile/0/000", 70)
    log.sql("UPDATE head SET root = 7")
    report = log.check()
    assert ("tile_differs", "tile/0/000, hash 2") in found(report)
    assert "database_unreadable" in codes(report)
    assert (report.origin, report.size) == ("log.example", PUBLISHED)
    log.path("checkpoint").unlink()
    report = log.check()
    assert codes(report) == {"database_unreadable"}
    assert (report.origin, report.size, report.root) == ("", 0, b"")


def test_a_missing_checkpoint_is_a_finding_where_nothing_else_states_the_tree(log):
    log.path("checkpoint").unlink()
    assert found(log.check()) == set()  # it is published after the tiles
    report = log.check_objects()
    assert found(report) == {("checkpoint_missing", "checkpoint")}
    assert (report.size, report.root) == (0, b"")


def test_a_file_that_cannot_be_read_is_found(log):
    for name in ("checkpoint", "tile/0/001"):
        log.path(name).unlink()
        log.path(name).symlink_to(log.path(name))
    assert found(log.check()) == {("checkpoint_unreadable", "checkpoint"), ("tile_unreadable", "tile/0/001")}


def test_a_checkpoint_of_the_whole_log_is_published_before_its_rows_are_gone(log):
    (note,) = read(log, "SELECT checkpoint FROM head")
    log.path("checkpoint").write_bytes(note)
    assert found(log.check()) == set()


@pytest.mark.parametrize("size", [1, 255, 300, 512, 599, 610])
def test_a_published_checkpoint_of_an_earlier_state_of_the_tree_is_none_of_another(log, size):
    root = tree_hash([leaf_hash(b"leaf %d" % index) for index in range(size)])
    log.path("checkpoint").write_bytes(log.log.signer.sign(size, root, 0))
    assert found(log.check()) == set()


def test_another_edge_of_the_same_root_is_found(log):
    log.sql("UPDATE head SET edge = root")
    assert found(log.check()) == {("head_edge_differs", "head")}


def test_a_stored_hash_that_is_not_its_entry_s_is_found_there_and_nowhere_else(log):
    log.flip_column("staged", "hashes", "start = 610")
    assert found(log.check()) == {("staged_hash_differs", "staged row 610, entry 610")}


def rows_without(log, index: int) -> None:
    """Take the key of a staged entry away from the index."""
    place = key_of(log, index)
    keys, start = read(log, "SELECT keys, start FROM recent WHERE start <= ? ORDER BY start DESC", index)
    assert place in keys
    log.sql("UPDATE recent SET keys = ? WHERE start = ?", keys.replace(place, bytes(len(place))), start)


def key_of(_log, index: int) -> bytes:
    return signature_rules().dedup_key(b"\0\0leaf %d" % index)


@pytest.mark.parametrize("column", ["hashes", "records"])
def test_what_is_right_in_a_staged_commit_that_is_damaged_is_looked_for_in_the_index(log, column):
    """All entries are the log's own where a hash beside them is wrong; the others where one of them is."""
    rows_without(log, 610)
    rows_without(log, 611)
    (data,) = read(log, f"SELECT {column} FROM staged WHERE start = 610")
    at = 2 if column == "records" else 0
    changed = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
    log.sql(f"UPDATE staged SET {column} = ? WHERE start = 610", changed)
    places = {where for code, where in found(log.check()) if code == "dedup_missing"}
    expected = {610, 611} if column == "hashes" else {611}
    assert places == {f"dedup row of entry {index}, key {key_of(log, index).hex()}" for index in expected}


@pytest.mark.parametrize("column", ["hashes", "records"])
def test_a_staged_commit_of_fewer_entries_than_its_row_says_is_found(log, column):
    (data,) = read(log, f"SELECT {column} FROM staged WHERE start = 610")
    cut = data[:-HASH_SIZE] if column == "hashes" else b"".join(TLOG_TILES.split(data)[:-1])
    log.sql(f"UPDATE staged SET {column} = ? WHERE start = 610", cut)
    assert ("staged_malformed", "staged row 610") in found(log.check())


def test_a_staged_entry_of_which_no_leaf_can_be_made_is_found(log):
    def leaf(record: bytes) -> bytes:
        if record == b"\0\x08leaf 615":
            raise MalformedInput("it has no leaf")
        return TLOG_TILES.leaf(record)

    report = log.check(records=msgspec.structs.replace(TLOG_TILES, leaf=leaf))
    assert ("staged_malformed", "staged row 610") in found(report)


def test_the_database_is_asked_nothing_more_once_it_has_failed(log):
    with sqlite3.connect(log.database) as db:
        db.execute("ALTER TABLE commit_time RENAME TO gone")
    db.close()
    assert [item.code for item in log.check().findings] == ["database_unreadable"]


def refuse(*indexes: int):
    def check(index: int, _record: bytes) -> None:
        if index in indexes:
            raise InvalidEntry("it does not belong here")

    return check


def test_every_entry_is_held_against_the_rules_of_its_log(log):
    rules = msgspec.structs.replace(signature_rules(), check=refuse(7, 615))
    expected = {("entry_invalid", "entry 7"), ("entry_invalid", "entry 615")}
    assert found(log.check(rules)) == expected
    assert found(log.check_objects(refuse(7))) == {("entry_invalid", "entry 7")}


def test_the_time_that_an_entry_states_is_that_of_its_commit(log):
    (time,) = read(log, "SELECT time FROM commit_time WHERE start = 0")
    rules = msgspec.structs.replace(signature_rules(), time=lambda record: time if len(record) == 8 else None)
    assert found(log.check(rules)) == set()
    late = msgspec.structs.replace(rules, time=lambda record: time + 1 if record[2:] == b"leaf 7" else None)
    assert found(log.check(late)) == {("commit_time_differs", "commit_time row of entry 7")}


def test_commits_of_one_time_are_found(log):
    log.sql("UPDATE commit_time SET time = (SELECT time FROM commit_time WHERE start = 0) WHERE start = 530")
    assert ("commit_time_order", "commit_time row 530") in found(log.check())


def test_commits_made_since_the_examination_began_are_no_part_of_it(log):
    log.sql("INSERT INTO commit_time SELECT ?, max(time) + 1 FROM commit_time", ALL)
    assert found(log.check()) == set()


@pytest.mark.parametrize(
    "name", ["tile/0/001.p/9", "tile/entries/000.p/255", "tile/1/000.p/1", "tile/0/002.p/1"]
)
def test_every_beginning_of_a_tile_that_still_stands_is_compared(log, name):
    log.path(name).parent.mkdir(exist_ok=True)
    log.path(name).write_bytes(b"of another tree")
    assert found(log.check()) == {("partial_differs", name)}


@pytest.mark.parametrize("name", ["tile/0/002.p/0", "tile/0/002.p/99", "tile/0/002.p/8~", "tile/0/001.p/256"])
def test_what_is_no_beginning_of_the_examined_tree_is_left_alone(log, name):
    """A half-written file, and what was published since the examination began."""
    log.path(name).parent.mkdir(exist_ok=True)
    log.path(name).write_bytes(b"another thing")
    assert "partial_differs" not in codes(log.check())


def test_where_what_stands_above_agrees_with_neither_the_finding_says_so(log):
    log.flip("tile/0/000", 70)
    (alone,) = log.check().findings
    log.flip("tile/1/000.p/2", 0)
    both = [item for item in log.check().findings if item.where == "tile/0/000, hash 2"]
    assert ["neither" in item.what for item in (alone, *both)] == [False, True]


def test_a_tile_above_that_was_cut_vouches_for_nothing(log):
    log.path("tile/1/000.p/2").write_bytes(log.path("tile/1/000.p/2").read_bytes()[:32])
    log.flip("tile/0/001", 0)
    assert found(log.check()) >= {
        ("tile_differs", "tile/0/001, hash 0"),
        ("tile_malformed", "tile/1/000.p/2"),
    }


def test_a_tile_of_more_bytes_than_its_hashes_is_found(log):
    path = log.path("tile/0/000")
    path.write_bytes(path.read_bytes() + b"more")
    (finding,) = log.check().findings
    assert (finding.code, finding.expected, finding.found) == ("tile_malformed", "8192", "8196")
