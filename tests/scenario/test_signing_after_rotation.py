"""A client whose trust material is from before a rotation signs with the new log, and skips what is good."""

import json
import time

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tests.scenario.test_fresh_verdicts import without_network
from tests.support.machine import Machine
from tests.support.stepped_clock import SteppedClock

from hallmark.core.cosignature import cosigner_vkey

EMAIL = "alice@example.com"


@pytest.fixture
def machine(instance, tmp_path):
    found = Machine(instance, tmp_path, EMAIL)
    found.environment["SIGSTORE_ID_TOKEN"] = instance.token(EMAIL)
    found.pin()
    found.file = tmp_path / "f"
    found.file.write_text("x")
    return found


def rotate(instance) -> None:
    """Open a shard and freeze the one before it."""
    rotated = json.loads(instance.run("log", "rotate", "--json", "--data", str(instance.root)).stdout)
    old = rotated["shard"] - 1
    instance.run("log", "freeze", "--data", str(instance.root), "--shard", str(old))
    time.sleep(1.1)  # services change in whole seconds


def sign_elsewhere(machine) -> None:
    """Sign as a colleague who knows the newest log."""
    trust = str(machine.instance.client / "client_trust_config.json")
    machine.run("sign", str(machine.file), "--trust-config", trust)


def newest_log(instance) -> str:
    root = json.loads((instance.client / "trusted_root.json").read_text())
    return root["tlogs"][-1]["baseUrl"].removeprefix("http://")


class TestSigning:
    def test_goes_to_the_newer_log_of_the_context(self, machine):
        rotate(machine.instance)
        done = machine.run("sign", str(machine.file))
        assert done.stderr == ""
        assert newest_log(machine.instance).partition(":")[0] in done.stdout
        machine.run("verify", str(machine.file), *machine.who(), "--offline")

    def test_without_newer_material_says_what_fetches_it(self, machine):
        rotate(machine.instance)
        without_network(machine, "http://127.0.0.1:9")
        done = machine.run("sign", str(machine.file), exit_code=6)
        assert "has been frozen" in done.stderr
        assert "newer trust material may name another log, but" in done.stderr
        assert "hallmark context update" in done.stderr

    def test_with_material_from_a_file_says_to_fetch_it_again(self, machine, tmp_path):
        old = tmp_path / "old.json"
        old.write_bytes((machine.instance.client / "client_trust_config.json").read_bytes())
        rotate(machine.instance)
        sign = ["sign", str(machine.file), "--trust-config", str(old), "--json"]
        error = json.loads(machine.run(*sign, exit_code=6).stdout)["error"]
        assert error["code"] == "log_frozen"
        assert "fetch the trust material again" in error["hint"]

    def test_does_not_blame_the_clock_for_a_frozen_log(self, machine, tmp_path):
        old = tmp_path / "old.json"
        old.write_bytes((machine.instance.client / "client_trust_config.json").read_bytes())
        rotate(machine.instance)
        clock = SteppedClock(tmp_path)
        clock.step(90)
        machine.environment |= clock.environment
        done = machine.run("sign", str(machine.file), "--trust-config", str(old), exit_code=6)
        assert "frozen" in done.stderr
        assert "machine's clock" not in done.stderr


class TestSkipping:
    def test_a_bundle_of_the_newer_log_is_good(self, machine):
        rotate(machine.instance)
        sign_elsewhere(machine)
        assert machine.run("sign", "--skip-signed", str(machine.file)).stdout.startswith("skipped ")

    def test_without_newer_material_nothing_is_called_bad(self, machine):
        rotate(machine.instance)
        sign_elsewhere(machine)
        without_network(machine, "http://127.0.0.1:9")
        done = machine.run("sign", "--skip-signed", str(machine.file), exit_code=5)
        assert "whether the bundle that is there holds is not known" in done.stderr
        assert "hint: hallmark context update work, then run the command again" in done.stderr

    def test_a_bundle_without_the_witnesses_that_are_demanded_is_not_skipped(self, machine, tmp_path):
        rotate(machine.instance)
        policy = tmp_path / "policy"
        vkey = cosigner_vkey("witness.example", Ed25519PrivateKey.generate())
        policy.write_text(f"witness w {vkey.to_text()} http://127.0.0.1:9\nquorum w\n")
        demands = (
            ["--require-witnesses", str(policy), "--wait-for-witnesses", "0.1"],
            ["--wait-for-witnesses", "0.1"],
        )
        for demand in demands:
            machine.run("sign", "--overwrite", str(machine.file), *demand, exit_code=7)
            skip = ["sign", "--skip-signed", str(machine.file), *demand]
            done = machine.run(*skip, exit_code=7)
            assert "the bundle that is there is not witnessed" in done.stderr
            assert "--overwrite in place of --skip-signed" in done.stderr
        machine.file.write_text("changed")
        machine.run("sign", "--skip-signed", str(machine.file), *demands[0], exit_code=1)

    def test_what_comes_from_a_pipe_is_read_and_verified(self, machine, tmp_path):
        bundle = str(tmp_path / "b.json")
        words = ["sign", "-", "--skip-signed", "--bundle", bundle]
        assert machine.run(*words, input="data").stdout.startswith("signed -")
        assert machine.run(*words, input="data").stdout.startswith("skipped -")
        done = machine.run(*words, input="other", exit_code=1)
        assert "the bundle that is there does not hold" in done.stderr
