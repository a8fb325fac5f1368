"""Rebuilds lost or damaged runs of a log's dedup index from the log's own entries."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from hallmark.adapters.storage.full_disk import refuse_full_disk
from hallmark.adapters.storage.key_index import runs_folder
from hallmark.adapters.storage.key_rebuild import rebuild_run
from hallmark.adapters.storage.sqlite_audit import SqliteAudit
from hallmark.errors import ConfigurationError
from hallmark.ports import StorageFailed
from hallmark.tiledlog.entry_keys import EntryKeys
from hallmark.tiledlog.fsck import Progress
from hallmark.wiring.checking import open_log
from hallmark.wiring.entry_rules import rules_of
from hallmark.wiring.layout import Layout
from hallmark.wiring.logs import OpenLog


def reindex_log(layout: Layout, name: str, progress: Progress) -> tuple[str, ...]:
    """Rebuild the runs that are missing or damaged; returns the names of their files.

    The caller holds the instance's directory: no process serves the log meanwhile. Raises `InvalidEntry`
    (`damaged_log`) where the entries that are needed are not those of the tree, and `ConfigurationError`
    (`storage_failed`, or `disk_full`) where disk or database fails; what is done by then stays.
    """
    log = open_log(layout, name)
    try:
        return _reindex(log, layout.database(name), progress)
    except (OSError, StorageFailed) as error:
        refuse_full_disk(error, layout.database(name))
        raise ConfigurationError(
            f"the dedup index of {name} cannot be rebuilt: {error}",
            code="storage_failed",
            hint="repair the disk, or free some space; `hallmark log fsck` says more",
        ) from error


def _reindex(log: OpenLog, database: Path, progress: Progress) -> tuple[str, ...]:
    objects = log.objects()
    with closing(SqliteAudit(database)) as audit:
        due = [run for run in audit.runs() if audit.run_complaint(run) is not None]
        if not due:
            return ()
        with audit.reading() as (head, staged):
            dedup_key = rules_of(log.records, objects).dedup_key
            keys = EntryKeys(head, tuple(staged), objects, log.records, dedup_key)
    done, total = 0, sum(run.count for run in due)
    for run in due:
        read = _telling(keys.read(run.start, run.end), done, total, progress)
        rebuild_run(runs_folder(database), run, read)
        done += run.count
    return tuple(run.file for run in due)


def _telling(
    keys: Iterator[tuple[bytes, int]], done: int, total: int, progress: Progress
) -> Iterator[tuple[bytes, int]]:
    for count, key in enumerate(keys, done + 1):
        progress(count, total)
        yield key
