"""Fill an instance's signature log with many small entries, through the log's own commit and publication.

    python -m bench.load_log DIRECTORY --entries 10000000

The directory is a stopped instance, or a new one is made there. The entries are opaque leaves of a fixed
size, not hashedrekords: what is measured afterwards is what the size of the log costs. The database is not
synced before the end, so a power cut may cost the instance.
"""

import argparse
import hashlib
import resource
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from hallmark.adapters.storage.sqlite import SqliteHeadStore
from hallmark.instance.directory import install, is_new, locked_directory
from hallmark.tiledlog.commit import Waiting, build_commit, fixed_leaf
from hallmark.tiledlog.publisher import Publisher
from hallmark.wiring.create import create_instance
from hallmark.wiring.layout import VERSION, InstanceFile
from hallmark.wiring.shards import open_tlog

LEAF_BYTES = 200
BATCH = 16_384


class BulkStore(SqliteHeadStore):
    """The log's database without a sync for every commit."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._db.execute("PRAGMA synchronous=OFF")

    def finish(self) -> None:
        """Make everything durable."""
        self._db.execute("PRAGMA synchronous=FULL")
        self._begin_anew("TRUNCATE")
        self.close()


def leaf_of(number: int, size: int = LEAF_BYTES) -> bytes:
    """One of the leaves: different for every number, and of no use for compression."""
    seed = hashlib.sha512(b"%d" % number).digest()
    return (seed * (size // len(seed) + 1))[:size]


def waiting_entries(start: int, end: int, size: int = LEAF_BYTES) -> Iterator[Waiting]:
    """The entries [start, end) as a sequencer would hold them."""
    for number in range(start, end):
        leaf = leaf_of(number, size)
        yield Waiting(hashlib.sha256(leaf).digest(), fixed_leaf(leaf))


def create(root: Path, port: int = 8080) -> None:
    """Make a new instance in this directory, unless there is one."""
    with locked_directory(root) as layout:
        if is_new(layout):
            base_url = f"http://127.0.0.1:{port}"
            instance = InstanceFile(version=VERSION, base_url=base_url, host="127.0.0.1", port=port)
            create_instance(layout, instance, now=datetime.now(UTC))
            install(layout)


def load(root: Path, entries: int, *, leaf_bytes: int = LEAF_BYTES) -> None:
    """Append entries until the instance's signature log has that many."""
    with locked_directory(root) as layout:
        tlog, signer = open_tlog(layout, layout.read_instance())
        store = BulkStore(layout.database("tlog"))
        publisher = Publisher(store, tlog.objects(), signer, tlog.records)
        began, first = time.monotonic(), store.head().size
        while (size := store.head().size) < entries:
            now = int(time.time() * 1000)
            with store.transaction() as transaction:
                head = transaction.head()
                waiting = list(waiting_entries(size, min(size + BATCH, entries), leaf_bytes))
                known = transaction.find([entry.dedup_key for entry in waiting])
                commit = build_commit(head, waiting, known, now=now, signer=signer)
                if commit.staged is None:
                    raise SystemExit("the log has these entries already")
                transaction.commit(head, commit.staged, commit.edge, commit.keys)
            while publisher.publish():
                pass
            store.compact()  # also where one pass was enough: else no run of the dedup index is ever made
            rate = (store.head().size - first) / (time.monotonic() - began)
            print(f"{store.head().size:>12,} entries, {rate:,.0f}/s", flush=True)
        store.finish()


def main() -> None:
    """Run by hand."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--entries", type=int, default=10_000_000)
    parser.add_argument("--leaf-bytes", type=int, default=LEAF_BYTES)
    parser.add_argument("--port", type=int, default=8080)
    given = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # a pass holds a descriptor for each tile
    create(given.directory, given.port)
    load(given.directory, given.entries, leaf_bytes=given.leaf_bytes)


if __name__ == "__main__":
    main()
