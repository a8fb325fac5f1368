"""Processes killed at random moments under load: nothing that was answered is lost, and no log forks.

TORMENT_ROUNDS says how often each kind of death happens; the default is what continuous integration bears.
"""

import os
import random
import signal
import time

import pytest
from tests.support.instance import RunningInstance
from tests.support.load import Load, check_log

from hallmark.core.trusted_root import parse_trusted_root

pytestmark = pytest.mark.torment

ROUNDS = int(os.environ.get("TORMENT_ROUNDS", "20"))
FEWER = max(ROUNDS // 4, 1)
CHECKS = max(ROUNDS // 20, 1)  # a check reads the whole log: with many rounds not after every one


def log_key(instance):
    return parse_trusted_root((instance.client / "trusted_root.json").read_bytes()).tlogs[0].key


def start(tmp_path, *, first: bool = False) -> RunningInstance:
    listen = "127.0.0.1:0" if first else None
    return RunningInstance(tmp_path / "data", tmp_path, "--workers", "2", listen=listen)


def test_kill_of_the_whole_tree_loses_no_answered_entry(tmp_path):
    answers: list[dict] = []
    instance = start(tmp_path, first=True)
    for number in range(1, ROUNDS + 1):
        load = Load(instance.base_url)
        time.sleep(random.uniform(0.05, 0.6))
        instance.kill()
        answers += load.stop()
        instance = start(tmp_path)
        if number % CHECKS == 0:
            check_log(instance.base_url, log_key(instance), answers)
    assert len(answers) < check_log(instance.base_url, log_key(instance), answers)
    assert len(answers) > 10 * ROUNDS
    assert instance.stop() == 0


def test_kill_of_the_parent_alone_loses_no_answered_entry(tmp_path):
    answers: list[dict] = []
    instance = start(tmp_path, first=True)
    for number in range(1, FEWER + 1):
        load = Load(instance.base_url)
        time.sleep(random.uniform(0.05, 0.6))
        instance.process.kill()
        instance.process.wait()
        instance.process.stdout.close()
        answers += load.stop()
        instance = start(tmp_path)  # at once: workers of the dead parent may still be ending
        if number % CHECKS == 0 or number == FEWER:
            check_log(instance.base_url, log_key(instance), answers)
    assert instance.stop() == 0


def test_kill_of_any_worker_alone_loses_no_answered_entry(tmp_path):
    instance = start(tmp_path, first=True)
    load = Load(instance.base_url)
    for _ in range(FEWER):
        time.sleep(random.uniform(0.3, 0.9))
        os.kill(random.choice(instance.workers()), signal.SIGKILL)
    time.sleep(1.0)
    answers = load.stop()
    check_log(instance.base_url, log_key(instance), answers)
    assert instance.stop() == 0


def test_a_stopped_worker_that_may_hold_the_lock_is_replaced_and_the_log_goes_on(tmp_path):
    instance = start(tmp_path, first=True)
    load = Load(instance.base_url)
    time.sleep(0.5)
    stopped = random.choice(instance.workers())
    os.kill(stopped, signal.SIGSTOP)
    deadline = time.monotonic() + 60
    while stopped in instance.workers():
        assert time.monotonic() < deadline, "the supervisor did not replace a worker that hangs"
        time.sleep(0.1)
    before = len(load.answers)
    time.sleep(1.0)
    answers = load.stop()
    assert len(answers) > before
    check_log(instance.base_url, log_key(instance), answers)
    assert instance.stop() == 0


def test_a_disk_that_fails_under_load_ends_the_process_and_loses_no_answered_entry(tmp_path):
    instance = start(tmp_path, first=True)
    assert instance.stop() == 0
    largest = max(path.stat().st_size for path in (tmp_path / "data").rglob("*") if path.is_file())
    failing = RunningInstance(tmp_path / "data", tmp_path, listen=None, file_bytes=largest + 300_000)
    load = Load(failing.base_url)
    time.sleep(3)
    answers = load.stop()
    failing.kill()
    assert answers
    assert "disk I/O error" in (tmp_path / "up.log").read_text()
    instance = start(tmp_path)
    check_log(instance.base_url, log_key(instance), answers)
    assert instance.stop() == 0
