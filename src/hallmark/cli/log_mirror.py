"""`hallmark log mirror`: copy a log from its read side, verifying all of it."""

from pathlib import Path

import click

from hallmark.cli.log_options import key_options
from hallmark.cli.options import PATH, json_option
from hallmark.cli.output import Output
from hallmark.cli.progress import Progress
from hallmark.wiring.log_sides import read_keys
from hallmark.wiring.mirroring import mirror_log


@click.command("mirror")
@click.argument("source", metavar="URL_OR_DIR")
@click.argument("destination", type=PATH, metavar="DEST")
@key_options
@json_option
def command(
    *,
    source: str,
    destination: Path,
    log_key: Path | None,
    trusted_root: Path | None,
    origin: str | None,
    as_json: bool,
) -> None:
    """Copy the log at URL_OR_DIR to the folder DEST, or bring the copy there up to date.

    Everything is verified before it is kept. A checkpoint that is smaller than the copy's, or does not
    extend it, is refused. The copy can be served as it is by any web server.
    """
    output = Output(as_json=as_json)
    keys = read_keys(log_key, trusted_root)
    progress = Progress(source, quiet=as_json)
    done = mirror_log(source, destination, keys, origin=origin, progress=progress)
    progress.finish()
    output.line(
        f"{done.origin}: {done.size} entries, {done.size - done.old_size} of them new, "
        f"root hash {done.root.hex()}",
        good="mirrored",
    )
    output.finish(
        origin=done.origin,
        oldSize=done.old_size,
        size=done.size,
        rootHash=done.root.hex(),
        fetchedObjects=done.fetched,
        folder=str(destination),
    )
