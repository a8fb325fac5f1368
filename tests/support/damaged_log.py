"""A log whose files and rows are damaged one at a time, and examined."""

import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from hallmark.adapters.storage import key_index
from hallmark.adapters.storage.filesystem import FileObjectStore
from hallmark.adapters.storage.sqlite import SqliteHeadStore
from hallmark.adapters.storage.sqlite_audit import SqliteAudit
from hallmark.tiledlog.fsck import EntryRules, LogCheck, Report, check_mirror
from hallmark.tiledlog.records import TLOG_TILES, RecordFormat
from hallmark.wiring.entry_rules import signature_rules
from tests.support.small_log import SmallLog

PUBLISHED, ALL = 600, 620
RUN = "keys-0-530.run"


def _accept(_index: int, _record: bytes) -> None:
    pass


class Damaged:
    """A log of 600 published entries and 20 staged ones, to be damaged.

    Its dedup index has a run of the first 530 keys; the others are recent.
    """

    def __init__(self, folder: Path, log: SmallLog) -> None:
        self.folder = folder
        self.database = folder / "log.db"
        self.log = log

    def path(self, name: str) -> Path:
        return self.folder / "public" / name

    def flip(self, name: str, offset: int) -> None:
        data = bytearray(self.path(name).read_bytes())
        data[offset] ^= 1
        self.path(name).write_bytes(data)

    def sql(self, statement: str, *values) -> None:
        with sqlite3.connect(self.database) as db:
            assert db.execute(statement, values).rowcount >= 1
        db.close()

    def flip_column(self, table: str, column: str, where: str = "1") -> None:
        """Flip one bit of a column of bytes in one row."""
        with sqlite3.connect(self.database) as db:
            query = f"SELECT {column} FROM {table} WHERE {where} LIMIT 1"
            (value,) = db.execute(query).fetchone()
            changed = bytes([value[0] ^ 1]) + value[1:] if isinstance(value, bytes) else value ^ 1
            statement = f"UPDATE {table} SET {column} = ? WHERE {column} = ? AND {where}"
            assert db.execute(statement, (changed, value)).rowcount == 1
        db.close()

    def check(self, rules: EntryRules | None = None, records: RecordFormat = TLOG_TILES) -> Report:
        store = SqliteAudit(self.database)
        objects = FileObjectStore(self.folder / "public")
        rules = rules or signature_rules()
        try:
            check = LogCheck(store, objects, records, self.log.signer.verify, rules)
            return check.run(lambda _done, _total: None)
        finally:
            store.close()

    def check_objects(self, check_record: Callable[[int, bytes], None] = _accept) -> Report:
        return check_mirror(
            FileObjectStore(self.folder / "public"),
            TLOG_TILES,
            self.log.signer.verify,
            progress=lambda _done, _total: None,
            check_record=check_record,
        )

    def copy(self, folder: Path) -> "Damaged":
        """Copy the log, to be damaged there."""
        shutil.copytree(self.folder, folder, dirs_exist_ok=True)
        return Damaged(folder, self.log)


def write_log(folder: Path) -> Damaged:
    """Write the log, sound."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(key_index, "RUN_KEYS", 530)
        log = _write(folder)
    assert [path.name for path in (folder / "log.dedup").iterdir()] == [RUN]
    return Damaged(folder, log)


def found(report: Report) -> set[tuple[str, str]]:
    """What an examination found: code and place."""
    assert report.count == len(report.findings)
    return {(item.code, item.where) for item in report.findings}


def _write(folder: Path) -> SmallLog:
    store = SqliteHeadStore(folder / "log.db", new=True)
    log = SmallLog(store, FileObjectStore(folder / "public")).create()
    for start, end in ((0, 530), (530, PUBLISHED)):
        log.append(*(b"leaf %d" % index for index in range(start, end)))
        log.publisher.publish()
        store.compact()
    log.now += 1000
    for start, end in ((PUBLISHED, 610), (610, ALL)):
        log.append(*(b"leaf %d" % index for index in range(start, end)))
    store.compact()
    store.close()
    return log
