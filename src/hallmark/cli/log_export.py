"""`hallmark log export`: the entries of a log as a Parquet table."""

from pathlib import Path

import click

from hallmark.cli.log_options import check_place_exists, key_options
from hallmark.cli.options import PATH, json_option
from hallmark.cli.output import Output
from hallmark.cli.progress import Progress
from hallmark.client.files import file_error, refuse_existing
from hallmark.wiring.log_sides import read_keys


@click.command("export")
@click.argument("place", type=PATH, metavar="DIR_OR_MIRROR")
@click.option("--output", type=PATH, required=True, metavar="FILE", help="The Parquet file to write.")
@click.option("--overwrite", is_flag=True, help="Replace the file if there is one.")
@click.option(
    "--log",
    default="tlog",
    metavar="NAME",
    help="Which log of an instance: ctlog, shards/N, or tlog for all shards, the default.",
)
@key_options
@json_option
def command(
    *,
    place: Path,
    output: Path,
    overwrite: bool,
    log: str,
    log_key: Path | None,
    trusted_root: Path | None,
    origin: str | None,
    as_json: bool,
) -> None:
    """Write one row for each published entry of an instance's logs, or of a mirror.

    The log is verified on the way; where it does not hold, nothing is written.
    """
    from hallmark.wiring.exporting import export_log

    printed = Output(as_json=as_json)
    check_place_exists(place)
    refuse_existing(output, overwrite=overwrite)
    progress = Progress(str(place), quiet=as_json)
    keys = read_keys(log_key, trusted_root)
    try:
        done = export_log(place, log, output, keys, origin=origin, progress=progress)
    except OSError as error:
        if error.filename != str(output):
            raise
        raise file_error(error, output, doing="write") from None
    progress.finish()
    for stated in done.logs:
        printed.line(f"{output}: {stated.size} entries of {stated.origin}", good="exported")
    logs = [
        {"origin": stated.origin, "size": stated.size, "rootHash": stated.root.hex()} for stated in done.logs
    ]
    first = logs[0] if len(logs) == 1 else {}
    printed.finish(**{**first, "size": done.size}, logs=logs, file=str(output))
