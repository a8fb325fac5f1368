"""An older or damaged copy of an instance never signs: it is noticed, brought back, or ended and replaced."""

import shutil

import pytest
import urllib3
from tests.support.repository_files import ROOT
from tests.support.silent import SilentServer
from tests.support.site import LOGS, Site, fill
from tests.support.tuf_client import Client

from hallmark.wiring.layout import Layout


@pytest.fixture
def site(tmp_path):
    made = Site(tmp_path)
    yield made
    made.stop()
    assert "Traceback" not in (tmp_path / "up.log").read_text()


@pytest.fixture
def lost(site):
    """A site whose disk was lost: the backup in its place lacks the file `second`, which the mirrors have."""
    site.sign("first")
    site.stop()
    shutil.copytree(site.data, site.folder / "backup")
    site.start()
    site.sign("second")
    site.copy_to_mirror()
    site.stop()
    site.put_back(site.folder / "backup")
    return site


def test_an_older_copy_does_not_start_and_goes_on_once_its_mirrors_have_filled_it(lost):
    assert lost.refused() == "copied_directory"
    assert lost.restore("--from", str(lost.mirror))["error"]["code"] == "newer_entries_not_ruled_out"
    assert lost.refused() == "restore_unfinished"
    done = lost.restore("--from", str(lost.mirror), "--nothing-newer-exists")
    assert {name: log["size"] for name, log in done["logs"].items()} == {"tlog": 3, "ctlog": 2}
    assert lost.sizes() == {"tlog": 3, "ctlog": 2}
    lost.start()
    lost.sign("third")
    for name in ("first", "second", "third"):
        lost.verify(name)
    lost.copy_to_mirror()  # which would refuse a fork
    assert lost.sizes() == {"tlog": 4, "ctlog": 3}


def test_entries_that_were_brought_back_are_found_when_they_are_sent_again(site):
    site.stop()
    shutil.copytree(site.data, site.folder / "backup")
    site.start()
    requests = fill(site, 3)
    site.copy_to_mirror()
    site.stop()
    site.put_back(site.folder / "backup")
    site.restore("--from", str(site.mirror), "--nothing-newer-exists")
    site.start()
    with urllib3.PoolManager() as pool:
        for request in requests:
            url = f"{site.base_url}/api/v2/log/entries"
            assert pool.request("POST", url, body=request).status == 409
    assert site.sizes()["tlog"] == 4


def test_a_log_that_may_lack_entries_is_ended_and_replaced(lost):
    assert "error" not in lost.restore("--replace-logs")
    lost.start()
    lost.sign("third")
    for name in ("first", "second", "third"):
        lost.verify(name)
    assert lost.sizes() == {"tlog": 2, "shards/2": 2, "ctlog": 1}
    assert (lost.data / "ctlog-ended-1" / "public" / "checkpoint").is_file()
    refused = lost.running.run("log", "freeze", "--data", str(lost.data), "--shard", "1")
    assert refused.returncode == 0  # frozen already: again is harmless


def test_a_copy_starts_where_its_owner_says_that_nothing_newer_exists(site):
    site.stop()
    shutil.move(site.data, site.folder / "elsewhere")
    shutil.copytree(site.folder / "elsewhere", site.data)
    assert site.refused() == "copied_directory"
    site.restore("--nothing-newer-exists")
    site.start()
    site.sign("file")
    site.verify("file")
    site.stop()
    site.start()


def test_a_moved_directory_is_no_copy(site):
    site.stop()
    site.data.rename(site.folder / "moved")
    site.data = site.folder / "moved"
    site.start()


def test_a_place_without_a_log_of_this_instance_is_an_error(site, tmp_path):
    site.stop()
    assert site.restore("--from", str(tmp_path), "--nothing-newer-exists")["error"]["code"] == "not_a_log"


