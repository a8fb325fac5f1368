"""`hallmark up`: run a whole instance in the foreground."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hallmark.cli.options import PATH, json_option
from hallmark.cli.output import Output

if TYPE_CHECKING:
    from hallmark.instance.run import Running

_MAX_WORKERS = 64


def default_directory() -> Path:
    """Where an instance stands unless another directory is named."""
    from hallmark.client.folders import data_folder

    return data_folder() / "instance"


@click.command(name="up")
@click.option(
    "--data", type=click.Path(path_type=Path, file_okay=False), help="The directory of the instance."
)
@click.option(
    "--listen", metavar="HOST:PORT", help="Where to listen, or unix:PATH; port 0 picks a free one, once."
)
@click.option("--public-url", metavar="URL", help="The base URL that clients use, if not that of --listen.")
@click.option("--workers", type=click.IntRange(1, _MAX_WORKERS), default=1, help="Serving processes.")
@click.option(
    "--witness-policy",
    type=PATH,
    metavar="FILE",
    help="Whose cosignatures the log needs; kept for later starts.",
)
@click.option(
    "--witness-mode",
    type=click.Choice(["strict", "fail-open", "off"]),
    help="Answer only with a quorum's cosignatures (strict, the default), or at once.",
)
@click.option(
    "--config", type=PATH, metavar="FILE", help="Settings of the log and of gRPC (TOML), for this start."
)
@click.option("--grpc-listen", metavar="HOST:PORT", help="Where to serve the log over gRPC too (an extra).")
@json_option
def command(
    *,
    data: Path | None,
    listen: str | None,
    public_url: str | None,
    workers: int,
    witness_policy: Path | None,
    witness_mode: str | None,
    config: Path | None,
    grpc_listen: str | None,
    as_json: bool,
) -> None:
    """Start a whole instance; the first start makes keys, CA, logs and trust root.

    It prints `ready URL` when it serves, and ends cleanly on Ctrl-C.
    """
    from hallmark.client.files import read_file
    from hallmark.core.witness_policy import MAX_POLICY_BYTES
    from hallmark.instance.run import Options, run_instance
    from hallmark.wiring.settings import MAX_SETTINGS_BYTES, Settings, parse_settings

    def read_settings() -> Settings:
        if config is None:
            return Settings()
        return parse_settings(read_file(config, max_bytes=MAX_SETTINGS_BYTES), config)

    root = data or default_directory()
    options = Options(
        root=root,
        listen=listen,
        public_url=public_url,
        workers=workers,
        witness_policy=read_file(witness_policy, max_bytes=MAX_POLICY_BYTES) if witness_policy else None,
        witness_mode=witness_mode,
        grpc_listen=grpc_listen,
        settings=read_settings(),
        read_settings=read_settings,
    )
    run_instance(options, _announce_json if as_json else _announce)


def _announce_json(running: Running) -> None:
    Output(as_json=True).finish(
        ready=running.instance.base_url,
        directory=str(running.layout.root.resolve()),
        grpc=running.grpc_address or None,
    )
    sys.stdout.flush()


def _announce(running: Running) -> None:
    """Say that the instance serves, then how to point each client at it."""
    url, client = running.instance.base_url, running.layout.client.resolve()
    pin = hashlib.sha256((client / "root.json").read_bytes()).hexdigest()
    grpc = f"\n  gRPC             {running.grpc_address}" if running.grpc_address else ""
    click.echo(f"ready {url}")
    click.echo(f"""
  hallmark         hallmark token --email you@example.com --instance {url} > token
                   hallmark sign --instance {url} --identity-token token FILE
  cosign           cosign initialize --mirror {url}/tuf --root {client}/root.json
                   cosign sign-blob --yes --identity-token token --bundle FILE.sigstore.json FILE
  sigstore-python  sigstore --instance {url}/tuf trust-instance {client}/root.json
                   sigstore --instance {url}/tuf sign --overwrite --identity-token "$(cat token)" FILE
  other machines   hallmark context add NAME {url} --root-fingerprint {pin}
  more             hallmark client-config --for cosign --data {running.layout.root}{grpc}

Stop it with Ctrl-C. Everything it knows is in {running.layout.root}""")
    sys.stdout.flush()
