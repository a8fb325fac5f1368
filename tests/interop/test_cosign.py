"""cosign 3 and Hallmark sign for each other and verify each other, by files and from the TUF repository."""

import subprocess

import pytest
from tests.support.instance import isolated_environment
from tests.support.programs import require_program

pytestmark = pytest.mark.interop

EMAIL = "alice@example.com"


class Cosign:
    def __init__(self, home) -> None:
        self._program = require_program("cosign", "make .tools/ready unpacks it from Debian's unstable suite")
        self.home = home
        self._environment = {**isolated_environment(home), "HOME": str(home)}

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
            raise AssertionError(f"cosign {arguments[0]}: exit {done.returncode}\n{done.stderr}")
        return done

    def sign(self, instance, artifact, bundle, *options):
        return self(
            "sign-blob",
            "--yes",
            "--identity-token",
            instance.token(EMAIL),
            "--bundle",
            bundle,
            *options,
            artifact,
        )

    def verify(self, instance, artifact, bundle, *options, email=EMAIL, check=True):
        return self(
            "verify-blob",
            "--bundle",
            bundle,
            "--certificate-identity",
            email,
            "--certificate-oidc-issuer",
            f"{instance.base_url}/oidc",
            *options,
            artifact,
            check=check,
        )


@pytest.fixture
def cosign(tmp_path):
    home = tmp_path / "cosign-home"
    home.mkdir()
    return Cosign(home)


@pytest.fixture
def files(instance):
    return (
        "--trusted-root",
        instance.client / "trusted_root.json",
        "--signing-config",
        instance.client / "signing_config.json",
    )


def hallmark_verify(instance, artifact, bundle, *options, email=EMAIL, check=True):
    return instance.run(
        "verify",
        str(artifact),
        "--bundle",
        str(bundle),
        "--identity",
        email,
        "--issuer",
        f"{instance.base_url}/oidc",
        "--trusted-root",
        str(instance.client / "trusted_root.json"),
        *options,
        check=check,
    )


def hallmark_sign(instance, artifact, bundle):
    instance.run(
        "sign",
        "--instance",
        instance.base_url,
        "--identity-token",
        instance.token(EMAIL),
        "--bundle",
        str(bundle),
        str(artifact),
    )


def test_what_cosign_signs_by_files_hallmark_verifies(instance, cosign, files, artifact, tmp_path):
    bundle = tmp_path / "b.json"
    cosign.sign(instance, artifact, bundle, *files)
    hallmark_verify(instance, artifact, bundle)


def test_what_hallmark_signs_cosign_verifies_by_files(instance, cosign, files, artifact, tmp_path):
    bundle = tmp_path / "b.json"
    hallmark_sign(instance, artifact, bundle)
    cosign.verify(instance, artifact, bundle, *files[:2])


def test_after_initialize_cosign_needs_no_flags_in_either_direction(instance, cosign, artifact, tmp_path):
    cosign("initialize", "--mirror", f"{instance.base_url}/tuf", "--root", instance.client / "root.json")
    theirs, ours = tmp_path / "theirs.json", tmp_path / "ours.json"
    cosign.sign(instance, artifact, theirs)
    cosign.verify(instance, artifact, theirs)
    hallmark_verify(instance, artifact, theirs)
    hallmark_sign(instance, artifact, ours)
    cosign.verify(instance, artifact, ours)


def test_wrong_identity_file_and_root_are_refused_by_both(
    instance, other_instance, cosign, files, artifact, tmp_path
):
    theirs, ours, tampered = tmp_path / "theirs.json", tmp_path / "ours.json", tmp_path / "tampered"
    cosign.sign(instance, artifact, theirs, *files)
    hallmark_sign(instance, artifact, ours)
    tampered.write_bytes(artifact.read_bytes() + b".")
    other_root = other_instance.client / "trusted_root.json"
    for bundle in (theirs, ours):
        for refused in (
            hallmark_verify(instance, artifact, bundle, email="mallory@example.com", check=False),
            hallmark_verify(instance, tampered, bundle, check=False),
            hallmark_verify(instance, artifact, bundle, "--trusted-root", str(other_root), check=False),
        ):
            assert refused.returncode in (1, 4, 5), refused.stderr
            assert "Traceback" not in refused.stderr
        assert cosign.verify(
            instance, artifact, bundle, *files[:2], email="mallory@example.com", check=False
        ).returncode
        assert cosign.verify(instance, tampered, bundle, *files[:2], check=False).returncode
        assert cosign.verify(instance, artifact, bundle, "--trusted-root", other_root, check=False).returncode
