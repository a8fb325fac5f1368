"""Mirrors that the settings name are asked at every start whether they have more of a log than there is."""

import os
import shutil
import threading

import pytest
from tests.support.served_folder import served_folder
from tests.support.silent import SilentServer
from tests.support.site import LOGS, Site

from hallmark.wiring import mirror_places
from hallmark.wiring.checking import log_names, open_log
from hallmark.wiring.layout import Layout
from hallmark.wiring.mirror_places import Known, ask_places


@pytest.fixture
def site(tmp_path):
    made = Site(tmp_path)
    yield made
    made.stop()


@pytest.fixture
def snapshot(site):
    """A site that was put back whole: nothing inside the directory tells that `second` was signed."""
    site.sign("first")
    site.copy_to_mirror()
    site.stop()
    shutil.copytree(site.data, site.folder / "backup")
    site.start()
    site.sign("second")
    shutil.copytree(site.mirror, site.folder / "old-mirror")
    site.copy_to_mirror()
    site.stop()
    site.put_back(site.folder / "backup")
    (site.data / "place.json").unlink()  # copying changes what a snapshot of the file system would keep
    return site


@pytest.fixture
def served(snapshot):
    """The URL of the mirrors."""
    with served_folder(snapshot.mirror) as url:
        yield url


@pytest.mark.parametrize("log", LOGS)
def test_a_log_that_its_mirror_has_more_of_does_not_start(snapshot, log):
    assert snapshot.refused(*snapshot.asking(f"mirror/{log}")) == "log_behind_its_checkpoint"


def test_a_mirror_is_asked_over_http(snapshot, served):
    assert snapshot.refused(*snapshot.asking(f"{served}/tlog")) == "log_behind_its_checkpoint"
    assert snapshot.refused(*snapshot.asking(served)) == "log_behind_its_checkpoint"


def test_one_mirror_that_is_ahead_is_enough(snapshot):
    options = snapshot.asking("old-mirror", "mirror")
    assert snapshot.refused(*options) == "log_behind_its_checkpoint"


def test_mirrors_that_are_not_ahead_or_do_not_answer_stop_nothing_and_are_told_apart(snapshot):
    other = snapshot.folder / "other"
    (snapshot.folder / "empty").mkdir()
    other.mkdir()
    foreign = Site(other)
    foreign.copy_to_mirror()
    foreign.stop()
    snapshot.start(
        *snapshot.asking("old-mirror", "old-mirror/tlog", "http://127.0.0.1:1", "empty", "other/mirror")
    )
    told = (snapshot.folder / "up.log").read_text()
    assert "http://127.0.0.1:1 cannot be asked for checkpoints: " in told
    assert f"{snapshot.folder / 'empty'} has no checkpoint of the log 127.0.0.1: " in told
    assert "other/mirror shows a checkpoint of the log 127.0.0.1 with another key" in told
    assert "other/mirror has no checkpoint of the log 127.0.0.1: " not in told
    assert str(snapshot.folder / "old-mirror") not in told


def test_a_mirror_that_is_silent_is_asked_once_and_keeps_no_other_from_being_asked(snapshot):
    with SilentServer() as one, SilentServer() as two:
        snapshot.start(*snapshot.asking(one.url, two.url))
    assert max(one.connections, two.connections) == 1  # not once for every log
    told = (snapshot.folder / "up.log").read_text()
    for server in (one, two):
        assert f"{server.url} cannot be asked for checkpoints: " in told


def test_all_mirrors_are_asked_at_once(snapshot, monkeypatch):
    """Each answers only when the other was asked too."""
    monkeypatch.setattr(mirror_places, "ASK_SECONDS", 60.0)
    met = threading.Barrier(2)

    def meeting(path: str) -> bool:
        return path != "/checkpoint" or met.wait(timeout=30) >= 0

    with served_folder(snapshot.mirror, meeting) as one, served_folder(snapshot.mirror, meeting) as two:
        found = ask_places(known(snapshot), [one, two], 60)
    assert [(shown.failure, {name for name, _ in shown.notes}) for shown in found] == [(None, set(LOGS))] * 2


def test_what_was_not_answered_in_time_is_not_waited_for(snapshot):
    with SilentServer() as server:
        (shown,) = ask_places(known(snapshot), [server.url], 0.05)
    assert shown.is_empty
    assert "in time" in str(shown.failure)


def known(site: Site) -> Known:
    layout = Layout(site.data)
    return Known(layout, {name: open_log(layout, name) for name in log_names(layout)})


def test_a_mirror_of_another_history_stops_the_start(snapshot):
    snapshot.start()
    snapshot.sign("third")  # the fork that nobody could prevent here
    snapshot.sign("fourth")
    snapshot.stop()
    error = snapshot.refusal(*snapshot.asking("mirror"))
    assert error["code"] == "log_inconsistent"
    assert "hallmark log restore --data DIR --replace-logs, without --from" in error["hint"]
    assert "take it out of `mirrors`" in error["hint"]
    assert snapshot.restore("--replace-logs")["ok"]
    snapshot.start()


@pytest.mark.parametrize("kind", ["huge", "pipe", "folder"])
def test_what_stands_in_the_place_of_a_checkpoint_is_not_read_and_stops_nothing(snapshot, kind):
    checkpoint = snapshot.folder / "odd" / "checkpoint"
    checkpoint.parent.mkdir()
    if kind == "huge":
        with checkpoint.open("wb") as file:
            file.truncate(3 << 30)
    elif kind == "pipe":
        os.mkfifo(checkpoint)
    else:
        checkpoint.mkdir()
    snapshot.start(*snapshot.asking("odd"))
