"""The log's database alone, large against empty: what a commit and the publisher's tidying cost.

    python -m bench.head_store DIRECTORY/tlog/log.db

Works on copies. Nothing is signed, hashed or served, so that what remains is the cost of the database.
"""

import argparse
import os
import shutil
import statistics
import tempfile
import time
from pathlib import Path

from hallmark.adapters.storage.sqlite import SqliteHeadStore
from hallmark.core.merkle import EMPTY_ROOT
from hallmark.ports import LogHead, StagedCommit

BATCHES = (1, 20, 100)
ENTRY = 900  # bytes of a hashedrekord with a certificate
PASS_ENTRIES = 400  # what the publisher finds after 100 ms at 4,000 entries a second


def commit(store: SqliteHeadStore, count: int) -> float:
    """Commit as many new entries as the sequencer would; returns seconds."""
    keys = [os.urandom(32) for _ in range(count)]
    began = time.perf_counter()
    with store.transaction() as transaction:
        head = transaction.head()
        transaction.find(keys)
        end = head.size + count
        staged = StagedCommit(
            head.size, end, head.time + 1, bytes(32 * count), bytes(ENTRY * count), os.urandom(32), bytes(200)
        )
        transaction.commit(head, staged, head.edge, list(zip(keys, range(head.size, end), strict=True)))
    return time.perf_counter() - began


def measure(path: Path, entries: int) -> None:
    """Print commit and tidying times for each batch size."""
    store = SqliteHeadStore(path)
    for count in BATCHES:
        commits: list[float] = []
        passes: list[float] = []
        compacts: list[float] = []
        began = time.process_time()
        for number in range(max(entries // count, 200)):
            commits.append(commit(store, count))
            if number % max(PASS_ENTRIES // count, 1) == 0:
                start = time.perf_counter()
                store.set_applied(store.head().size, store.head().edge)
                passes.append(time.perf_counter() - start)
                start = time.perf_counter()
                store.compact()
                compacts.append(time.perf_counter() - start)
        cpu = 1e6 * (time.process_time() - began) / (len(commits) * count)
        tenths = statistics.quantiles(commits, n=100)
        print(
            f"  batch {count:>3}: commit p50 {1000 * tenths[49]:.2f} ms, p99 {1000 * tenths[98]:.2f} ms; "
            f"set_applied {1000 * statistics.median(passes):.2f} ms, "
            f"compact {1000 * statistics.median(compacts):.2f} ms (max {1000 * max(compacts):.0f}); "
            f"cpu {cpu:.0f} us an entry",
            flush=True,
        )
    store.close()


def main() -> None:
    """Run by hand."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("database", type=Path)
    parser.add_argument("--entries", type=int, default=10_000)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.database.parents[2]) as name:
        empty = Path(name) / "empty.db"
        store = SqliteHeadStore(empty, new=True)
        store.create(LogHead(0, EMPTY_ROOT, 1000, (), b"note", 0, ()))
        store.close()
        large = Path(name) / "large.db"
        shutil.copyfile(given.database, large)
        for title, path in (("empty", empty), ("large", large)):
            print(title)
            measure(path, given.entries)


if __name__ == "__main__":
    main()
