"""`hallmark demo`: a throw-away instance, a real file signed, verified, tampered with and refused."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path
from typing import NoReturn

import click

_EMAIL = "newcomer@example.com"
_END_SECONDS = 30
_REFUSED = 1


@click.command(name="demo")
@click.argument("file", required=False, type=click.Path(path_type=Path, exists=True, dir_okay=False))
def demo(file: Path | None) -> None:
    """Start a throw-away instance, sign FILE, verify it, and show a tampered copy being refused.

    FILE is by default the README of the folder you stand in. It is copied; nothing of yours is touched, and
    nothing is left behind.
    """
    with tempfile.TemporaryDirectory(prefix="hallmark-demo-") as name:
        _Demo(Path(name)).run(file)


class _Demo:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._environment = {**os.environ, "HOME": str(folder), "PYTHONUNBUFFERED": "1"}
        for variable in ("XDG_DATA_HOME", "XDG_STATE_HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME"):
            self._environment.pop(variable, None)

    def run(self, file: Path | None) -> None:
        """Go through the steps, each shown as the command a user would type."""
        artifact = self._folder / (file.name if file else "README.md")
        _copy(file or Path("README.md"), artifact)
        _say(
            "1. Start a private Sigstore: certificate authority, logs, timestamps, trust root, in one process tree."
        )
        server = self._start()
        try:
            self._sign_and_verify(artifact, self._wait_until_ready(server))
        finally:
            server.send_signal(signal.SIGINT)
            server.wait(_END_SECONDS)
        _say("The instance has ended and its directory is gone. Next: `make up`, or docs/howto.")

    def _sign_and_verify(self, artifact: Path, url: str) -> None:
        identity = [
            "--identity",
            _EMAIL,
            "--issuer",
            f"{url}/oidc",
            "--trusted-root",
            "instance/client/trusted_root.json",
        ]
        _say("2. Prove who you are. A development issuer hands out the token; in production it is your own.")
        token = self._hallmark("token", "--email", _EMAIL, "--data", "instance", shown="> token")
        (self._folder / "token").write_text(token)
        _say("3. Sign. The key lives for this one command; what proves it stands in two public logs.")
        self._hallmark("sign", "--instance", url, "--identity-token", "token", artifact.name)
        _say("4. Verify, offline, against the instance's trusted root.")
        self._hallmark("verify", artifact.name, *identity)
        _say("5. Change one byte, and verify again.")
        tampered = self._folder / f"tampered-{artifact.name}"
        tampered.write_bytes(artifact.read_bytes() + b"!")
        bundle = f"{artifact.name}.sigstore.json"
        self._hallmark("verify", tampered.name, "--bundle", bundle, *identity, status=_REFUSED)
        _say("6. Look at the log entry and the signed head of the log that covers it.")
        self._hallmark("inspect", bundle)
        self._show(f"{url}/checkpoint")

    def _start(self) -> subprocess.Popen[str]:
        command = ["up", "--data", "instance", "--listen", "127.0.0.1:0"]
        _show_command(*command)
        return subprocess.Popen(  # noqa: S603  this very program
            [*_PROGRAM, *command],
            cwd=self._folder,
            env=self._environment,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,  # Ctrl-C ends the demo, which then ends the instance in order
        )

    def _wait_until_ready(self, server: subprocess.Popen[str]) -> str:
        line = server.stdout.readline() if server.stdout else ""
        if not line.startswith("ready "):
            _fail("the instance did not start; its reason stands above")
        click.echo(line)
        return line.removeprefix("ready ").strip()

    def _hallmark(self, *arguments: str, status: int = 0, shown: str = "") -> str:
        """Run a command, show it and what it prints, and insist on its exit status."""
        _show_command(*arguments, shown)
        done = subprocess.run(  # noqa: S603  this very program
            [*_PROGRAM, *arguments],
            cwd=self._folder,
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
        )
        output = done.stdout if not shown else ""
        click.echo(f"{output}{done.stderr}".rstrip() + f"\n(exit status {done.returncode})\n")
        if done.returncode != status:
            _fail(f"expected exit status {status}")
        return done.stdout

    def _show(self, url: str) -> None:
        click.echo(f"$ curl {url}")
        with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310  our own loopback address
            click.echo(answer.read().decode())


_PROGRAM = (sys.executable, "-m", "hallmark.cli.main")


def _copy(source: Path, target: Path) -> None:
    if source.is_file():
        shutil.copyfile(source, target)
    else:
        target.write_text("A file to sign.\n")


def _say(text: str) -> None:
    click.secho(text, bold=True)


def _show_command(*arguments: str) -> None:
    click.echo(f"$ hallmark {' '.join(argument for argument in arguments if argument)}")


def _fail(reason: str) -> NoReturn:
    raise click.ClickException(f"the demo went wrong: {reason}")
