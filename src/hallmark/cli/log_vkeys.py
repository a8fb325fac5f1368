"""`hallmark log vkeys`: the verifier keys of an instance's logs, as witnesses and monitors want them."""

from pathlib import Path

import click

from hallmark.cli.options import PATH, json_option
from hallmark.cli.output import Output


@click.command("vkeys")
@click.option("--data", type=PATH, required=True, metavar="DIR", help="The directory of an instance.")
@json_option
def command(data: Path, as_json: bool) -> None:
    """Print the verifier key of each log: of every shard, the newest last, then of the CT log."""
    from hallmark.wiring.layout import Layout
    from hallmark.wiring.vkeys import log_vkeys

    output = Output(as_json=as_json)
    vkeys = log_vkeys(Layout(data))
    for name, vkey in vkeys.items():
        output.line(f"{vkey}  {name}")
    output.finish(vkeys=vkeys)
