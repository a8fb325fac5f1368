"""Power that fails at any system call of a log on SQLite and files: nothing answered is lost, nothing forks.

HALLMARK_POWER_POINTS says how many points are tried, `all` for every one; continuous integration takes some.
"""

import hashlib
import json
import os
import random
import shutil
import sys
from pathlib import Path

import pytest
from tests.support.disk_trace import Call, Disk, Fate, record
from tests.support.instance import isolated_environment
from tests.support.traced_log import open_log

from hallmark.adapters.storage.sqlite_audit import SqliteAudit
from hallmark.core.checkpoint import Checkpoint
from hallmark.errors import Frozen
from hallmark.tiledlog.fsck import LogCheck
from hallmark.tiledlog.records import TLOG_TILES
from hallmark.wiring.entry_rules import signature_rules

POINTS = os.environ.get("HALLMARK_POWER_POINTS", "120")
SEED = os.environ.get("HALLMARK_POWER_SEED", "a storm")


class Life:
    """What a log did from its creation to its end, call by call."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.origin = folder / "log"
        self.origin.mkdir(parents=True)
        created = open_log(self.origin, new=True).create()
        created.publisher.recover()
        created.store.close()
        shutil.copytree(self.origin, folder / "before")
        self.answers = folder / "answers"
        root = Path(__file__).parents[2]
        environment = isolated_environment(folder) | {"PYTHONPATH": f"{root}/src:{root}"}
        command = [
            sys.executable,
            "-m",
            "tests.support.traced_log",
            str(self.origin),
            str(self.answers),
            SEED,
        ]
        self.calls = record(command, folder, environment=environment)

    def disk(self) -> Disk:
        """The disk before the first call."""
        shutil.rmtree(self.origin)
        shutil.copytree(self.folder / "before", self.origin)
        return Disk(self.origin)

    def answers_of(self, call: Call) -> list[dict]:
        """The answers that a call gave, if it gave any."""
        given = call.strings[0] if call.name == "write" and call.strings else b""
        return [json.loads(line) for line in given.splitlines()] if given.startswith(b'{"index"') else []


@pytest.fixture(scope="module")
def life(tmp_path_factory):
    return Life(tmp_path_factory.mktemp("life"))


def points(count: int, chance: random.Random) -> set[int]:
    return set(range(count)) if POINTS == "all" else set(chance.sample(range(count), min(int(POINTS), count)))


def test_power_that_fails_at_any_call_takes_no_answer_and_needs_no_hand(life, tmp_path):
    chance = random.Random(SEED)
    chosen = points(len(life.calls), chance)
    disk, answers, tried = life.disk(), [], 0
    for number, call in enumerate(life.calls):
        disk.replay(call)
        answers += life.answers_of(call)
        if number in chosen:
            for fate in Fate:
                image = tmp_path / f"{number}-{fate.value}"
                disk.write_image(image, fate, chance)
                check_image(image, answers)
                shutil.rmtree(image)
                tried += 1
    print(f"{tried} images of {len(life.calls)} calls, {len(answers)} answers")
    assert len(answers) == 528
    assert tried == 3 * len(chosen)


def check_image(image: Path, answers: list[dict]) -> None:
    """Start from what the power left: all answers hold, one tree extends every other, and the log goes on."""
    log = open_log(image)
    try:
        log.publisher.recover()
        log.store.compact()
        head = log.store.head()
        leaves = [TLOG_TILES.entry(log.reader.record(index)) for index in range(head.size)]
        for answer in answers:
            assert leaves[answer["index"]] == answer["leaf"].encode()
        for size, root in {(answer["size"], answer["root"]) for answer in answers}:
            assert log.reader.root(size).hex() == root
        keys = [hashlib.sha256(leaf).digest() for leaf in leaves]
        with log.store.transaction() as transaction:
            found = transaction.find(keys)
        assert [found[key].index for key in keys] == list(range(head.size))
        published = log.signer.verify(log.objects.get("checkpoint"))
        assert isinstance(published, Checkpoint)
        assert published.size == head.size
        if not head.frozen:
            leaves += check_that_it_goes_on(log, leaves)
        log.check(leaves)
        log.check(leaves, read=log.published_tile)
        assert strays(image) == []
    finally:
        log.store.close()
    assert findings(image, log) == ()


def findings(image: Path, log) -> tuple:
    """What an examination of the image finds wrong."""
    audit = SqliteAudit(image / "log.db")
    try:
        check = LogCheck(audit, log.objects, TLOG_TILES, log.signer.verify, signature_rules())
        return check.run(lambda _done, _total: None).findings
    finally:
        audit.close()


def check_that_it_goes_on(log, leaves: list[bytes]) -> list[bytes]:
    """Append what is there already and something new, and publish it; returns what was new."""
    again = log.append(*leaves[-2:], b"new after the storm")
    assert [answer.duplicate for answer in again] == [True] * len(leaves[-2:]) + [False]
    assert again[-1].index == len(leaves)
    log.publisher.recover()
    return [b"new after the storm"]


def strays(image: Path) -> list[Path]:
    """Half-written files that were left beside those that are named."""
    unfinished = (image / "public" / ".unfinished").glob("*")
    return [*unfinished, *(path for path in image.rglob(".*") if path.is_file())]


@pytest.mark.parametrize("lie", ["the commit", "the tiles"])
def test_a_sync_that_did_not_happen_is_noticed(life, tmp_path, lie):
    """The test above can fail: a log that leaves one kind of sync out loses answers in some image."""
    name = {"the commit": "log.db-wal", "the tiles": "public"}[lie]
    disk, answers = life.disk(), []
    chance = random.Random(SEED)
    lost = False
    opened: dict[int, bytes] = {}
    for number, call in enumerate(life.calls):
        if call.name == "openat":
            opened[call.result] = call.strings[0]
        unheard = call.name in {"fsync", "fdatasync"} and name.encode() in opened.get(
            int(call.arguments[0]), b""
        )
        if not unheard:
            disk.replay(call)
        answers += life.answers_of(call)
        if answers and number % 40 == 0 and not lost:
            image = tmp_path / f"{number}"
            disk.write_image(image, Fate.LOST, chance)
            try:
                check_image(image, answers)
            except Exception:  # noqa: BLE001  whatever shows it
                lost = True
    assert lost


def test_a_frozen_log_stays_frozen(life, tmp_path):
    disk = life.disk()
    for call in life.calls:
        disk.replay(call)
    disk.write_image(tmp_path / "image", Fate.LOST, random.Random(SEED))
    log = open_log(tmp_path / "image")
    log.publisher.recover()
    (refused,) = log.append(b"late")
    assert isinstance(refused, Frozen)
    assert log.signer.verify(log.objects.get("checkpoint")).extensions[0].startswith("Log frozen")
    log.store.close()