@pytest.mark.parametrize("log", LOGS)
def test_a_log_whose_published_part_is_gone_signs_nothing_and_comes_back_from_a_mirror(site, log):
    site.sign("first")
    site.copy_to_mirror()
    site.stop()
    shutil.rmtree(Layout(site.data).public(log))
    assert site.refused() == "published_part_missing"
    done = site.restore("--nothing-newer-exists")
    assert done["error"]["code"] == "published_part_missing"
    done = site.restore("--nothing-newer-exists", "--from", str(site.mirror))
    assert done["logs"][log]["fetched"] >= 2
    site.start()
    site.sign("second")
    site.verify("first")
    assert site.sizes() == {"tlog": 3, "ctlog": 2}


def test_a_log_without_the_certificates_that_its_entries_name_does_not_start(site):
    site.sign("first")
    site.copy_to_mirror()
    site.stop()
    shutil.rmtree(Layout(site.data).public("ctlog") / "issuer")
    assert site.refused() == "published_part_missing"
    assert site.restore("--nothing-newer-exists")["error"]["code"] == "published_part_missing"
    assert "error" not in site.restore("--nothing-newer-exists", "--from", str(site.mirror / "ctlog"))
    site.start()


def test_a_database_that_is_an_older_copy_catches_up_with_its_own_published_part(site):
    site.stop()
    database = Layout(site.data).root / "tlog"
    shutil.copytree(database, site.folder / "old", ignore=shutil.ignore_patterns("public"))
    site.start()
    fill(site, 3)
    site.stop()
    shutil.copytree(site.folder / "old", database, dirs_exist_ok=True)
    assert site.refused() == "log_behind_its_checkpoint"
    assert site.restore("--nothing-newer-exists")["logs"]["tlog"]["size"] == 4
    site.start()
    fill(site, 1)
    assert site.sizes()["tlog"] == 5


@pytest.mark.parametrize("more", [0, 3])
def test_a_source_of_another_history_is_refused_and_nothing_is_changed(lost, more):
    """Also one that is behind, from which nothing but lost files could be taken."""
    (lost.data / "place.json").unlink()  # a copy that went on unnoticed
    lost.start()
    lost.sign("another history")
    fill(lost, more)
    lost.stop()
    public = Layout(lost.data).public("tlog")
    before = {path: path.read_bytes() for path in public.rglob("*") if path.is_file()}
    done = lost.restore("--from", str(lost.mirror), "--nothing-newer-exists")
    assert (done["error"]["code"], done["error"]["exitCode"]) == ("log_inconsistent", 5)
    assert {path: path.read_bytes() for path in public.rglob("*") if path.is_file()} == before
    lost.start()  # as it would have before


def test_two_histories_are_told_with_what_ends_them(lost):
    (lost.data / "place.json").unlink()
    lost.start()
    lost.sign("another history")
    fill(lost, 3)
    lost.stop()
    for choice in ("--nothing-newer-exists", "--replace-logs"):
        error = lost.restore("--from", str(lost.mirror), choice)["error"]
        assert "--replace-logs, without --from" in error["hint"]
        assert str(lost.mirror) in error["message"]
    assert lost.restore("--replace-logs")["ok"]
    lost.start()
    lost.sign("third")
    for name in ("first", "second", "another history", "third"):
        lost.verify(name)


def test_a_place_that_cannot_be_reached_is_told_as_such_and_asked_once(lost):
    with SilentServer() as server:
        error = lost.restore("--from", server.url)["error"]
    assert (error["code"], error["exitCode"]) == ("service_unreachable", 6)
    assert server.connections == 1
    assert lost.refused() == "copied_directory"


def test_a_damaged_source_is_in_nobodys_way_as_long_as_another_is_sound(lost):
    damaged = lost.folder / "damaged"
    shutil.copytree(lost.mirror, damaged)
    for file in (damaged / "tlog" / "tile").rglob("*"):
        if file.is_file():
            file.write_bytes(bytes(64))
    assert lost.restore("--from", str(damaged), "--nothing-newer-exists")["error"]["code"] == "tiles_differ"
    sources = ("--from", str(damaged), "--from", str(lost.mirror))
    assert lost.restore(*sources, "--nothing-newer-exists")["logs"]["tlog"]["size"] == 3


