"""`hallmark log rotate`: open the next shard of the signature log."""

from pathlib import Path

import click

from hallmark.cli.options import PATH, json_option
from hallmark.cli.output import Output


@click.command("rotate")
@click.option("--data", type=PATH, required=True, metavar="DIR", help="The instance's directory.")
@json_option
def command(data: Path, as_json: bool) -> None:
    """Open the next shard of the signature log, with a key of its own, and point clients at it.

    The instance may be running; no call fails meanwhile. The old shard goes on answering for 24 hours, for
    clients that hold older trust material, and is then frozen.
    """
    from datetime import UTC, datetime

    from hallmark.instance.ownership import check_owner, shut_out_others
    from hallmark.wiring.layout import Layout
    from hallmark.wiring.place import check_place, note_place
    from hallmark.wiring.rotation import OVERLAP, rotate_tlog, trust_locked

    layout = Layout(data)
    instance = layout.read_instance()
    check_owner(data)
    shut_out_others()
    check_place(layout)
    now = datetime.now(UTC)
    shard = rotate_tlog(layout, now)
    with trust_locked(layout):  # one of several rotations at a time
        note_place(layout)
    output = Output(as_json=as_json)
    url = f"{instance.base_url}{shard.path}"
    output.line(f"clients write to shard {shard.number} now: {url}, origin {shard.origin(instance)}")
    output.note(
        f"shard {shard.number - 1} answers until {now + OVERLAP:%Y-%m-%d %H:%M} UTC and is frozen then"
    )
    output.finish(shard=shard.number, url=url, origin=shard.origin(instance))
