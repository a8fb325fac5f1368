"""Starting and ending an instance: where it listens, what it says when it cannot, whether it hears."""

import http.client
import json
import os
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest
from tests.support.instance import HALLMARK, RunningInstance, isolated_environment


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost")
        self._path = str(path)

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self._path)


def start(tmp_path: Path, *options: str, **how) -> subprocess.Popen:
    return subprocess.Popen(
        [*HALLMARK, "up", "--data", str(tmp_path / "data"), *options],
        env=isolated_environment(tmp_path),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        **how,
    )


def children(process: subprocess.Popen) -> list[int]:
    found = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return [int(child) for child in found]


def count_files(folder: Path) -> int:
    return sum(len(files) for _, _, files in os.walk(folder))


@pytest.mark.parametrize("host", ["localhost", "[::1]", "127.0.0.2"])
def test_an_instance_listens_by_name_and_address_and_signs_there(tmp_path, host):
    if host == "[::1]" and not socket.has_ipv6:
        pytest.skip("needs IPv6")
    instance = RunningInstance(tmp_path / "data", tmp_path, listen=f"{host}:0")
    try:
        assert instance.base_url.startswith(f"http://{host}:")
        signed = tmp_path / "file"
        signed.write_text("content")
        (tmp_path / "token").write_text(instance.token())
        instance.run(
            "sign", "--instance", instance.base_url, "--identity-token", str(tmp_path / "token"), str(signed)
        )
    finally:
        assert instance.stop() == 0
    again = RunningInstance(tmp_path / "data", tmp_path, listen=None)
    assert again.base_url == instance.base_url
    assert again.stop() == 0


def test_workers_share_a_unix_socket_and_a_killed_one_costs_nobody_an_answer(tmp_path):
    path = tmp_path / "socket"
    options = ("--public-url", "http://localhost:8", "--workers", "2")
    instance = RunningInstance(tmp_path / "data", tmp_path, *options, listen=f"unix:{path}")
    try:
        os.kill(instance.workers()[0], signal.SIGKILL)
        for _ in range(50):
            connection = UnixConnection(path)
            connection.request("GET", "/healthz")
            assert connection.getresponse().status == 200
            connection.close()
    finally:
        assert instance.stop() == 0
    assert not path.exists()


def test_a_unix_socket_needs_a_public_url(tmp_path):
    done = start(tmp_path, "--listen", f"unix:{tmp_path}/socket", "--json")
    answer = json.loads(done.communicate(timeout=60)[0])
    assert answer["error"]["code"] == "bad_address"
    assert "--public-url" in answer["error"]["hint"]


@pytest.mark.parametrize("broken", ["idp/grants.db", "keys/ca.pem"])
def test_a_worker_that_cannot_start_is_told_with_its_reason(tmp_path, broken):
    RunningInstance(tmp_path / "data", tmp_path).stop()
    (tmp_path / "data" / broken).write_bytes(b"nothing of the kind" * 100)
    refused = start(tmp_path, "--json")
    answer = json.loads(refused.communicate(timeout=60)[0])
    assert (answer["error"]["code"], refused.returncode) == ("damaged_state", 2)
    assert broken in answer["error"]["message"]
    assert answer["error"]["hint"]


def test_a_worker_that_fails_as_nobody_expected_is_told_with_its_reason(tmp_path, monkeypatch):
    """A library of its own is broken; the parent only looks whether it is there."""
    for name in ("grpc", "grpc_reflection"):
        (tmp_path / f"{name}.py").write_text("raise ValueError('broken')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    refused = start(tmp_path, "--json", "--listen", "127.0.0.1:0", "--grpc-listen", "127.0.0.1:0")
    answer = json.loads(refused.communicate(timeout=60)[0])
    assert (answer["error"]["code"], refused.returncode) == ("worker_failed", 6)
    assert answer["error"]["message"] == "worker 0 failed: ValueError: broken"


def test_an_instance_that_waits_for_a_hanging_worker_still_hears_signals(tmp_path):
    starting = start(tmp_path, "--listen", "127.0.0.1:0")
    while not children(starting):
        time.sleep(0.01)
    (worker,) = children(starting)
    while b"hallmark.instance.worker" not in Path(f"/proc/{worker}/cmdline").read_bytes():
        time.sleep(0.01)  # not yet the program that the parent waits for, but a copy of the parent
    os.kill(worker, signal.SIGSTOP)
    assert "does not serve yet" in starting.stderr.readline()
    starting.send_signal(signal.SIGTERM)
    starting.send_signal(signal.SIGINT)  # the second one ends the patience with the worker
    _, rest = starting.communicate(timeout=60)
    assert starting.returncode == 0
    assert "not given the time" in rest
    with pytest.raises(ProcessLookupError):
        os.kill(worker, 0)


def test_a_start_that_was_broken_off_at_any_moment_is_made_good_by_the_next(tmp_path):
    data = tmp_path / "data"
    for step in range(8):
        starting = start(tmp_path, "--listen", "127.0.0.1:0")
        while count_files(data) < 5 * step and starting.poll() is None:
            time.sleep(0.001)
        starting.send_signal(signal.SIGTERM)
        starting.communicate(timeout=60)
        assert starting.returncode in {0, -signal.SIGTERM}
        if (data / "instance.json").exists():
            break
    instance = RunningInstance(
        data, tmp_path, listen=None if (data / "instance.json").exists() else "127.0.0.1:0"
    )
    assert instance.stop() == 0
