"""`hallmark log restore`: bring back the logs of a copied or damaged directory before it signs again."""

from collections.abc import Callable
from pathlib import Path

import click

from hallmark.cli.options import PATH, json_option
from hallmark.cli.output import Output
from hallmark.cli.progress import Progress


@click.command("restore")
@click.option("--data", type=PATH, required=True, metavar="DIR", help="The directory of a stopped instance.")
@click.option(
    "--from",
    "places",
    multiple=True,
    metavar="PLACE",
    help="A mirror of a log or of the instance, or another copy of DIR; repeatable.",
)
@click.option(
    "--nothing-newer-exists",
    "nothing_newer",
    is_flag=True,
    help="You know that the instance has signed nothing that is not here. If it has, this forks its logs.",
)
@click.option(
    "--replace-logs", "replace", is_flag=True, help="End the logs that may lack entries, and begin others."
)
@json_option
def command(
    *, data: Path, places: tuple[str, ...], nothing_newer: bool, replace: bool, as_json: bool
) -> None:
    """Bring back what a copied or damaged DIR lacks, and let it start once nothing newer can exist elsewhere.

    Entries and files come from each PLACE, and are verified; witnesses are asked what they have seen. Until
    this has succeeded the instance does not start.
    """
    from datetime import UTC, datetime

    import msgspec

    from hallmark.instance.directory import locked_directory
    from hallmark.wiring.layout import Layout
    from hallmark.wiring.restoring import Plan, restore_instance

    Layout(data).check_exists()  # before the lock, which makes the directory where there is none
    output = Output(as_json=as_json)
    shown: list[Progress] = []

    def progress(name: str) -> Callable[[int, int], None]:
        shown.append(Progress(name, quiet=as_json))
        return shown[-1]

    with locked_directory(data) as layout:
        plan = Plan(places=places, nothing_newer=nothing_newer, replace=replace)
        done = restore_instance(layout, plan, datetime.now(UTC), progress)
    for item in shown:
        item.finish()
    for log in done:
        ended = ", ended here" if log.doubt and replace and not log.frozen else ""
        output.line(
            f"{log.name}: {log.size} entries, {log.size - log.old_size} of them brought back, "
            f"{log.fetched} files fetched{ended}"
        )
        if log.known:
            output.note(f"{log.name}: {log.doubt}")
    output.note("`hallmark log fsck` examines the whole of it; then start it with `hallmark up`")
    output.finish(logs={log.name: msgspec.to_builtins(log) for log in done})
