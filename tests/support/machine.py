"""A user's machine beside an instance."""

import hashlib
import subprocess
from pathlib import Path

from tests.support.instance import HALLMARK, RunningInstance, isolated_environment


class Machine:
    """Another user's machine: it knows of the instance only what it is told."""

    def __init__(self, instance: RunningInstance, folder: Path, email: str) -> None:
        self.instance = instance
        self.email = email
        self.home = folder / "home"
        self.home.mkdir()
        self.environment = isolated_environment(self.home)
        self.fingerprint = hashlib.sha256((instance.client / "root.json").read_bytes()).hexdigest()

    def run(self, *arguments: str, exit_code: int = 0, **options) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [*HALLMARK, *arguments],
            env=self.environment, capture_output=True, text=True, check=False, timeout=120, **options,
        )  # fmt: skip
        assert done.returncode == exit_code, (arguments, done.returncode, done.stdout, done.stderr)
        assert "Traceback" not in done.stderr
        return done

    def pin(self) -> None:
        self.run("context", "add", "work", self.instance.base_url, "--root-fingerprint", self.fingerprint)

    def who(self) -> list[str]:
        return ["--identity", self.email, "--issuer", f"{self.instance.base_url}/oidc"]
