"""Examines the logs of an instance, and mirrors."""

from collections.abc import Sequence
from pathlib import Path

from hallmark.adapters.storage.sqlite_audit import SqliteAudit
from hallmark.core.keys import PublicKey
from hallmark.errors import ConfigurationError, NotFound
from hallmark.tiledlog.findings import Finding
from hallmark.tiledlog.fsck import LogCheck, Progress, Report, check_mirror
from hallmark.wiring.entry_rules import rules_of
from hallmark.wiring.layout import CT_LOG, Layout
from hallmark.wiring.log_sides import identify_folder, open_folder
from hallmark.wiring.logs import OpenLog, open_ctlog
from hallmark.wiring.shards import ShardTable, open_shard


def log_names(layout: Layout) -> tuple[str, ...]:
    """Name the logs of an instance: the shards of its signature log, and the CT log."""
    return (*(shard.folder for shard in ShardTable(layout).read()), CT_LOG)


def open_log(layout: Layout, name: str) -> OpenLog:
    """Open a log of an instance by its name; raises `ConfigurationError`, also for an unknown name."""
    instance = layout.read_instance()
    if name == CT_LOG:
        return open_ctlog(layout, instance)[0]
    for shard in ShardTable(layout).read():
        if shard.folder == name:
            return open_shard(layout, instance, shard)[0]
    raise ConfigurationError(
        f"the instance in {layout.root} has no log {name!r}",
        code="unknown_log",
        hint=f"its logs are {', '.join(log_names(layout))}",
    )


def check_log(layout: Layout, name: str, progress: Progress) -> Report:
    """Examine a log of an instance, which may be running; nothing is written."""
    log = open_log(layout, name)
    objects = log.objects()
    store = SqliteAudit(layout.database(name))
    try:
        check = LogCheck(store, objects, log.records, log.signer.verify, rules_of(log.records, objects))
        return check.run(progress)
    except NotFound as error:
        finding = Finding(code="no_log", where=str(layout.database(name)), what=error.message)
        return Report(origin=log.signer.origin, size=0, root=b"", findings=(finding,), count=1)
    finally:
        store.close()


def check_folder(
    folder: Path, keys: Sequence[PublicKey], *, origin: str | None, progress: Progress
) -> Report:
    """Examine a mirror, or any folder with a log's read side."""
    identity = identify_folder(folder, keys, origin=origin)
    objects = open_folder(folder)
    return check_mirror(
        objects,
        identity.records,
        identity.verify,
        progress=progress,
        check_record=rules_of(identity.records, objects).check,
    )
