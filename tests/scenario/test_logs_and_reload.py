"""What an instance logs, and SIGHUP: settings are read again while the instance serves."""

import re
import signal
import threading
import time

import pytest
import urllib3
from tests.support.instance import RunningInstance
from tests.support.load import entry_request

LINE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (DEBUG|INFO|WARNING|ERROR) [\w.]+: ")
PATIENCE = 60.0


def wait_until(condition) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


class Asking:
    """Asks for the health of an instance again and again, each time over a new connection."""

    def __init__(self, url: str) -> None:
        self.answers: list[object] = []
        self._url = url
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while not self._stopping.is_set():
            with urllib3.PoolManager(retries=False, timeout=30) as pool:
                try:
                    answer = pool.request(
                        "GET", f"{self._url}/tile/0/000.p/1", headers={"Connection": "close"}
                    )
                    self.answers.append(answer.status)
                except urllib3.exceptions.HTTPError as error:
                    self.answers.append(repr(error))

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join()


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "hallmark.toml"
    path.write_text("")
    return path


@pytest.mark.parametrize("workers", ["1", "2"])
def test_settings_are_read_again_while_the_port_is_served(tmp_path, config, workers):
    instance = RunningInstance(tmp_path / "data", tmp_path, "--config", str(config), "--workers", workers)
    try:
        before = set(instance.workers())
        config.write_text("[tlog]\nread_only = true\n")
        asking = Asking(instance.base_url)
        instance.process.send_signal(signal.SIGHUP)
        wait_until(lambda: not before & set(instance.workers()))
        wait_until(lambda: len(instance.workers()) == len(before))
        asking.stop()
        lost = [answer for answer in asking.answers if answer != 200]
        assert len(lost) <= int(workers)  # a connection that nobody had accepted yet goes with its worker
        assert all("Remote end closed" in str(answer) or "reset" in str(answer) for answer in lost)
        with urllib3.PoolManager(retries=False, timeout=30) as pool:
            answer = pool.request("POST", f"{instance.base_url}/api/v2/log/entries", body=entry_request())
            assert answer.status == 405
    finally:
        assert instance.stop() == 0


def test_wrong_settings_are_told_and_the_old_ones_stay(tmp_path, config):
    instance = RunningInstance(tmp_path / "data", tmp_path, "--config", str(config))
    try:
        before = instance.workers()
        config.write_text("[tlog]\nnothing = 1\n")
        instance.process.send_signal(signal.SIGHUP)
        wait_until(lambda: "the settings stay as they are" in (tmp_path / "up.log").read_text())
        assert instance.workers() == before
    finally:
        assert instance.stop() == 0


def test_an_instance_without_settings_outlives_sighup(tmp_path):
    instance = RunningInstance(tmp_path / "data", tmp_path)
    instance.process.send_signal(signal.SIGHUP)
    wait_until(lambda: "read again" in (tmp_path / "up.log").read_text())
    assert instance.stop() == 0


def test_requests_are_logged_with_a_time_and_without_their_secrets(tmp_path, config):
    config.write_text("log_requests = true\nlog_file = 'own.log'\n")
    log = tmp_path / "own.log"
    instance = RunningInstance(tmp_path / "data", tmp_path, "--config", str(config))
    try:
        with urllib3.PoolManager(retries=False, timeout=30) as pool:
            pool.request(
                "GET", f"{instance.base_url}/checkpoint?secret=1", headers={"Authorization": "secret"}
            )
            pool.request("GET", f"{instance.base_url}/nothing%0aof%20the%20kind")
            text = log.read_text()
            log.rename(tmp_path / "own.log.1")
            pool.request("GET", f"{instance.base_url}/healthz")
    finally:
        assert instance.stop() == 0
    assert re.search(r" INFO hallmark\.requests: GET /checkpoint 200 \d+ bytes \d", text)
    assert r"GET /nothing\nof the kind 404" in text
    assert "secret" not in text
    assert all(LINE.match(line) for line in text.splitlines())
    assert "GET /healthz 200" in log.read_text()
    assert (tmp_path / "up.log").read_text() == ""


def test_without_being_told_to_no_request_is_logged(tmp_path):
    instance = RunningInstance(tmp_path / "data", tmp_path)
    instance.token()
    assert instance.stop() == 0
    assert "/oidc/token" not in (tmp_path / "up.log").read_text()
