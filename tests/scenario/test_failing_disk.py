"""Disks that are full, read-only or gone, clocks that go back: a whole instance on a real file system."""

import base64
import contextlib
import json
import os
import random
import subprocess
import time

import pytest
import urllib3
from bench.entry_bodies import certificate_request
from tests.support.instance import HALLMARK, RunningInstance
from tests.support.load import Load, check_log, entry_request
from tests.support.programs import give_up, require_program
from tests.support.small_disk import SmallDisk
from tests.support.stepped_clock import SteppedClock

from hallmark.core.trusted_root import parse_trusted_root

pytestmark = pytest.mark.torment

PATIENCE = 60.0
EMAIL = "alice@example.com"
http = urllib3.PoolManager(retries=False, timeout=30)


@pytest.fixture
def disk(tmp_path):
    small = SmallDisk(tmp_path, 64)
    yield small
    small.unmount()


@pytest.fixture
def start(disk, tmp_path):
    """Start an instance on the disk; one that a failed test left running is killed before the disk goes."""
    started: list[RunningInstance] = []

    def start_on_disk(*, first: bool = False) -> RunningInstance:
        listen = "127.0.0.1:0" if first else None
        started.append(RunningInstance(disk.path / "data", tmp_path, "--workers", "2", listen=listen))
        return started[-1]

    yield start_on_disk
    for instance in started:
        if instance.process.poll() is None:
            instance.kill()


def log_key(instance):
    return parse_trusted_root((instance.client / "trusted_root.json").read_bytes()).tlogs[0].key


def wait_until(condition) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def check_sound(instance, answers) -> None:
    """Every answer holds, the instance ends in order, and its logs are sound."""
    check_log(instance.base_url, log_key(instance), answers)
    assert instance.stop() == 0
    instance.run("log", "fsck", "--data", str(instance.root))


def test_a_full_disk_refuses_entries_serves_reads_and_goes_on_when_there_is_room(disk, start):
    instance = start(first=True)
    load = Load(instance.base_url)
    wait_until(lambda: len(load.answers) > 50)
    ballast = disk.path / "ballast"
    with ballast.open("wb") as file:
        while disk.free_bytes() > 0:
            try:
                file.write(bytes(min(disk.free_bytes(), 1 << 20) or 1))
                file.flush()
            except OSError:
                break
    wait_until(lambda: 503 in load.other)
    refused = http.request("POST", f"{instance.base_url}/api/v2/log/entries", body=entry_request())
    assert (refused.status, refused.headers["retry-after"]) == (503, "30")
    assert refused.json()["details"][0]["reason"] == "STORAGE_FULL"
    assert http.request("GET", f"{instance.base_url}/checkpoint").status == 200
    index = load.answers[-1]["logIndex"]
    assert http.request("GET", f"{instance.base_url}/api/v2/log/entries/{index}").status == 200
    ballast.unlink()
    before = len(load.answers)
    wait_until(lambda: len(load.answers) > before + 50)
    answers = load.stop()
    assert load.other == {503}
    check_sound(instance, answers)


def test_a_disk_that_goes_away_under_load_ends_the_log_and_loses_no_answer(disk, start, tmp_path):
    """What was not synced is really gone here: the file system never writes it.

    What counts is what was answered before the cut: an fdatasync that is under way while ext4 shuts down
    may return 0 and lose its bytes, also without any of our code (one cut in ten, Linux 6.18).
    """
    answers: list[dict] = []
    instance = start(first=True)
    key = log_key(instance)
    for _ in range(4):
        load = Load(instance.base_url)
        wait_until(lambda load=load: len(load.answers) > 20)
        time.sleep(random.uniform(0.0, 0.4))
        answers += load.answers
        disk.cut_power()
        time.sleep(0.5)
        load.stop()
        instance.kill()
        disk.unmount()
        disk.mount()
        instance = start()
        check_log(instance.base_url, key, answers)
    assert "disk I/O error" in (tmp_path / "up.log").read_text()
    check_sound(instance, answers)


