"""A user without a home: everything works that is told where its files are."""

import json
import os
import subprocess
import sys

import pytest
from tests.support.instance import HALLMARK, RunningInstance, isolated_environment

EMAIL = "alice@example.com"
STRANGER = 54321  # a user that the system does not list


@pytest.fixture(params=["", "/dev/null/home", "relative"], ids=["none", "cannot be made", "relative"])
def instance(tmp_path, request):
    (tmp_path / "cwd").mkdir()
    environment = {**isolated_environment(tmp_path), "HOME": request.param}
    running = RunningInstance(tmp_path / "data", tmp_path, environment=environment)
    running.environment = environment
    yield running
    assert running.stop() == 0
    assert "Traceback" not in (tmp_path / "up.log").read_text()


def test_an_instance_starts_and_a_file_is_signed_and_verified(instance, tmp_path):
    artifact, token = tmp_path / "file", tmp_path / "token"
    artifact.write_text("content")
    token.write_text(instance.token(EMAIL))
    client, issuer = instance.client, f"{instance.base_url}/oidc"
    trust = ("--trust-config", str(client / "client_trust_config.json"))
    where = {"cwd": tmp_path / "cwd"}
    instance.run("sign", *trust, "--identity-token", str(token), str(artifact), **where)
    who = ("--identity", EMAIL, "--issuer", issuer)
    root = ("--trusted-root", str(client / "trusted_root.json"))
    instance.run("verify", str(artifact), *who, *root, **where)
    instance.run("doctor", *trust, **where)
    instance.run("doctor", "--data", str(instance.root), **where)
    instance.run("context", "list", **where)
    assert list((tmp_path / "cwd").iterdir()) == []


def test_what_needs_a_home_says_so(tmp_path):
    environment = {**isolated_environment(tmp_path), "HOME": ""}
    for command in (("up",), ("witness", "--log", "x")):
        done = subprocess.run(
            [*HALLMARK, *command, "--json"],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        error = json.loads(done.stdout)["error"]
        assert (done.returncode, error["code"]) == (2, "no_home")
        assert "XDG_DATA_HOME" in error["hint"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_user_that_the_system_does_not_list_has_no_home():
    program = (
        "import os; from hallmark.client import contexts, folders, instances;"
        "from hallmark.errors import ConfigurationError;"
        f"os.environ.pop('HOME', None); os.setresuid({STRANGER}, {STRANGER}, {STRANGER})\n"
        "assert contexts.load_contexts().contexts == {} and instances.find_instance('http://x') is None\n"
        "try: folders.data_folder()\n"
        "except ConfigurationError as error: assert error.code == 'no_home'\n"
        "else: raise AssertionError"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
