"""A whole instance whose time runs out: what health, doctor and a signer are told."""

import json
import time
import urllib.error
import urllib.request

import pytest
from tests.support.instance import RunningInstance
from tests.support.stepped_clock import SteppedClock

DAY = 86400


@pytest.fixture
def clock(tmp_path):
    return SteppedClock(tmp_path)


@pytest.fixture
def instance(tmp_path, clock):
    running = RunningInstance(tmp_path / "data", tmp_path, environment=clock.environment)
    running.environment |= clock.environment  # the commands of the same machine
    yield running
    running.stop()


def health(instance) -> tuple[int, dict]:
    try:
        with urllib.request.urlopen(f"{instance.base_url}/healthz", timeout=30) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code, json.load(refused)


def doctor(instance, *options: str) -> tuple[int, dict]:
    done = instance.run("doctor", "--json", *options, check=False)
    return done.returncode, {item["check"]: item for item in json.loads(done.stdout)["checks"]}


def test_an_ended_issuing_certificate_is_told_by_health_doctor_and_the_answer(instance, clock, tmp_path):
    code, checks = doctor(instance, "--data", str(instance.root))
    assert code == 0
    assert checks["issuing certificate"]["found"].startswith("ends ")
    code, checks = doctor(instance, "--instance", instance.base_url)
    host = instance.base_url.removeprefix("http://")
    assert (code, checks[f"{host} issuing certificate"]["ok"]) == (0, True)

    clock.step(1097 * DAY)
    while (answered := health(instance))[0] == 200:  # what it found last is told for some seconds
        time.sleep(0.2)
    status, told = answered
    assert (status, told["status"]) == (503, "NOT_SERVING")
    assert any(problem.startswith("issuing certificate: ended ") for problem in told["problems"])
    code, checks = doctor(instance, "--data", str(instance.root))
    assert (code, checks["issuing certificate"]["error"]["code"]) == (6, "unhealthy_instance")
    signed = tmp_path / "file"
    signed.write_text("content")
    config = str(instance.client / "client_trust_config.json")
    done = instance.run(
        "sign",
        "--json",
        "--trust-config",
        config,
        "--identity-token",
        instance.token(),
        str(signed),
        check=False,
    )
    error = json.loads(done.stdout)["error"]
    assert error["message"].count("the issuing certificate is valid from") == 1
    assert "trying again does not help" in error["hint"]


def test_metrics_tell_the_end_of_each_thing_and_what_the_processes_use(instance):
    with urllib.request.urlopen(f"{instance.base_url}/metrics", timeout=30) as answer:
        lines = dict(line.rsplit(" ", 1) for line in answer.read().decode().splitlines() if line[0] != "#")
    for what in ("issuing certificate", "timestamping certificate", "tuf root", "tuf timestamp"):
        assert float(lines[f'hallmark_expiry_timestamp_seconds{{what="{what}"}}']) > 1.7e9
    assert float(lines["hallmark_processes"]) == 2
    assert float(lines["process_resident_memory_bytes"]) > 1e7
    assert float(lines["process_cpu_seconds_total"]) > 0


def test_what_ends_soon_is_announced_by_the_instance_itself(tmp_path, clock):
    clock.step(0)
    RunningInstance(tmp_path / "data", tmp_path, environment=clock.environment).stop()
    clock.step(1040 * DAY)
    RunningInstance(tmp_path / "data", tmp_path, environment=clock.environment, listen=None).stop()
    log = (tmp_path / "up.log").read_text()
    assert "WARNING hallmark.publishing: issuing certificate ends " in log
    assert "root certificate" not in log