def test_a_read_only_disk_is_named_at_the_start_and_nothing_is_lost(disk, start):
    instance = start(first=True)
    load = Load(instance.base_url)
    wait_until(lambda: len(load.answers) > 20)
    answers = load.stop()
    assert instance.stop() == 0
    disk.unmount()
    disk.mount("loop,ro")
    refused = subprocess.run(
        [*HALLMARK, "up", "--data", str(instance.root)],
        env=instance.environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert refused.returncode == 2
    assert "Read-only file system" in refused.stderr
    assert "hint: " in refused.stderr
    disk.unmount()
    disk.mount()
    check_sound(start(), answers)


def test_a_clock_that_steps_back_an_hour_stops_nothing_and_no_time_goes_back(tmp_path):
    clock = SteppedClock(tmp_path)
    instance = RunningInstance(tmp_path / "data", tmp_path, "--workers", "2", environment=clock.environment)
    load = Load(instance.base_url)
    wait_until(lambda: len(load.answers) > 50)
    issue(instance)
    before = server_time(instance)
    clock.step(-3600)
    assert server_time(instance) < before - 3000
    answered = len(load.answers)
    wait_until(lambda: len(load.answers) > answered + 50)
    issue(instance)
    answers = load.stop()
    assert load.other == set()
    check_sound(instance, answers)  # fsck tells of a commit of either log that is not later than the last


def issue(instance) -> None:
    """Get a certificate, and so an entry in the certificate transparency log."""
    body = certificate_request(instance.token(EMAIL), EMAIL)
    answer = http.request("POST", f"{instance.base_url}/api/v2/signingCert", body=body)
    assert answer.status == 200, answer.data


def server_time(instance) -> int:
    """The clock of the instance, in seconds, as a token of its issuer tells it."""
    payload = instance.token(EMAIL).split(".")[1]
    return json.loads(base64.urlsafe_b64decode(payload + "=="))["iat"]


@pytest.mark.parametrize("kibibytes", [4, 64, 200])
def test_a_first_start_on_a_full_disk_says_so_and_a_later_one_finds_nothing_in_its_way(tmp_path, kibibytes):
    """It fails at the lock, at a log's database, or within its first rows."""
    data = tmp_path / "disk"
    data.mkdir()
    mount = [require_program("mount", "apt-get install mount"), "-t", "tmpfs", "-o"]
    if subprocess.run([*mount, f"size={kibibytes}k", "none", data], check=False).returncode != 0:
        give_up("a file system cannot be mounted here")
    try:
        done = subprocess.run(
            [*HALLMARK, "up", "--data", data / "instance", "--listen", "127.0.0.1:0", "--json"],
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == 2, done.stderr
        told = json.loads(done.stdout)["error"]
        assert told["code"] == "disk_full"
        assert str(data) in told["message"]
        assert list(data.iterdir()) == []
        subprocess.run([*mount, "remount,size=64m", "none", data], check=True)
        instance = RunningInstance(data / "instance", tmp_path, listen="127.0.0.1:0")
        assert instance.stop() == 0
    finally:
        subprocess.run([require_program("umount", "apt-get install mount"), data], check=True)


def fill(path, *, leaving: int) -> None:
    """Fill the disk with one file, up to the blocks that are kept for root too."""
    with path.open("wb", buffering=0) as file:
        for size in (1 << 20, 4096, 512):  # a large write fails where a small one still fits
            with contextlib.suppress(OSError):
                while file.write(bytes(size)):
                    os.fsync(file.fileno())
    os.truncate(path, max(path.stat().st_size - leaving, 0))


def test_a_rotation_that_meets_a_full_disk_says_so_and_stops_nothing(disk, start):
    """It meets it wherever it is: at its first file, at the new log's database, or at the trust root."""
    instance = start(first=True)
    assert instance.stop() == 0
    refused = 0
    for kibibytes in (0, 8, 32, 96):
        filler = disk.path / "filler"
        fill(filler, leaving=kibibytes * 1024)
        done = subprocess.run(
            [*HALLMARK, "log", "rotate", "--data", instance.root, "--json"],
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        filler.unlink()
        if done.returncode != 0:
            refused += 1
            assert done.returncode == 2, done.stderr + done.stdout
            told = json.loads(done.stdout)["error"]
            assert told["code"] in {"disk_full", "storage_full"}
            assert "what the command writes" not in told["message"]
        check_sound(start(), [])
    assert refused


def test_a_disk_that_is_full_before_the_first_certificate_and_login_refuses_them_until_there_is_room(
    disk, start, tmp_path
):
    instance = start(first=True)
    token = instance.token(EMAIL)
    filler = disk.path / "filler"
    fill(filler, leaving=0)
    certificate = certificate_request(token, EMAIL)
    calls = (("/api/v2/signingCert", certificate), ("/oidc/device/code", b"client_id=sigstore"))
    for path, body in calls:
        refused = http.request("POST", f"{instance.base_url}{path}", body=body)
        assert (refused.status, refused.headers.get("retry-after")) == (503, "30"), refused.data
    filler.unlink()
    for path, body in calls:
        assert http.request("POST", f"{instance.base_url}{path}", body=body).status == 200
    check_sound(instance, [])
    assert "Traceback" not in (tmp_path / "up.log").read_text()


def test_doctor_and_fsck_on_a_full_disk_ask_for_space_and_not_for_a_restore(disk, start):
    instance = start(first=True)
    assert instance.stop() == 0
    fill(disk.path / "filler", leaving=0)
    done = instance.run("doctor", "--data", str(instance.root), "--json", check=False)
    assert done.returncode == 6
    wrong = [item["error"] for item in json.loads(done.stdout)["checks"] if not item["ok"]]
    assert len(wrong) >= 2
    for error in wrong:
        assert "restore" not in error["message"] + error["hint"]
        assert "free some space" in error["hint"], error
    for command in ("fsck", "reindex"):
        done = instance.run("log", command, "--data", str(instance.root), check=False)
        assert "restore" not in done.stdout + done.stderr
