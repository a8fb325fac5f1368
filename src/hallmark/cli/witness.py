"""`hallmark witness`: run a witness for transparency logs in the foreground."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hallmark.cli.options import json_option
from hallmark.cli.output import Output

if TYPE_CHECKING:
    from hallmark.wiring.witness import OpenWitness


def default_directory() -> Path:
    """Where a witness stands unless another directory is named."""
    from hallmark.client.folders import data_folder

    return data_folder() / "witness"


@click.command("witness")
@click.option(
    "--log",
    "logs",
    multiple=True,
    required=True,
    metavar="VKEY[=ORIGIN]",
    help="A log to cosign; repeatable.",
)
@click.option(
    "--data", type=click.Path(path_type=Path, file_okay=False), help="The directory of the witness."
)
@click.option("--listen", metavar="HOST:PORT", default="127.0.0.1:8090", show_default=True)
@click.option("--name", default="", help="The name of its keys, for example witness.example/w1; fixed once.")
@json_option
def command(*, logs: tuple[str, ...], data: Path | None, listen: str, name: str, as_json: bool) -> None:
    """Cosign the checkpoints of logs, as long as each log only grows (C2SP tlog-witness).

    It prints `ready URL`, then its verifier keys: policies name one of them.
    """
    from hallmark.instance.witness import WitnessOptions, run_witness

    root = data or default_directory()
    options = WitnessOptions(root=root, logs=logs, listen=listen, name=name)
    run_witness(options, _announce_json if as_json else _announce)


def _announce_json(url: str, witness: OpenWitness) -> None:
    Output(as_json=True).finish(ready=url, vkeys=[vkey.to_text() for vkey in witness.vkeys])
    sys.stdout.flush()


def _announce(url: str, witness: OpenWitness) -> None:
    """Say that the witness serves, and which keys it has."""
    click.echo(f"ready {url}")
    for vkey in witness.vkeys:
        click.echo(f"vkey {vkey.to_text()}")
    sys.stdout.flush()
