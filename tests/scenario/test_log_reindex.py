"""A lost or damaged dedup index is made anew from the log's entries, and from nothing else."""

import json
import shutil
import sqlite3
from pathlib import Path

import pytest
import urllib3
from tests.support.instance import RunningInstance
from tests.support.load import entry_request

from hallmark.adapters.storage import key_index
from hallmark.adapters.storage.key_rebuild import rebuild_run
from hallmark.adapters.storage.key_run import RunName
from hallmark.core.merkle import leaf_hash
from hallmark.tiledlog.records import TLOG_TILES
from hallmark.wiring.checking import open_log
from hallmark.wiring.layout import Layout

ENTRIES = 300
CERTIFICATES = 5


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A stopped instance whose logs have runs, the requests that it took, and a home."""
    home = tmp_path_factory.mktemp("home")
    running = RunningInstance(tmp_path_factory.mktemp("data") / "instance", home)
    (home / "token").write_text(running.token())
    for number in range(CERTIFICATES):
        (home / f"file{number}").write_text(str(number))
        token = ("--identity-token", str(home / "token"))
        running.run("sign", "--instance", running.base_url, *token, str(home / f"file{number}"))
    requests = [entry_request() for _ in range(ENTRIES)]
    assert set(post(running, requests)) == {201}
    assert running.stop() == 0
    with pytest.MonkeyPatch.context() as patch:
        for log, keys in (("tlog", 100), ("ctlog", 3)):
            patch.setattr(key_index, "RUN_KEYS", keys)
            make_runs(running.root, log)
    return running, requests


@pytest.fixture
def copy(written, tmp_path):
    running, _ = written
    shutil.copytree(running.root, tmp_path / "instance")
    (tmp_path / "instance" / "place.json").unlink(missing_ok=True)  # this copy is as new as the original
    return tmp_path / "instance"


def post(running: RunningInstance, requests: list[bytes]) -> list[int]:
    pool = urllib3.PoolManager()
    url = f"{running.base_url}/api/v2/log/entries"
    statuses = [pool.request("POST", url, body=request).status for request in requests]
    pool.clear()
    return statuses


def make_runs(root: Path, log: str) -> None:
    store = open_log(Layout(root), log).store()
    for _ in range(5):
        store._next_keeping = 0.0
        store.compact()
    store.close()


def runs(root: Path, log: str = "tlog") -> list[Path]:
    return sorted((root / log / "log.dedup").iterdir())


def content(root: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for log in ("tlog", "ctlog") for path in runs(root, log)}


def told(written, *arguments: str, code: int = 0) -> dict:
    done = written[0].run("log", *arguments, "--json", check=False)
    assert done.returncode == code, done.stdout + done.stderr
    return json.loads(done.stdout)


def test_a_sound_index_is_left_alone(written, copy):
    before = content(copy)
    assert len(runs(copy)) == 3
    assert len(runs(copy, "ctlog")) == 1
    assert told(written, "reindex", "--data", str(copy))["logs"] == {"tlog": [], "ctlog": []}
    assert content(copy) == before


def test_lost_and_damaged_runs_of_every_log_are_made_anew_byte_for_byte(written, copy):
    before = content(copy)
    lost, cut, flipped = runs(copy)
    lost.unlink()
    cut.write_bytes(cut.read_bytes()[:-1])
    flipped.write_bytes(before[flipped][:100] + bytes([before[flipped][100] ^ 1]) + before[flipped][101:])
    shutil.rmtree(copy / "ctlog" / "log.dedup")
    made = told(written, "reindex", "--data", str(copy))["logs"]
    assert sorted(made["tlog"]) == [lost.name, cut.name, flipped.name]
    assert len(made["ctlog"]) == 1
    assert content(copy) == before
    reports = told(written, "fsck", "--data", str(copy))["logs"]
    assert [report["count"] for report in reports.values()] == [0, 0]


def test_a_run_that_is_whole_and_wrong_is_made_anew_once_it_is_deleted(written, copy):
    before = content(copy)
    path = runs(copy)[0]
    _, start, end = path.stem.split("-")
    wrong = [(bytes(31) + bytes([index % 256]), index) for index in range(int(start), int(end))]
    rebuild_run(path.parent, RunName(int(start), int(end)), wrong)
    assert told(written, "reindex", "--data", str(copy))["logs"]["tlog"] == []
    path.unlink()
    assert told(written, "reindex", "--data", str(copy), "--log", "tlog")["logs"] == {"tlog": [path.name]}
    assert content(copy) == before


def test_an_instance_that_lacks_a_run_names_the_command_and_goes_on_after_it(written, copy, tmp_path):
    running, requests = written
    runs(copy)[0].unlink()
    refused = running.run("up", "--data", str(copy), "--listen", "127.0.0.1:0", check=False)
    assert refused.returncode != 0
    assert "hallmark log reindex" in refused.stderr
    told(written, "reindex", "--data", str(copy))
    again = RunningInstance(copy, tmp_path)
    try:
        assert set(post(again, requests)) == {409}
    finally:
        assert again.stop() == 0


@pytest.mark.parametrize("name", ["tile/entries/000", "tile/0/000"])
@pytest.mark.parametrize("damage", ["flipped", "missing", "cut"])
def test_no_key_is_taken_from_entries_that_are_not_the_log_s(written, copy, name, damage):
    runs(copy)[0].unlink()
    path = copy / "tlog" / "public" / name
    data = path.read_bytes()
    changed = data[:50] + bytes([data[50] ^ 1]) + data[51:]
    path.unlink()
    if damage != "missing":
        path.write_bytes(changed if damage == "flipped" else data[: len(data) // 2])
    before = content(copy)
    error = told(written, "reindex", "--data", str(copy), code=1)["error"]
    assert error["code"] == "damaged_log"
    assert error["message"].startswith("the entries [0, ")
    assert content(copy) == before


def test_an_entry_replaced_together_with_its_tile_gives_no_key(written, copy):
    public = copy / "tlog" / "public" / "tile"
    records = TLOG_TILES.split((public / "entries/000").read_bytes())
    records[9] = records[9][:-1] + b"?"
    (public / "entries/000").write_bytes(b"".join(records))
    hashes = (public / "0/000").read_bytes()
    changed = leaf_hash(TLOG_TILES.leaf(records[9]))
    (public / "0/000").write_bytes(hashes[: 9 * 32] + changed + hashes[10 * 32 :])
    runs(copy)[0].unlink()
    assert told(written, "reindex", "--data", str(copy), code=1)["error"]["code"] == "damaged_log"


def test_a_running_instance_and_no_instance_are_refused(written, copy, tmp_path):
    running = RunningInstance(copy, tmp_path)
    try:
        error = told(written, "reindex", "--data", str(copy), code=2)["error"]
        assert error["code"] == "instance_running"
    finally:
        assert running.stop() == 0
    assert told(written, "reindex", "--data", str(tmp_path / "none"), code=2)["error"]["code"] != "bug"
    assert not (tmp_path / "none").exists()


def test_a_database_with_a_gap_is_an_error_and_not_mended(written, copy):
    with sqlite3.connect(copy / "tlog" / "log.db") as db:
        db.execute("DELETE FROM key_run WHERE start = 0")
    db.close()
    error = told(written, "reindex", "--data", str(copy), code=2)["error"]
    assert error["code"] == "storage_failed"
