"""A real instance in processes of its own, as `hallmark up` runs it."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path

HALLMARK = [sys.executable, "-m", "hallmark.cli.main"]
START_SECONDS = 60


class RunningInstance:
    """`hallmark up` on a directory; ended by `stop`, or by `kill` without a word."""

    def __init__(
        self,
        root: Path,
        home: Path,
        *options: str,
        listen: str | None = "127.0.0.1:0",
        file_bytes: int | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.root = root
        self.home = home
        self.environment = isolated_environment(home)
        listening = ["--listen", listen] if listen else []
        log = (home / "up.log").open("ab")
        self.process = subprocess.Popen(
            [*_limited(file_bytes), *HALLMARK, "up", "--data", str(root), *listening, *options],
            env={**self.environment, **(environment or {})},
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            start_new_session=True,
        )
        log.close()
        self.base_url = self._wait_until_ready()
        # what follows the first line is for people; it is read so that the pipe never fills
        threading.Thread(target=self.process.stdout.read, daemon=True).start()

    def _wait_until_ready(self) -> str:
        timer = threading.Timer(START_SECONDS, self.process.kill)
        timer.start()
        line = self.process.stdout.readline()
        timer.cancel()
        if not line.startswith("ready "):
            self.process.wait(START_SECONDS)
            self.process.stdout.close()
            raise AssertionError(f"no ready line: {line!r}\n{(self.home / 'up.log').read_text()[-4000:]}")
        return line.removeprefix("ready ").strip()

    @property
    def client(self) -> Path:
        """The files for clients."""
        return self.root / "client"

    def run(self, *arguments: str, check: bool = True, **options) -> subprocess.CompletedProcess[str]:
        """Run a hallmark command in this instance's own home."""
        done = subprocess.run(
            [*HALLMARK, *arguments],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            **options,
        )
        if check and done.returncode != 0:
            raise AssertionError(f"{arguments}: exit {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done

    def token(self, email: str = "alice@example.com") -> str:
        """Get an identity token."""
        return self.run("token", "--email", email, "--data", str(self.root)).stdout.strip()

    def workers(self) -> list[int]:
        """The process ids of the workers."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return [int(child) for child in children]

    def stop(self) -> int:
        """End the instance as Ctrl-C does; returns its exit status."""
        self.process.send_signal(signal.SIGINT)
        status = self.process.wait(60)
        self.process.stdout.close()
        return status

    def kill(self) -> None:
        """Kill the whole process tree at once."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(60)
        self.process.stdout.close()


def _limited(file_bytes: int | None) -> list[str]:
    """Let no file grow beyond a size: a write that would fails, as on a broken disk."""
    if file_bytes is None:
        return []
    program = "import os, resource, sys; n = int(sys.argv[1]); "
    program += "resource.setrlimit(resource.RLIMIT_FSIZE, (n, n)); os.execv(sys.argv[2], sys.argv[2:])"
    return [sys.executable, "-c", program, str(file_bytes)]


def isolated_environment(home: Path) -> dict[str, str]:
    """An environment in which nothing of the user's own configuration is found."""
    kept = ("PATH", "LANG", "PYTHONPATH", "SSL_CERT_FILE", "PYTHONDONTWRITEBYTECODE")
    environment = {name: os.environ[name] for name in kept if name in os.environ}
    return {**environment, "HOME": str(home), "PYTHONUNBUFFERED": "1"}


def read_json(path: Path) -> dict:
    """Read a JSON file."""
    return json.loads(path.read_text())
