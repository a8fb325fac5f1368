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

from hallmark.cli.options import json_option
from hallmark.cli.output import Output

_EMAIL = "newcomer@example.com"
_END_SECONDS = 30
_REFUSED = 1


@click.command(name="demo")
@click.argument("file", required=False, type=click.Path(path_type=Path, exists=True, dir_okay=False))
@json_option
def command(file: Path | None, as_json: bool) -> None:
    """Start a throw-away instance, sign FILE, verify it, and show a tampered copy being refused.

    FILE is by default the README of the folder you stand in. It is copied; nothing of yours is touched, and
    nothing is left behind.
    """
    with tempfile.TemporaryDirectory(prefix="hallmark-demo-") as name:
        facts = _Demo(Path(name), Output(as_json=as_json)).run(file)
    Output(as_json=as_json).finish(**facts)


class _Demo:
    def __init__(self, folder: Path, output: Output) -> None:
        self._folder = folder
        self._quiet = output.as_json
        self._environment = {**os.environ, "HOME": str(folder), "PYTHONUNBUFFERED": "1"}
        for variable in ("XDG_DATA_HOME", "XDG_STATE_HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME"):
            self._environment.pop(variable, None)

    def run(self, file: Path | None) -> dict[str, object]:
        """Go through the steps, each shown as the command a user would type; return what was shown."""
        artifact = self._folder / (file.name if file else "README.md")
        _copy(file or Path("README.md"), artifact)
        self._say(
            "1. Start a private Sigstore: certificate authority, logs, timestamps, trust root, in one go."
        )
        server = self._start()
        try:
            url = self._wait_until_ready(server)
            self._sign_and_verify(artifact, url)
        finally:
            server.send_signal(signal.SIGINT)
            server.wait(_END_SECONDS)
        self._say("The instance has ended and its directory is gone. Next: `make up`, or docs/howto.")
        return {"instance": url, "signed": artifact.name, "verified": True, "tamperedCopyRefused": True}

    def _sign_and_verify(self, artifact: Path, url: str) -> None:
        identity = [
            "--identity",
            _EMAIL,
            "--issuer",
            f"{url}/oidc",
            "--trusted-root",
            "instance/client/trusted_root.json",
        ]
        self._say(
            "2. Prove who you are. A development issuer hands out the token; in production it is your own."
        )
        token = self._hallmark("token", "--email", _EMAIL, "--data", "instance", shown="> token")
        (self._folder / "token").write_text(token)
        self._say("3. Sign. The key lives for this one command; what proves it stands in two public logs.")
        self._hallmark("sign", "--instance", url, "--identity-token", "token", artifact.name)
        self._say("4. Verify, offline, against the instance's trusted root.")
        self._hallmark("verify", artifact.name, *identity)
        self._say("5. Change one byte, and verify again.")
        tampered = self._folder / f"tampered-{artifact.name}"
        tampered.write_bytes(artifact.read_bytes() + b"!")
        bundle = f"{artifact.name}.sigstore.json"
        self._hallmark("verify", tampered.name, "--bundle", bundle, *identity, status=_REFUSED)
        self._say("6. Look at the log entry and the signed head of the log that covers it.")
        self._hallmark("inspect", bundle)
        self._show(f"{url}/checkpoint")

    def _start(self) -> subprocess.Popen[str]:
        command = ["up", "--data", "instance", "--listen", "127.0.0.1:0"]
        self._show_command(*command)
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
        self._echo(line)
        return line.removeprefix("ready ").strip()

    def _hallmark(self, *arguments: str, status: int = 0, shown: str = "") -> str:
        """Run a command, show it and what it prints, and insist on its exit status."""
        self._show_command(*arguments, shown)
        done = subprocess.run(  # noqa: S603  this very program
            [*_PROGRAM, *arguments],
            cwd=self._folder,
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
        )
        printed = f"{'' if shown else done.stdout}{done.stderr}"
        self._echo(f"{printed}(exit status {done.returncode})\n")
        if done.returncode != status:
            _fail(f"expected exit status {status}")
        return done.stdout

    def _say(self, text: str) -> None:
        if not self._quiet:
            click.secho(text, bold=True)

    def _show_command(self, *arguments: str) -> None:
        self._echo(f"$ hallmark {' '.join(argument for argument in arguments if argument)}")

    def _echo(self, text: str) -> None:
        if not self._quiet:
            click.echo(text)

    def _show(self, url: str) -> None:
        self._echo(f"$ curl {url}")
        with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310  our own loopback address
            self._echo(answer.read().decode())


_PROGRAM = (sys.executable, "-m", "hallmark.cli.main")


def _copy(source: Path, target: Path) -> None:
    if source.is_file():
        shutil.copyfile(source, target)
    else:
        target.write_text("A file to sign.\n")


def _fail(reason: str) -> NoReturn:
    raise click.ClickException(f"the demo went wrong: {reason}")
