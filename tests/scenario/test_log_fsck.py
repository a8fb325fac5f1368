"""fsck finds every kind of damage, and says where it is."""

import sqlite3

import pytest
from tests.support.damaged_log import ALL, PUBLISHED, RUN, found, write_log

from hallmark.adapters.storage import key_index
from hallmark.adapters.storage.filesystem import FileObjectStore
from hallmark.core.merkle import leaf_hash
from hallmark.core.tiles import entry_bundle
from hallmark.tiledlog.findings import MAX_FINDINGS
from hallmark.tiledlog.fsck import check_mirror
from hallmark.tiledlog.records import TLOG_TILES


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    return write_log(tmp_path_factory.mktemp("log"))


@pytest.fixture
def log(sound, tmp_path, monkeypatch):
    monkeypatch.setattr(key_index, "RUN_KEYS", 530)
    return sound.copy(tmp_path)


def test_a_sound_log_has_no_findings(log):
    report = log.check()
    assert (report.origin, report.size, report.findings) == ("log.example", ALL, ())
    assert (log.check_objects().size, log.check_objects().findings) == (PUBLISHED, ())


def test_progress_tells_of_every_bundle(log):
    told = []
    check_mirror(
        FileObjectStore(log.folder / "public"),
        TLOG_TILES,
        log.log.signer.verify,
        progress=lambda done, total: told.append((done, total)),
        check_record=lambda _index, _record: None,
    )
    assert told == [(256, 600), (512, 600), (600, 600)]


FILES = [
    ("tile/entries/000", 2, "entry_differs", "entry 0 in tile/entries/000"),
    ("tile/entries/001", 2, "entry_differs", "entry 256 in tile/entries/001"),
    ("tile/entries/002.p/88", 2, "entry_differs", "entry 512 in tile/entries/002.p/88"),
    ("tile/entries/000", 0, "bundle_malformed", "tile/entries/000"),
    ("tile/0/000", 70, "tile_differs", "tile/0/000, hash 2"),
    ("tile/0/001", 0, "tile_differs", "tile/0/001, hash 0"),
    ("tile/0/002.p/88", 33, "tile_differs", "tile/0/002.p/88, hash 1"),
    ("tile/0/002.p/18", 0, "partial_differs", "tile/0/002.p/18"),
    ("tile/entries/002.p/18", 5, "partial_differs", "tile/entries/002.p/18"),
    ("checkpoint", 0, "checkpoint_invalid", "checkpoint"),
    ("checkpoint", 200, "checkpoint_invalid", "checkpoint"),
]


@pytest.mark.parametrize(("name", "offset", "code", "where"), FILES)
def test_a_flipped_bit_of_a_file_is_found_there_and_nowhere_else(log, name, offset, code, where):
    offset = min(offset, len(log.path(name).read_bytes()) - 2)
    log.flip(name, offset)
    assert found(log.check()) == {(code, where)}
    assert found(log.check_objects()) == {(code, where)}


def test_a_flipped_bit_of_a_tile_above_is_found(log):
    log.flip("tile/1/000.p/2", 32)
    assert found(log.check()) == {("tile_differs", "tile/1/000.p/2, hash 1")}


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("tile/entries/001", "bundle"),
        ("tile/entries/002.p/88", "bundle"),
        ("tile/0/001", "tile"),
        ("tile/0/002.p/88", "tile"),
        ("tile/1/000.p/2", "tile"),
    ],
)
def test_a_missing_object_is_found(log, name, kind):
    log.path(name).unlink()
    assert found(log.check()) == {(f"{kind}_missing", name)}


def test_a_bundle_and_a_tile_that_are_both_missing_leave_the_root_known(log):
    log.path("tile/entries/000").unlink()
    log.path("tile/0/000").unlink()
    expected = {("bundle_missing", "tile/entries/000"), ("tile_missing", "tile/0/000")}
    assert found(log.check()) == expected


