"""`hallmark log reindex`: rebuild lost or damaged runs of a dedup index from the log's entries."""

from pathlib import Path

import click

from hallmark.cli.log_options import log_option
from hallmark.cli.options import PATH, json_option
from hallmark.cli.output import Output
from hallmark.cli.progress import Progress


@click.command("reindex")
@click.option("--data", type=PATH, required=True, metavar="DIR", help="The directory of a stopped instance.")
@log_option
@json_option
def command(*, data: Path, log: str, as_json: bool) -> None:
    """Rebuild the runs of the dedup index that are missing or damaged, from the log's entries.

    The instance must not run meanwhile. Each entry is compared with the log's tree before its key is used.
    """
    from hallmark.instance.directory import locked_directory
    from hallmark.wiring.checking import log_names
    from hallmark.wiring.layout import Layout
    from hallmark.wiring.place import check_place, restoring
    from hallmark.wiring.reindexing import reindex_log

    Layout(data).read_instance()  # before the lock, which makes the directory where there is none
    made: dict[str, list[str]] = {}
    output = Output(as_json=as_json)
    with locked_directory(data) as layout:
        if not restoring(layout).exists():  # restoring it may need its index, and keeps it from starting
            check_place(layout)
        for name in log_names(layout) if log == "all" else (log,):
            progress = Progress(name, quiet=as_json)
            made[name] = list(reindex_log(layout, name, progress))
            progress.finish()
            output.line(f"{name}: {', '.join(made[name]) or 'nothing had to be done'}")
    if any(made.values()):
        output.note("`hallmark log fsck` examines the whole log")
    output.finish(logs=made)
