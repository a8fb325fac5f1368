"""A process that works on a log in a folder and writes down each answer: what `test_power_loss` cuts.

    python -m tests.support.traced_log FOLDER ANSWERS SEED

Runs of the dedup index and the write-ahead log are kept small, so that a short life goes through all of it.
"""

import hashlib
import json
import os
import random
import sys
from datetime import UTC, datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ed25519

from hallmark.adapters.storage import key_index
from hallmark.adapters.storage import sqlite as sqlite_store
from hallmark.adapters.storage.filesystem import FileObjectStore
from hallmark.adapters.storage.sqlite import SqliteHeadStore
from hallmark.tiledlog.log import freeze_log
from tests.support.small_log import SmallLog

KEY = ed25519.Ed25519PrivateKey.from_private_bytes(hashlib.sha256(b"traced log").digest())
BATCHES = (1, 3, 120, 1, 60, 70, 1, 2, 5, 130, 1, 40, 90, 2, 1, 1)  # over the borders of tiles and runs


def keep_everything_small() -> None:
    """Make small runs and merge them in small steps; begin the write-ahead log anew at every pass."""
    key_index.RUN_KEYS = 64
    key_index._MERGE_RECORDS = 50
    key_index._MERGES_PER_KEY = 1
    sqlite_store._COMPACT_SECONDS = 0.0
    sqlite_store._RESTART_PAGES = 1
    sqlite_store._TRUNCATE_BYTES = 40_000


def open_log(folder: Path, *, new: bool = False) -> SmallLog:
    """Open the log of a folder."""
    store = SqliteHeadStore(folder / "log.db", new=new)
    return SmallLog(store, FileObjectStore(folder / "public"), key=KEY)


def main(folder: Path, answers: Path, seed: str) -> None:
    """Append, publish and tidy up; begin anew half-way, and freeze the log at the end."""
    keep_everything_small()
    chance = random.Random(seed)
    told = os.open(answers, os.O_WRONLY | os.O_CREAT, 0o600)
    log = open_log(folder)
    number = 0
    for turn, count in enumerate(BATCHES):
        leaves = [b"leaf %d" % leaf for leaf in range(number, number + count)]
        number += count
        for answer in log.append(*leaves):
            os.write(told, (json.dumps(_printable(answer)) + "\n").encode())
        if chance.random() < 0.7:
            log.publisher.publish()
        log.store.compact()
        if turn == len(BATCHES) // 2:
            log.store.close()
            log = open_log(folder)
            log.publisher.recover()
    freeze_log(log.store, log.signer, datetime(2026, 1, 2, tzinfo=UTC))
    log.publisher.recover()
    log.store.close()


def _printable(answer) -> dict[str, object]:
    return {
        "index": answer.index,
        "leaf": answer.leaf.decode(),
        "size": answer.tree_size,
        "root": answer.root.hex(),
    }


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