def test_where_nothing_is_left_of_an_entry_the_root_is_unknown(log):
    log.path("tile/entries/002.p/88").unlink()
    log.path("tile/0/002.p/88").unlink()
    assert ("root_unknown", "size 600") in found(log.check())


@pytest.mark.parametrize("size", [0, 31, 32 * 100])
def test_a_tile_that_was_cut_is_found(log, size):
    log.path("tile/0/000").write_bytes(log.path("tile/0/000").read_bytes()[:size])
    assert found(log.check()) == {("tile_malformed", "tile/0/000")}


def test_a_bundle_that_was_cut_between_entries_is_found(log):
    leaves = [b"leaf %d" % index for index in range(255)]
    log.path("tile/entries/000").write_bytes(entry_bundle(leaves))
    assert found(log.check()) == {("bundle_malformed", "tile/entries/000")}


def test_an_entry_replaced_together_with_its_tile_is_found_one_level_up(log):
    leaves = [b"leaf %d" % index for index in range(256)]
    leaves[7] = b"forged"
    log.path("tile/entries/000").write_bytes(entry_bundle(leaves))
    log.path("tile/0/000").write_bytes(b"".join(map(leaf_hash, leaves)))
    assert ("entry_differs", "tile/0/000") in found(log.check_objects())
    codes = {item.code for item in log.check().findings}
    assert codes == {"entry_differs", "dedup_missing", "dedup_stray"}


def test_a_published_checkpoint_ahead_of_the_head_is_found(log):
    ahead = log.log.signer.sign(ALL + 1, b"r" * 32, 0)
    log.path("checkpoint").write_bytes(ahead)
    assert found(log.check()) == {("checkpoint_ahead", "checkpoint")}


@pytest.mark.parametrize("size", [0, 1, 300, 512, PUBLISHED, 610])
def test_a_published_checkpoint_of_another_tree_is_found(log, size):
    log.path("checkpoint").write_bytes(log.log.signer.sign(size, b"r" * 32, 0))
    assert found(log.check()) == {("checkpoint_differs", "checkpoint")}


COLUMNS = [
    ("head", "root", {"head_edge_differs", "checkpoint_differs", "head_differs"}),
    ("head", "edge", {"head_edge_differs"}),
    ("head", "checkpoint", {"checkpoint_invalid"}),
    ("head", "time", {"head_time_differs"}),
    ("head", "applied_edge", {"applied_edge_differs", "root_differs"}),
    ("staged", "hashes", {"staged_hash_differs"}),
    ("staged", "root", {"staged_root_differs", "checkpoint_differs"}),
    ("staged", "checkpoint", {"checkpoint_invalid"}),
    ("staged", "time", {"commit_time_differs"}),
    ("recent", "keys", {"dedup_missing", "dedup_stray"}),
    ("recent", "start", {"database_unreadable"}),
    ("key_run", "start", {"database_damaged", "database_unreadable"}),
    ("key_run", "end", {"database_damaged"}),
]


@pytest.mark.parametrize(("table", "column", "codes"), COLUMNS)
def test_a_flipped_bit_of_a_row_is_found(log, table, column, codes):
    log.flip_column(table, column)
    assert {item.code for item in log.check().findings} >= codes


def test_a_flipped_bit_of_a_staged_entry_is_found(log):
    with sqlite3.connect(log.database) as db:
        (records,) = db.execute("SELECT records FROM staged WHERE start = 610").fetchone()
    db.close()
    changed = records[:2] + bytes([records[2] ^ 1]) + records[3:]
    log.sql("UPDATE staged SET records = ? WHERE start = 610", changed)
    assert found(log.check()) == {("staged_entry_differs", "staged row 610, entry 610")}


def test_staged_entries_that_cannot_be_cut_are_found(log):
    log.sql("UPDATE staged SET records = x'ffff00' WHERE start = 610")
    assert ("staged_malformed", "staged row 610") in found(log.check())


def test_a_lost_staged_row_is_found(log):
    log.sql("DELETE FROM staged WHERE start = 600")
    assert ("staged_gap", "staged row 610") in found(log.check())


