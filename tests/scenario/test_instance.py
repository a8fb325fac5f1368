"""A whole instance as a user runs it: first start, second start, refusals, and a clean end."""

import fcntl
import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.request
from pathlib import Path

import pytest
from tests.support.instance import HALLMARK, RunningInstance, isolated_environment

from hallmark.errors import ConfigurationError, HallmarkError, Overloaded
from hallmark.instance.directory import locked_directory
from hallmark.wiring.layout import Layout
from hallmark.wiring.publishing import Publishing


@pytest.fixture(scope="module")
def instance(tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    running = RunningInstance(tmp_path_factory.mktemp("data") / "instance", home, "--workers", "2")
    yield running
    assert running.stop() == 0
    assert "Traceback" not in (home / "up.log").read_text()


def get(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return answer.read()


def refused_start(home: Path, *arguments: str) -> dict:
    """Start an instance that must be refused; returns the error that it told."""
    done = subprocess.run(
        [*HALLMARK, "up", "--json", *arguments],
        env=isolated_environment(home),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    told = json.loads(done.stdout)["error"]
    assert done.returncode == told["exitCode"]
    assert "Traceback" not in done.stderr
    assert told["hint"]
    return told


def test_it_serves_health_description_and_client_files(instance):
    assert json.loads(get(f"{instance.base_url}/healthz")) == {"status": "SERVING"}
    described = json.loads(get(f"{instance.base_url}/.well-known/hallmark.json"))
    assert described["base_url"] == instance.base_url
    for name in ("trusted_root", "signing_config", "client_trust_config"):
        assert get(described["configs"][name]) == (instance.client / f"{name}.json").read_bytes()
    assert get(described["configs"]["root"]) == (instance.client / "root.json").read_bytes()


def test_its_front_page_says_what_it_is_and_what_its_root_is(instance):
    page = get(f"{instance.base_url}/").decode()
    fingerprint = hashlib.sha256((instance.client / "root.json").read_bytes()).hexdigest()
    assert f"hallmark context add NAME {instance.base_url} --root-fingerprint {fingerprint}" in page


def test_private_files_are_readable_by_their_owner_alone(instance):
    secret = [*(instance.root / "keys").rglob("*.pem"), instance.client / "token_secret"]
    assert len(secret) >= 9
    for path in secret:
        assert path.stat().st_mode & 0o777 == 0o600, path


def test_a_file_is_signed_and_verified_and_a_tampered_one_refused(instance, tmp_path):
    artifact = tmp_path / "artifact"
    artifact.write_bytes(b"content")
    instance.run("sign", "--instance", instance.base_url, "--identity-token", instance.token(), str(artifact))
    verify = [
        "verify",
        str(artifact),
        "--identity",
        "alice@example.com",
        "--issuer",
        f"{instance.base_url}/oidc",
        "--trusted-root",
        str(instance.client / "trusted_root.json"),
    ]
    instance.run(*verify)
    artifact.write_bytes(b"other")
    assert instance.run(*verify, check=False).returncode == 1


def test_several_files_take_one_certificate(instance, tmp_path):
    files = [tmp_path / f"file{number}" for number in range(3)]
    for number, file in enumerate(files):
        file.write_bytes(b"%d" % number)
    instance.run(
        "sign",
        "--instance",
        instance.base_url,
        "--identity-token",
        instance.token(),
        *(str(file) for file in files),
    )
    bundles = [json.loads(Path(f"{file}.sigstore.json").read_text()) for file in files]
    assert len({bundle["verificationMaterial"]["certificate"]["rawBytes"] for bundle in bundles}) == 1
    assert len({bundle["messageSignature"]["signature"] for bundle in bundles}) == 3


def test_two_instances_on_one_directory_the_second_is_refused(instance, tmp_path):
    assert refused_start(tmp_path, "--data", str(instance.root))["code"] == "instance_running"


def test_a_port_in_use_is_named(instance, tmp_path):
    port = instance.base_url.rpartition(":")[2]
    told = refused_start(tmp_path, "--data", str(tmp_path / "new"), "--listen", f"127.0.0.1:{port}")
    assert told["code"] == "port_in_use"
    assert port in told["message"]
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = f"127.0.0.1:{other.getsockname()[1]}"
        assert (
            refused_start(tmp_path, "--data", str(tmp_path / "new"), "--listen", taken)["code"]
            == "port_in_use"
        )


def test_it_does_not_serve_its_identity_provider_beyond_loopback(tmp_path):
    for options in (
        ["--listen", "0.0.0.0:0"],
        ["--listen", "127.0.0.1:0", "--public-url", "http://example.com"],
    ):
        assert refused_start(tmp_path, "--data", str(tmp_path / "new"), *options)["code"] == "not_loopback"


def test_a_directory_that_cannot_be_written_is_named(tmp_path):
    file = tmp_path / "file"
    file.write_text("")
    assert refused_start(tmp_path, "--data", str(file / "below"))["code"] == "unwritable_directory"


def test_a_directory_with_other_things_in_it_is_left_alone(tmp_path):
    precious = tmp_path / "data" / "client" / "precious"
    precious.parent.mkdir(parents=True)
    precious.write_text("mine")
    assert refused_start(tmp_path, "--data", str(tmp_path / "data"))["code"] == "not_an_instance"
    assert precious.read_text() == "mine"


@pytest.fixture
def stopped(tmp_path):
    """The directory of an instance that has run and ended."""
    running = RunningInstance(tmp_path / "data", tmp_path)
    assert running.stop() == 0
    return running


def test_a_second_start_goes_on_where_the_first_ended(stopped):
    log_before = stopped.root / "tlog" / "public" / "checkpoint"
    before = log_before.read_bytes()
    again = RunningInstance(stopped.root, stopped.home, listen=None)
    assert again.base_url == stopped.base_url
    assert get(f"{again.base_url}/checkpoint") == before
    assert again.stop() == 0


def test_an_address_that_contradicts_the_public_url_is_refused(stopped, tmp_path):
    told = refused_start(tmp_path, "--data", str(stopped.root), "--listen", "127.0.0.1:1")
    assert told["code"] == "public_url_is_fixed"
    assert stopped.base_url in told["message"]


@pytest.mark.parametrize(
    "damage",
    [
        lambda root: (root / "instance.json").write_text("{"),
        lambda root: (root / "keys" / "tlog.pem").write_text("no key"),
        lambda root: (root / "keys" / "ca.pem").unlink(),
        lambda root: (root / "ca" / "chain.pem").write_text(""),
        lambda root: shutil.rmtree(root / "tuf"),
        lambda root: (root / "tlog" / "log.db").write_bytes(b"not a database" * 1000),
        lambda root: (root / "tlog" / "log.db").unlink(),
    ],
    ids=["instance", "log-key", "ca-key", "chain", "tuf", "database", "no-database"],
)
def test_a_damaged_directory_is_refused_with_a_reason(stopped, damage, tmp_path):
    damage(stopped.root)
    told = refused_start(tmp_path, "--data", str(stopped.root))
    assert told["exitCode"] in (2, 5)


MOMENTS = ("lock", ".new/keys/ca.pem", ".new/tlog/log.db", ".new/tuf", ".new/instance.json", "client")


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_first_start_killed_at_any_moment_leaves_nothing_in_the_way(tmp_path, moment):
    """Killed when a file appears, or a little later: how fast the machine is decides nothing."""
    data = tmp_path / "data"
    process = subprocess.Popen(
        [*HALLMARK, "up", "--data", str(data), "--listen", "127.0.0.1:0"],
        env=isolated_environment(tmp_path),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    while not (data / moment).exists() and not (data / "instance.json").exists():
        assert process.poll() is None
        time.sleep(0.001)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    running = RunningInstance(data, tmp_path)  # port 0 agrees with whichever was kept
    assert not (data / ".new").exists()
    assert running.stop() == 0


@pytest.mark.parametrize("standing", [True, False], ids=["a folder that stood there", "no folder"])
@pytest.mark.parametrize(
    "wrong",
    [
        ("--listen", "nonsense"),
        ("--listen", "192.0.2.1:0"),
        ("--listen", "127.0.0.1:0", "--public-url", "ftp://x"),
        ("--listen", "127.0.0.1:0", "--grpc-listen", "unix:x"),
        ("--listen", "127.0.0.1:0", "--witness-mode", "strict"),
    ],
    ids=" ".join,
)
def test_a_first_start_that_fails_leaves_nothing_that_was_not_there(tmp_path, standing, wrong):
    above = tmp_path / "above"
    data = above / "data"
    if standing:
        data.mkdir(parents=True)
    refused_start(tmp_path, "--data", str(data), *wrong)
    assert above.exists() == standing
    assert not standing or list(data.iterdir()) == []


def test_a_first_start_that_fails_leaves_what_others_have_put_there(tmp_path):
    data = tmp_path / "data"
    (data / "keys").mkdir(parents=True)
    (data / "keys" / "mine").write_text("x")
    refused_start(tmp_path, "--data", str(data))
    assert [str(item.relative_to(data)) for item in sorted(data.rglob("*"))] == ["keys", "keys/mine"]


def test_a_failed_start_of_an_instance_leaves_it_as_it_is(stopped, tmp_path):
    before = sorted(stopped.root.rglob("*"))
    refused_start(tmp_path, "--data", str(stopped.root), "--listen", "nonsense")
    assert sorted(stopped.root.rglob("*")) == before


def test_a_lock_that_its_holder_takes_away_meanwhile_is_not_taken_for_one(tmp_path, monkeypatch):
    real = fcntl.flock

    def lock_late(descriptor, how):
        (tmp_path / "data" / "lock").unlink()
        real(descriptor, how)

    monkeypatch.setattr(fcntl, "flock", lock_late)
    with pytest.raises(ConfigurationError) as caught, locked_directory(tmp_path / "data"):
        pass
    assert caught.value.code == "instance_running"


def test_workers_end_with_the_parent(tmp_path):
    running = RunningInstance(tmp_path / "data", tmp_path, "--workers", "2")
    workers = running.workers()
    assert len(workers) == 2
    running.process.kill()
    running.process.wait()
    running.process.stdout.close()
    deadline = time.monotonic() + 10
    while any(Path(f"/proc/{worker}/cmdline").exists() for worker in workers):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_worker_that_dies_is_replaced(tmp_path):
    running = RunningInstance(tmp_path / "data", tmp_path)
    (worker,) = running.workers()
    os.kill(worker, signal.SIGKILL)
    deadline = time.monotonic() + 20
    while True:
        try:
            get(f"{running.base_url}/healthz")
            break
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.05)
    assert running.workers() != [worker]
    assert running.stop() == 0


def test_a_trust_root_that_cannot_be_renewed_takes_no_log_down(tmp_path, caplog):
    running = RunningInstance(tmp_path / "data", tmp_path)
    assert running.stop() == 0
    layout = Layout(tmp_path / "data")
    publishing = Publishing(layout, layout.read_instance(), on_failure=pytest.fail)
    shutil.rmtree(layout.tuf)
    publishing._attempt(publishing._chore, OSError, HallmarkError)
    publishing._attempt(publishing._publish, OSError, Overloaded)
    assert "cannot publish for now" in caplog.text
