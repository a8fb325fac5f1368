"""`hallmark log freeze`: end a shard of the signature log for good."""

from pathlib import Path

import click

from hallmark.cli.options import PATH, json_option
from hallmark.cli.output import Output


@click.command("freeze")
@click.option("--data", type=PATH, required=True, metavar="DIR", help="The instance's directory.")
@click.option("--shard", type=click.IntRange(min=1), required=True, help="Which shard; not the newest.")
@json_option
def command(data: Path, shard: int, as_json: bool) -> None:
    """Freeze a shard now instead of a day after its rotation: it takes no more entries, and says so.

    Its entries stay readable and provable for ever.
    """
    from datetime import UTC, datetime

    from hallmark.instance.ownership import check_owner, shut_out_others
    from hallmark.wiring.layout import Layout
    from hallmark.wiring.place import check_place
    from hallmark.wiring.rotation import freeze_tlog

    layout = Layout(data)
    layout.read_instance()
    check_owner(data)
    shut_out_others()
    check_place(layout)
    frozen = freeze_tlog(layout, shard, datetime.now(UTC))
    output = Output(as_json=as_json)
    output.line(f"shard {frozen.number} is frozen")
    output.finish(shard=frozen.number, frozen=True)
