"""A copy that was put back over the directory it came from is noticed, whatever tool wrote it."""

import json
import shutil
import subprocess

import pytest
from tests.support.site import Site, fill, mirror_all

from hallmark.wiring.layout import Layout
from hallmark.wiring.place import note_place

TOOLS = {
    "cp -a": "cp -a BACKUP/. DATA/",
    "cp -r": "cp -r BACKUP/. DATA/",
    "tar": "tar -C BACKUP -cf BACKUP.tar . && tar -C DATA -xf BACKUP.tar",
    "tar --overwrite": "tar -C BACKUP -cf BACKUP.tar . && tar -C DATA --overwrite -xf BACKUP.tar",
}


@pytest.fixture
def site(tmp_path):
    made = Site(tmp_path)
    yield made
    made.stop()


def put_over(site: Site, command: str) -> None:
    words = {"BACKUP": str(site.folder / "backup"), "DATA": str(site.data)}
    for name, path in words.items():
        command = command.replace(name, path)
    subprocess.run(command, shell=True, check=True)


def went_on(site: Site) -> None:
    """Copy the stopped instance, then let it sign."""
    site.stop()
    shutil.copytree(site.data, site.folder / "backup")
    site.start()
    fill(site, 2)
    site.stop()


@pytest.mark.parametrize("tool", TOOLS)
def test_an_older_copy_put_back_over_the_directory_does_not_start(site, tool):
    went_on(site)
    put_over(site, TOOLS[tool])
    assert site.refused() == "copied_directory"
    done = site.restore("--nothing-newer-exists")  # the tiles that it left show more
    assert done["error"]["code"] == "log_behind_its_checkpoint"
    assert site.restore("--replace-logs")["ok"]
    site.start()
    site.sign("file")
    site.verify("file")
    assert site.sizes()["shards/2"] == 2


def test_an_older_log_alone_is_shown_by_what_was_published_after_it(site):
    went_on(site)
    put_over(site, "cp -a BACKUP/tlog/. DATA/tlog/")
    assert site.refused() == "log_behind_its_checkpoint"
    found = site.tool.run("log", "fsck", "--data", str(site.data), "--json", check=False)
    codes = {item["code"] for item in json.loads(found.stdout)["logs"]["tlog"]["findings"]}
    assert (found.returncode, codes) == (1, {"beyond_head"})
    found = site.tool.run("doctor", "--data", str(site.data), check=False)
    assert found.returncode != 0
    assert "older copy" in found.stderr


@pytest.mark.parametrize("name", ["instance.json", "ca/chain.pem", "tsa/chain.pem", "client/root.json"])
def test_each_file_that_never_changes_shows_that_it_was_written(site, name):
    site.stop()
    path = site.data / name
    path.write_bytes(path.read_bytes())
    assert site.refused() == "copied_directory"


def test_modes_that_a_start_closes_do_not_make_a_copy(site):
    site.stop()
    (site.data / "instance.json").chmod(0o666)
    assert site.refused() == "copied_directory"  # anybody may have done that, with a copy's content
    (site.data / "instance.json").chmod(0o666)
    note_place(Layout(site.data))
    for _ in range(2):
        site.start()
        site.stop()
    assert (site.data / "instance.json").stat().st_mode & 0o777 == 0o644


def test_a_shard_that_was_put_back_is_noticed_like_the_first_log(site):
    site.tool.run("log", "rotate", "--data", str(site.data))
    site.stop()
    site.start()
    site.stop()
    shard = Layout(site.data).root / "shards" / "2"
    shutil.copytree(shard, site.folder / "shard")
    shutil.rmtree(shard)
    shutil.copytree(site.folder / "shard", shard)
    assert site.refused() == "copied_directory"


def test_a_note_of_an_earlier_release_is_completed(site):
    site.stop()
    note = site.data / "place.json"
    content = json.loads(note.read_text())
    del content["changed"]
    note.write_text(json.dumps(content))
    site.start()
    site.stop()
    assert set(json.loads(note.read_text())["changed"]) == {
        *("instance.json", "ca/chain.pem", "tsa/chain.pem", "client/root.json")
    }


COMMANDS = {
    "freeze": ("log", "freeze", "--shard", "1"),
    "rotate": ("log", "rotate"),
    "reindex": ("log", "reindex"),
}


def content(site: Site) -> dict:
    return {path: path.read_bytes() for path in site.data.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_that_writes_to_the_logs_refuses_a_copy_as_a_start_does(site, name):
    site.tool.run("log", "rotate", "--data", str(site.data))
    went_on(site)
    site.put_back(site.folder / "backup")
    before = content(site)
    done = site.tool.run(*COMMANDS[name], "--data", str(site.data), "--json", check=False)
    assert (done.returncode, json.loads(done.stdout)["error"]["code"]) == (5, "copied_directory")
    assert content(site) == before


@pytest.mark.parametrize(("name", "code"), [("freeze", 5), ("rotate", 5), ("reindex", 0)])
def test_while_a_restore_is_not_finished_only_the_index_may_be_made_again(site, name, code):
    site.tool.run("log", "rotate", "--data", str(site.data))
    site.stop()
    assert site.restore()["error"]["code"] == "newer_entries_not_ruled_out"
    done = site.tool.run(*COMMANDS[name], "--data", str(site.data), "--json", check=False)
    assert done.returncode == code


def test_a_shard_that_has_published_more_than_it_has_is_not_frozen(site):
    site.tool.run("log", "rotate", "--data", str(site.data))
    site.stop()
    bundle = Layout(site.data).public("tlog") / "tile" / "entries" / "000.p"
    shutil.copy(bundle / "1", bundle / "2")
    done = site.tool.run("log", "freeze", "--shard", "1", "--data", str(site.data), "--json", check=False)
    assert (done.returncode, json.loads(done.stdout)["error"]["code"]) == (5, "log_behind_its_checkpoint")


def test_a_frozen_log_is_beyond_doubt_because_it_signs_nothing_more(site):
    site.tool.run("log", "rotate", "--data", str(site.data))
    site.stop()
    site.tool.run("log", "freeze", "--shard", "1", "--data", str(site.data))
    message = site.restore()["error"]["message"]
    assert message.startswith("shards/2 (1 entries)")
    told = site.tool.run("log", "restore", "--data", str(site.data), "--replace-logs").stdout
    ended = {line.partition(":")[0] for line in told.splitlines() if line.endswith("ended here")}
    assert ended == {"shards/2", "ctlog"}


def test_a_frozen_log_that_a_mirror_has_more_of_gets_what_it_lacks(site):
    """The copy was frozen where it was; what the mirror has of it is older than the freezing."""
    fill(site, 2)
    site.tool.run("log", "rotate", "--data", str(site.data))
    mirror_all(site)
    site.stop()
    site.tool.run("log", "freeze", "--shard", "1", "--data", str(site.data))
    shutil.rmtree(Layout(site.data).public("tlog") / "tile")
    assert site.restore("--from", str(site.mirror), "--nothing-newer-exists")["ok"]
    assert site.sizes() == {"tlog": 3, "shards/2": 1, "ctlog": 0}


def test_a_log_that_a_restore_has_ended_is_beyond_doubt(site):
    site.stop()
    assert site.restore("--replace-logs")["ok"]
    message = site.restore()["error"]["message"]
    assert message.startswith("shards/2 (1 entries)")
