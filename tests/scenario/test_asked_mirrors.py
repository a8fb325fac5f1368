"""Mirrors that the settings name are asked at every start whether they have more of a log than there is."""

import shutil
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest
from tests.support.site import LOGS, Site


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
    handler = partial(SimpleHTTPRequestHandler, directory=str(snapshot.mirror))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def settings(site: Site, *mirrors: str) -> tuple[str, str]:
    path = site.folder / "settings.toml"
    path.write_text(f"mirrors = {list(mirrors)}\n")
    return "--config", str(path)


@pytest.mark.parametrize("log", LOGS)
def test_a_log_that_its_mirror_has_more_of_does_not_start(snapshot, log):
    assert snapshot.refused(*settings(snapshot, f"mirror/{log}")) == "log_behind_its_checkpoint"


def test_a_mirror_is_asked_over_http(snapshot, served):
    assert snapshot.refused(*settings(snapshot, f"{served}/tlog")) == "log_behind_its_checkpoint"
    assert snapshot.refused(*settings(snapshot, served)) == "log_behind_its_checkpoint"


def test_one_mirror_that_is_ahead_is_enough(snapshot):
    options = settings(snapshot, "old-mirror", "mirror")
    assert snapshot.refused(*options) == "log_behind_its_checkpoint"


def test_mirrors_that_are_not_ahead_or_do_not_answer_stop_nothing(snapshot):
    snapshot.start(*settings(snapshot, "old-mirror", "http://127.0.0.1:1", "nowhere"))
    told = (snapshot.folder / "up.log").read_text()
    for place in ("http://127.0.0.1:1", str(snapshot.folder / "nowhere")):
        assert f"{place} shows no checkpoint of the log " in told
    assert f"{snapshot.folder / 'old-mirror'} shows" not in told


def test_a_mirror_of_another_history_stops_the_start(snapshot):
    snapshot.start()
    snapshot.sign("third")  # the fork that nobody could prevent here
    snapshot.sign("fourth")
    snapshot.stop()
    assert snapshot.refused(*settings(snapshot, "mirror")) == "log_inconsistent"
