"""sigstore-python and Hallmark sign for each other and verify each other."""

import subprocess
from pathlib import Path

import pytest
from tests.interop.test_cosign import EMAIL, hallmark_sign, hallmark_verify
from tests.support.instance import isolated_environment
from tests.support.programs import require_program

pytestmark = pytest.mark.interop

PROGRAM = Path(__file__).parents[2] / ".venv-interop" / "bin" / "sigstore"


class SigstorePython:
    def __init__(self, home) -> None:
        self._program = require_program(str(PROGRAM), "make .venv-interop/ready installs it")
        self._environment = isolated_environment(home)
        self._environment.pop("PYTHONPATH", None)

    def __call__(self, *arguments, check=True):
        done = subprocess.run(
            [self._program, *map(str, arguments)],
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        if check and done.returncode != 0:
            raise AssertionError(
                f"sigstore {arguments}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
            )
        return done


@pytest.fixture
def sigstore(tmp_path):
    home = tmp_path / "sigstore-home"
    home.mkdir()
    return SigstorePython(home)


def verify(sigstore, trust, instance, artifact, bundle, *, email=EMAIL, check=True):
    issuer = f"{instance.base_url}/oidc"
    options = ("--bundle", bundle, "--cert-identity", email, "--cert-oidc-issuer", issuer)
    return sigstore(*trust, "verify", "identity", *options, artifact, check=check)


def sign(sigstore, trust, instance, artifact, bundle):
    return sigstore(*trust, "sign", "--identity-token", instance.token(EMAIL), "--bundle", bundle, artifact)


def test_both_directions_with_a_trust_config(instance, other_instance, sigstore, artifact, tmp_path):
    trust = ("--trust-config", instance.client / "client_trust_config.json")
    theirs, ours, tampered = tmp_path / "theirs.json", tmp_path / "ours.json", tmp_path / "tampered"
    sign(sigstore, trust, instance, artifact, theirs)
    verify(sigstore, trust, instance, artifact, theirs)
    hallmark_verify(instance, artifact, theirs)
    hallmark_sign(instance, artifact, ours)
    verify(sigstore, trust, instance, artifact, ours)

    tampered.write_bytes(artifact.read_bytes() + b".")
    other = ("--trust-config", other_instance.client / "client_trust_config.json")
    for bundle in (theirs, ours):
        assert verify(
            sigstore, trust, instance, artifact, bundle, email="mallory@example.com", check=False
        ).returncode
        assert verify(sigstore, trust, instance, tampered, bundle, check=False).returncode
        assert verify(sigstore, other, instance, artifact, bundle, check=False).returncode


def test_both_directions_with_the_tuf_repository(instance, sigstore, artifact, tmp_path):
    trust = ("--instance", f"{instance.base_url}/tuf")
    sigstore(*trust, "trust-instance", instance.client / "root.json")
    theirs, ours = tmp_path / "theirs.json", tmp_path / "ours.json"
    sign(sigstore, trust, instance, artifact, theirs)
    verify(sigstore, trust, instance, artifact, theirs)
    hallmark_verify(instance, artifact, theirs)
    hallmark_sign(instance, artifact, ours)
    verify(sigstore, trust, instance, artifact, ours)
