"""`hallmark log mirror`: copy a log, or all logs of an instance, from the read side, verifying all of it."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import click

from hallmark.cli.clock import explain_clock
from hallmark.cli.log_options import key_options
from hallmark.cli.options import PATH, json_option
from hallmark.cli.output import Output
from hallmark.cli.progress import Progress
from hallmark.client.contexts import load_contexts
from hallmark.errors import ConfigurationError, HallmarkError, RemoteError, TrustError
from hallmark.wiring.instance_mirror import InstanceSource, find_instance_source, mirror_instance
from hallmark.wiring.log_sides import MIRROR_FILE, read_keys
from hallmark.wiring.mirroring import Mirrored, mirror_log

_WEB: Final = ("http://", "https://")


@click.command("mirror")
@click.argument("source", metavar="SOURCE")
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
    """Copy what is at SOURCE to the folder DEST, or bring the copy there up to date.

    SOURCE is a log's URL or folder, whose key must be known; or an instance, by its directory or the name or
    URL of a context: then all its logs are copied, each to a folder of its own, and new shards are found by
    the trusted root. Everything is verified before it is kept, and each run verifies or repairs a part of
    what is there. A checkpoint that is smaller than the copy's, or does not extend it, is refused. The copy
    can be served as it is by any web server.
    """
    output = Output(as_json=as_json)
    whole = log_key is None and trusted_root is None and origin is None
    try:
        instance = find_instance_source(source, destination, datetime.now(UTC)) if whole else None
        if instance is not None:
            _mirror_all(instance, destination, output)
            return
        _check_source(source)
        keys = read_keys(log_key, trusted_root)
        progress = Progress(source, quiet=as_json)
        done = mirror_log(source, destination, keys, origin=origin, progress=progress)
    except (RemoteError, TrustError) as error:
        raise explain_clock(error, _url_of(source)) from None
    progress.finish()
    _tell(output, "", done)
    if done.update.frozen:
        output.note("this log is frozen; to follow the shards after it, mirror the instance")
    output.finish(**_to_json(done), folder=str(destination))


def _url_of(source: str) -> str:
    """Where a clock can be asked for; "" for a folder."""
    context = load_contexts().find(source)
    if context is not None:
        return context.url
    return source if source.startswith(_WEB) else ""


def _check_source(source: str) -> None:
    if not source.startswith(_WEB) and not Path(source).exists():
        raise ConfigurationError(
            f"{source} is neither a folder nor the name of a context",
            code="not_a_log",
            hint="name a log's URL or folder, an instance's directory, or a context: "
            "hallmark context list shows them",
        )


def _mirror_all(instance: InstanceSource, destination: Path, output: Output) -> None:
    shown: list[Progress] = []

    def progress_of(name: str) -> Progress:
        shown.append(Progress(name, quiet=output.as_json))
        return shown[-1]

    done = mirror_instance(instance, destination, datetime.now(UTC), progress_of)
    for progress in shown:
        progress.finish()
    for name, mirrored in done.logs.items():
        _tell(output, f"{name}: ", mirrored)
    for name in done.ended:
        kept = (destination / name / MIRROR_FILE).is_file()
        what = "what is there stays" if kept else "nothing of it was mirrored before, and now nothing can be"
        output.note(f"{name} has ended and is not served any more; {what}")
    for name, error in done.failed.items():
        output.note(f"{name}: {error.message}")
    if done.failed:
        raise _gravest(list(done.failed.values()))
    logs = {name: _to_json(mirrored) for name, mirrored in done.logs.items()}
    output.finish(logs=logs, ended=list(done.ended), folder=str(destination))


def _gravest(errors: list[HallmarkError]) -> HallmarkError:
    """A log that lies is graver than a network that fails."""
    return next((error for error in errors if not isinstance(error, RemoteError)), errors[0])


def _tell(output: Output, prefix: str, done: Mirrored) -> None:
    new = done.update
    repaired = f", {done.repair.fetched} files repaired" if done.repair.fetched else ""
    output.line(
        f"{prefix}{new.origin}: {new.size} entries, {new.size - new.old_size} of them new, "
        f"root hash {new.root.hex()}{repaired}",
        good="mirrored",
    )


def _to_json(done: Mirrored) -> dict[str, Any]:
    new = done.update
    return {
        "origin": new.origin,
        "oldSize": new.old_size,
        "size": new.size,
        "rootHash": new.root.hex(),
        "frozen": new.frozen,
        "fetchedObjects": new.fetched,
        "verifiedBundles": done.repair.verified,
        "repairedObjects": done.repair.fetched,
    }