def run_record(log, index: int) -> int:
    """Where the record of an entry begins in the run."""
    data = (log.folder / "log.dedup" / RUN).read_bytes()
    return data.index(bytes.fromhex(log_key(index)) + index.to_bytes(6, "big"))


def flip_in_run(log, offset: int) -> None:
    path = log.folder / "log.dedup" / RUN
    data = bytearray(path.read_bytes())
    data[offset] ^= 1
    path.write_bytes(data)


UNSOUND = ("database_damaged", "log.db")  # the run does not have its hash


def test_a_key_that_is_no_entry_s_is_found_and_so_is_the_entry_without_its_own(log):
    flip_in_run(log, run_record(log, 7) + 31)
    wrong = log_key(7)[:-1] + format(int(log_key(7)[-1], 16) ^ 1, "x")
    assert found(log.check()) == {
        UNSOUND,
        ("dedup_missing", f"dedup row of entry 7, key {log_key(7)}"),
        ("dedup_stray", f"dedup row {wrong}"),
    }


def test_a_key_that_names_another_entry_is_found(log):
    flip_in_run(log, run_record(log, 6) + 37)
    assert found(log.check()) == {
        UNSOUND,
        ("dedup_differs", f"dedup row of entry 6, key {log_key(6)}"),
        ("dedup_stray", f"dedup row {log_key(6)}"),
        ("dedup_stray", f"dedup row {log_key(7)}"),
    } - {("dedup_stray", f"dedup row {sorted((log_key(6), log_key(7)))[0]}")}


def test_a_key_beyond_the_log_is_found(log):
    flip_in_run(log, run_record(log, 6) + 32)
    assert found(log.check()) == {
        UNSOUND,
        ("dedup_differs", f"dedup row of entry 6, key {log_key(6)}"),
        ("dedup_stray", f"dedup row {log_key(6)}"),
    }


@pytest.mark.parametrize("damage", ["missing", "cut"])
def test_a_run_that_cannot_be_read_is_found_and_stops_nothing(log, damage):
    path = log.folder / "log.dedup" / RUN
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-1])
    report = log.check()
    assert RUN in report.findings[0].what
    assert report.findings[0].code == "database_damaged"
    assert (report.size, report.count) == (ALL, 1 + 530)


def log_key(index: int) -> str:
    import hashlib

    return hashlib.sha256(b"leaf %d" % index).hexdigest()


@pytest.mark.parametrize(
    ("statement", "code"),
    [
        ("DELETE FROM commit_time WHERE start = 0", "commit_time_gap"),
        ("UPDATE commit_time SET time = 5 WHERE start = 530", "commit_time_order"),
        ("DELETE FROM commit_time WHERE start = 610", "head_time_differs"),
        ("UPDATE commit_time SET time = time + 1 WHERE start = 600", "commit_time_differs"),
    ],
)
def test_wrong_times_are_found(log, statement, code):
    log.sql(statement)
    assert code in {item.code for item in log.check().findings}


def test_every_damaged_page_of_the_database_is_found_and_stops_nothing(log):
    data = log.database.read_bytes()
    for page in range(1, len(data) // 4096):
        start = page * 4096
        torn = data[:start] + bytes(16) + data[start + 16 :]
        log.database.write_bytes(torn)
        report = log.check()
        assert report.size in (0, PUBLISHED, ALL)
        if data[start] in (2, 5, 10, 13):  # the kinds of pages that hold rows
            assert report.count, page


def test_findings_beyond_the_bound_are_counted(log):
    (log.folder / "log.dedup" / RUN).unlink()
    report = log.check()
    assert (len(report.findings), report.count) == (MAX_FINDINGS, 1 + 530)


def test_nothing_is_written(log):
    before = {path: path.read_bytes() for path in log.folder.rglob("*") if path.is_file()}
    log.check()
    assert {path: path.read_bytes() for path in before} == before
