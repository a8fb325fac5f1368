"""sigstore-go signs for Hallmark and verifies what Hallmark has signed, with its own example programs."""

import subprocess

import pytest
from tests.interop.test_cosign import EMAIL, hallmark_sign, hallmark_verify
from tests.support.instance import isolated_environment
from tests.support.programs import require_program

pytestmark = pytest.mark.interop

_INSTALL = "make .tools/ready unpacks it from Debian's unstable suite"


class SigstoreGo:
    def __init__(self, home) -> None:
        self._home = home
        self._environment = isolated_environment(home)

    def _run(self, name, *arguments, check=True):
        done = subprocess.run(
            [require_program(name, _INSTALL), *map(str, arguments)],
            cwd=self._home, env=self._environment, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        if check and done.returncode != 0:
            raise AssertionError(f"{name}: exit {done.returncode}\n{done.stderr}")
        return done

    def sign(self, instance, artifact, bundle) -> None:
        """Sign with all the services of an instance."""
        done = self._run(
            "sigstore-go-signing",
            "-id-token", instance.token(EMAIL),
            "-signing-config", instance.client / "signing_config.json",
            "-trusted-root", instance.client / "trusted_root.json",
            "-rekor", "-tsa", artifact,
        )  # fmt: skip
        bundle.write_text(done.stdout[done.stdout.index("{") :])  # it prints the key before

    def verify(self, instance, artifact, bundle, *, email=EMAIL, check=True):
        """Verify against the trusted root in the TUF repository of an instance."""
        return self._run(
            "sigstore-go-verification",
            "-tufRootURL", f"{instance.base_url}/tuf",
            "-tufTrustedRoot", instance.client / "root.json",
            "-artifact", artifact,
            "-expectedIssuer", f"{instance.base_url}/oidc",
            "-expectedSAN", email,
            bundle,
            check=check,
        )  # fmt: skip


@pytest.fixture
def sigstore_go(tmp_path):
    home = tmp_path / "go-home"
    home.mkdir()
    return SigstoreGo(home)


def test_sigstore_go_and_hallmark_verify_each_other(sigstore_go, instance, artifact, tmp_path):
    bundle = tmp_path / "bundle.json"
    sigstore_go.sign(instance, artifact, bundle)
    hallmark_verify(instance, artifact, bundle)
    bundle.unlink()
    hallmark_sign(instance, artifact, bundle)
    sigstore_go.verify(instance, artifact, bundle)


def test_sigstore_go_refuses_another_signer_and_another_artifact(sigstore_go, instance, artifact, tmp_path):
    bundle = tmp_path / "bundle.json"
    hallmark_sign(instance, artifact, bundle)
    assert sigstore_go.verify(instance, artifact, bundle, email="bob@example.com", check=False).returncode
    artifact.write_bytes(b"another")
    assert sigstore_go.verify(instance, artifact, bundle, check=False).returncode