def test_a_damaged_mirror_still_tells_of_entries_that_no_other_has(site):
    site.stop()
    shutil.copytree(site.data, site.folder / "backup")
    site.start()
    fill(site, 1)
    site.copy_to_mirror()
    shutil.copytree(site.mirror, site.folder / "older")
    fill(site, 2)
    site.copy_to_mirror()
    site.stop()
    site.put_back(site.folder / "backup")
    for file in (site.mirror / "tlog" / "tile").rglob("*"):
        if file.is_file():
            file.write_bytes(bytes(64))
    sources = ("--from", str(site.mirror), "--from", str(site.folder / "older"))
    done = site.restore(*sources, "--nothing-newer-exists")
    assert done["error"]["code"] == "log_behind_its_checkpoint"
    assert site.refused() == "restore_unfinished"


def test_a_damaged_old_tile_comes_back_from_a_mirror_that_is_behind(site):
    fill(site, 300)
    site.copy_to_mirror()
    site.sign("after the mirror")
    site.stop()
    bundle = Layout(site.data).public("tlog") / "tile" / "entries" / "000"
    bundle.write_bytes(bytes(100))
    assert "error" not in site.restore("--from", str(site.mirror), "--nothing-newer-exists")
    assert site.sizes()["tlog"] == 302


def page_commands() -> list[list[str]]:
    """The commands of the page in their order, `up` left out, as words."""
    page = (ROOT / "docs" / "operate" / "restore.md").read_text()
    lines = [line.strip() for line in page.splitlines() if line.startswith(("   ", "hallmark"))]
    return [line.split()[1:] for line in lines if line.startswith("hallmark log ")]


@pytest.mark.parametrize("choice", ["--nothing-newer-exists", "--replace-logs"])
def test_the_page_on_a_lost_disk_works_step_by_step(lost, choice):
    bring, certain, replace, fsck, moved = page_commands()
    assert certain[-1] == moved[-1] == "--nothing-newer-exists"
    assert replace[-1] == "--replace-logs"
    settle = certain if choice == certain[-1] else replace
    for command, status in ((bring, 5), (settle, 0), (fsck, 0)):
        words = {"DIR": str(lost.data), "MIRROR": str(lost.mirror)}
        done = lost.tool.run(*(words.get(word, word) for word in command), check=False)
        assert done.returncode == status, done.stderr
    lost.start()
    lost.sign("third")
    for name in ("first", "second", "third"):
        lost.verify(name)


def test_clients_that_know_newer_trust_material_take_what_a_restored_instance_signs(site):
    site.stop()
    shutil.copytree(site.data, site.folder / "backup")
    site.start()
    url, root = f"{site.base_url}/tuf", (site.data / "client" / "root.json").read_bytes()
    for _ in range(3):
        site.running.run("log", "rotate", "--data", str(site.data))
    known = Client(site.folder / "tuf-client", url, root)
    known.fetch("trusted_root.json")
    site.stop()
    site.put_back(site.folder / "backup")
    site.restore("--nothing-newer-exists")
    site.start()
    known.fetch("trusted_root.json")  # a lower version would be refused as a rollback


def test_a_mirror_that_is_behind_fills_no_log_whose_newest_entries_are_gone(site):
    """The mirror's tiles would be written over the place of newer ones that nobody has any more."""
    fill(site, 3)
    site.copy_to_mirror()
    fill(site, 2)
    site.stop()
    public = Layout(site.data).public("tlog")
    for folder in ("tile/0/000.p", "tile/entries/000.p"):
        shutil.rmtree(public / folder)
    done = site.restore("--nothing-newer-exists", "--from", str(site.mirror))
    assert done["error"]["code"] == "published_part_missing"
    assert not (public / "tile/0/000.p").exists()
