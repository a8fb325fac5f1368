"""Before a verdict that newer trust material could change, a context's is renewed, once and briefly."""

import hashlib
import json
import socket
import time

import pytest
from tests.support.machine import Machine

from hallmark.cli.bounded import run_bounded
from hallmark.errors import RemoteError

EMAIL = "alice@example.com"


@pytest.fixture
def reader(instance, tmp_path):
    """A machine that knew the instance before the log was rotated, and a file signed since."""
    machine = Machine(instance, tmp_path, EMAIL)
    machine.pin()
    instance.run("log", "rotate", "--data", str(instance.root))
    time.sleep(1.1)  # services change in whole seconds
    machine.file = tmp_path / "file"
    machine.file.write_text("x")
    trust = str(instance.client / "client_trust_config.json")
    token = instance.token(EMAIL)
    instance.run("sign", str(machine.file), "--trust-config", trust, "--identity-token", token)
    return machine


def without_network(machine: Machine, address: str) -> None:
    """Let everything that goes to the instance go to another address."""
    contexts = machine.home / ".config" / "hallmark" / "contexts.json"
    cache = next((machine.home / ".cache" / "hallmark" / "trust").iterdir())
    data = json.loads(cache.read_bytes().partition(b"\n")[2])
    contexts.write_text(contexts.read_text().replace(f"{machine.instance.base_url}/tuf", address))
    data["tuf_url"] = address
    content = json.dumps(data).encode()
    cache.write_bytes(hashlib.sha256(content).hexdigest().encode() + b"\n" + content)


def test_what_was_signed_after_a_rotation_verifies(reader):
    reader.run("verify", str(reader.file), *reader.who())
    reader.run("verify", str(reader.file), *reader.who(), "--offline")


def test_offline_the_verdict_is_left_open(reader):
    done = reader.run("verify", str(reader.file), *reader.who(), "--offline", exit_code=5)
    assert "newer trust material could change that" in done.stderr
    assert "hint: hallmark context update work, then verify again" in done.stderr
    reader.run("context", "update", "work")
    reader.run("verify", str(reader.file), *reader.who(), "--offline")


def test_a_repository_that_is_away_leaves_the_verdict_open(reader):
    without_network(reader, "http://127.0.0.1:9")
    done = reader.run("verify", str(reader.file), *reader.who(), exit_code=5)
    assert "hallmark context update work" in done.stderr


def test_a_repository_that_does_not_answer_is_asked_once(reader, tmp_path):
    other = tmp_path / "other"
    other.write_bytes(reader.file.read_bytes())
    bundle = reader.file.with_name("file.sigstore.json")
    other.with_name("other.sigstore.json").write_bytes(bundle.read_bytes())
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        silent.settimeout(0.1)
        without_network(reader, f"http://127.0.0.1:{silent.getsockname()[1]}")
        done = reader.run("verify", str(reader.file), str(other), *reader.who(), exit_code=5)
        assert done.stderr.count("within 5 s") == 2
        silent.accept()[0].close()
        with pytest.raises(TimeoutError):
            silent.accept()


def test_what_no_newer_material_could_change_is_said_at_once(reader, tmp_path):
    reader.run("verify", str(reader.file), *reader.who())
    without_network(reader, "http://127.0.0.1:9")
    reader.file.write_text("changed")
    reader.run("verify", str(reader.file), *reader.who(), exit_code=1)
    reader.file.write_text("x")
    reader.run("verify", str(reader.file), "--identity", "x@y.z", "--issuer", "https://z", exit_code=4)


def test_work_is_bounded_and_its_errors_are_its_own():
    late = RemoteError("late")
    assert run_bounded(lambda: 7, seconds=60, late=late) == 7
    with pytest.raises(ZeroDivisionError):
        run_bounded(lambda: 1 // 0, seconds=60, late=late)
    with pytest.raises(RemoteError, match="late"):
        run_bounded(lambda: time.sleep(60), seconds=0.01, late=late)
