"""A copy from before a rotation never opens a shard under the number of one that a mirror has."""

import json
import shutil

import pytest
from tests.support.served_folder import served_folder
from tests.support.site import LOGS, Site, mirror_all

from hallmark.core.trusted_root import parse_trusted_root
from hallmark.wiring.checking import log_names, open_log
from hallmark.wiring.layout import Layout
from hallmark.wiring.mirror_places import MAX_MISSING_SHARDS, Known, ask_places


@pytest.fixture
def site(tmp_path):
    made = Site(tmp_path)
    yield made
    made.stop()


@pytest.fixture
def rotated(site):
    """A site that was put back as it was before a rotation, after which `second` was signed."""
    site.sign("first")
    site.stop()
    shutil.copytree(site.data, site.folder / "backup")
    site.start()
    site.tool.run("log", "rotate", "--data", str(site.data))
    site.sign("second")
    mirror_all(site)
    site.stop()
    shutil.copytree(site.data, site.folder / "lost")
    site.put_back(site.folder / "backup")
    (site.data / "place.json").unlink()  # copying changes what a snapshot of the file system would keep
    return site


@pytest.fixture
def served(rotated):
    """The URL of the mirror."""
    with served_folder(rotated.mirror) as url:
        yield url


def set_mirrors_to_first_log(site: Site) -> None:
    """Let the entries of the logs that are known be the same everywhere, so that the shard alone is news."""
    for log in LOGS:
        shutil.rmtree(site.mirror / log)
        shutil.copytree(Layout(site.data).public(log), site.mirror / log)


@pytest.mark.parametrize("place", ["mirror", "mirror/shards/2", "lost"])
def test_an_instance_does_not_start_beside_a_shard_that_it_does_not_know(rotated, place):
    set_mirrors_to_first_log(rotated)
    if place == "lost":
        for log in LOGS:
            shutil.rmtree(rotated.folder / "lost" / log)
    assert rotated.refused(*rotated.asking(place)) == "log_behind_its_checkpoint"


def test_an_unknown_shard_is_found_over_http_whether_the_mirror_is_whole_or_of_the_shard_alone(
    rotated, served
):
    set_mirrors_to_first_log(rotated)
    for place in (served, f"{served}/shards/2"):
        assert rotated.refused(*rotated.asking(place)) == "log_behind_its_checkpoint"


@pytest.mark.parametrize("missing", [MAX_MISSING_SHARDS - 1, MAX_MISSING_SHARDS])
def test_an_unknown_shard_is_looked_for_beyond_a_few_that_a_mirror_lacks(rotated, served, missing):
    (rotated.mirror / "shards" / "2").rename(rotated.mirror / "shards" / str(2 + missing))
    layout = Layout(rotated.data)
    known = Known(layout, {name: open_log(layout, name) for name in log_names(layout)})
    (shown,) = ask_places(known, [served])
    assert [lost.origin for lost in shown.lost] == ["2.127.0.0.1"] * (missing < MAX_MISSING_SHARDS)


def test_a_mirror_without_the_unknown_shard_stops_nothing(rotated):
    set_mirrors_to_first_log(rotated)
    shutil.rmtree(rotated.mirror / "shards")
    rotated.start(*rotated.asking("mirror"))


def test_a_shard_of_another_instance_under_the_same_names_stops_nothing(rotated):
    other = rotated.folder / "other"
    other.mkdir()
    made = Site(other)
    made.tool.run("log", "rotate", "--data", str(made.data))
    mirror_all(made)
    made.stop()
    rotated.start(*rotated.asking("other/mirror"))
    told = (rotated.folder / "up.log").read_text()
    assert "other/mirror shows a checkpoint of the log 127.0.0.1 with another key" in told
    assert "other/mirror shows a checkpoint of the log 2.127.0.0.1 with another key" in told


def test_restoring_names_the_unknown_shard_whatever_is_said_of_newer_entries(rotated):
    error = rotated.restore("--from", str(rotated.mirror), "--nothing-newer-exists")["error"]
    assert error["code"] == "log_behind_its_checkpoint"
    assert f"{rotated.mirror} shows shards/2 of this instance, 2.127.0.0.1 with 2 entries" in error["message"]
    root = parse_trusted_root((rotated.folder / "lost" / "client" / "trusted_root.json").read_bytes())
    assert f"log id {root.tlogs[1].log_id.hex()}" in error["message"]
    assert "--replace-logs" in error["hint"]
    assert rotated.refused() == "restore_unfinished"


def test_a_place_that_stops_answering_rules_nothing_out(rotated):
    """It has the logs that are known, and might have had the shard that is not."""
    with served_folder(rotated.mirror, lambda path: "/shards/" not in path) as url:
        error = rotated.restore("--from", url, "--nothing-newer-exists")["error"]
    assert (error["code"], error["exitCode"]) == ("service_unreachable", 6)


def test_an_instance_that_serves_is_asked_as_a_mirror_is(rotated):
    rotated.put_back(rotated.folder / "lost")
    (rotated.data / "place.json").unlink()
    rotated.start()
    command = (
        "log",
        "restore",
        "--data",
        str(rotated.folder / "backup"),
        "--from",
        rotated.base_url,
        "--json",
    )
    error = json.loads(rotated.tool.run(*command, check=False).stdout)["error"]
    assert f"{rotated.base_url} shows shards/2 of this instance" in error["message"]


def test_the_shard_after_a_lost_one_has_a_number_of_its_own_and_the_lost_key_stays(rotated):
    lost = parse_trusted_root((rotated.folder / "lost" / "client" / "trusted_root.json").read_bytes())
    assert rotated.restore("--from", str(rotated.mirror), "--replace-logs")["ok"]
    assert log_names(Layout(rotated.data)) == ("tlog", "shards/3", "ctlog")
    root = parse_trusted_root((rotated.data / "client" / "trusted_root.json").read_bytes())
    assert [log.base_url for log in root.tlogs] == [
        *(lost.tlogs[0].base_url, lost.tlogs[1].base_url),
        "http://3.127.0.0.1",
    ]
    assert (root.tlogs[1].key, root.tlogs[1].log_id) == (lost.tlogs[1].key, lost.tlogs[1].log_id)
    assert root.tlogs[1].valid_for.end is not None
    rotated.start(*rotated.asking("mirror"))
    rotated.sign("third")
    for name in ("first", "second", "third"):
        rotated.verify(name)
    mirror_all(rotated)
    assert json.loads((rotated.mirror / "shards/3/mirror.json").read_text())["origin"] == "3.127.0.0.1"
    rotated.tool.run("log", "rotate", "--data", str(rotated.data))
    assert log_names(Layout(rotated.data)) == ("tlog", "shards/3", "shards/4", "ctlog")
    rotated.verify("second")
    rotated.tool.run("doctor", "--data", str(rotated.data))
