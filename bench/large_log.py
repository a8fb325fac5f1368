"""What a large log costs over an empty one: disk, restart, memory, rate and latency.

    python -m bench.load_log DIRECTORY --entries 10000000
    python -m bench.large_log DIRECTORY

The load appends to the large log, so its size grows a little with every run. Large and empty instance are
measured in turn, three times, because this machine's speed moves between runs.
"""

import argparse
import os
import sqlite3
import statistics
import tempfile
import time
from pathlib import Path

from tests.support.instance import RunningInstance

from bench.entry_bodies import write_entries
from bench.load import Measured, get_any, post

CONNECTIONS = (1, 64, 256)
READERS = 64
PER_SECOND = {1: 2_000, 64: 9_000, 256: 9_000}
ROUNDS = 3


def disk_bytes(folder: Path) -> int:
    """What the files below a folder take on disk, folders included."""
    paths = [folder, *folder.rglob("*")]
    return sum(path.lstat().st_blocks * 512 for path in paths)


def entry_bytes(public: Path) -> int:
    """What the entry bundles hold, lengths and framing included."""
    return sum(path.stat().st_size for path in (public / "tile" / "entries").rglob("*") if path.is_file())


def log_size(database: Path) -> int:
    """How many entries a log has."""
    connection = sqlite3.connect(database)
    size: int = connection.execute("SELECT size FROM head").fetchone()[0]
    connection.close()
    return size


def print_disk(root: Path) -> None:
    """Print what each entry takes beyond itself."""
    log = root / "tlog"
    size = log_size(log / "log.db")
    total, entries = disk_bytes(log), entry_bytes(log / "public") - 2 * size
    database = disk_bytes(log) - disk_bytes(log / "public")
    print(f"{size:,} entries of {entries / size:.0f} bytes on average")
    over = (total - entries) / size
    print(f"disk over the entry: {over:.1f} bytes, {database / size:.1f} of them in the database")


def rss_mib(process: int) -> float:
    """The highest resident memory of a process so far."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 1024


def cpu_seconds(instance: RunningInstance) -> float:
    """Processor time of the parent and its workers so far: what a busy machine does not distort."""
    ticks = 0
    for process in (instance.process.pid, *instance.workers()):
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(") ")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def load(instance: RunningInstance, bodies: Path, connections: int, seconds: int) -> Measured:
    """Append entries that no log has seen."""
    write_entries(bodies, seconds * PER_SECOND[connections])
    url = f"{instance.base_url}/api/v2/log/entries"
    return post(url, bodies, connections=connections, seconds=seconds, once=True)


def read(instance: RunningInstance, seconds: int) -> Measured:
    """Read entries of the whole log at random, each with its proof."""
    size = log_size(instance.root / "tlog" / "log.db")
    return get_any(instance.base_url, "/api/v2/log/entries/", size, connections=READERS, seconds=seconds)


def measure(root: Path, home: Path, *, listen: str | None, seconds: int, workers: int) -> dict[str, Measured]:
    """Start the instance, load it with each number of connections, read from it, and stop it."""
    began = time.perf_counter()
    instance = RunningInstance(root, home, "--workers", str(workers), listen=listen)
    ready = time.perf_counter() - began
    try:
        found = {}
        for count in CONNECTIONS:
            before = cpu_seconds(instance)
            loaded = found[f"{count:>3} connections"] = load(instance, home / "bodies", count, seconds)
            each = 1e6 * (cpu_seconds(instance) - before) / (loaded.rate * seconds)
            print(f"  {count:>3} connections: {loaded}, cpu {each:.0f} us an entry", flush=True)
        found["reads of entries"] = read(instance, seconds)
        print(f"  reads of entries: {found['reads of entries']}", flush=True)
        memory = max(rss_mib(process) for process in instance.workers())
        print(f"  ready after {ready:.2f} s; largest worker {memory:.0f} MiB (peak)", flush=True)
        return found
    finally:
        instance.stop()


def compare(root: Path, *, seconds: int, workers: int) -> None:
    """Measure the large log and an empty one in turn, and print the ratios of their medians."""
    large: list[dict[str, Measured]] = []
    empty: list[dict[str, Measured]] = []
    with tempfile.TemporaryDirectory(prefix="hallmark-bench-", dir=root.parent) as name:
        home = Path(name)
        for turn in range(ROUNDS):
            print(f"large, round {turn + 1}")
            large.append(measure(root, home, listen=None, seconds=seconds, workers=workers))
            print(f"empty, round {turn + 1}")
            new = home / f"empty{turn}"
            empty.append(measure(new, home, listen="127.0.0.1:0", seconds=seconds, workers=workers))
    for what in large[0]:
        rates = [statistics.median(item[what].rate for item in side) for side in (empty, large)]
        p50 = [statistics.median(item[what].p50 for item in side) for side in (empty, large)]
        p99 = [statistics.median(item[what].p99 for item in side) for side in (empty, large)]
        print(
            f"{what}, empty / large: {rates[0]:.0f} / {rates[1]:.0f} a second, "
            f"p50 {p50[0]:.2f} / {p50[1]:.2f} ms, p99 {p99[0]:.2f} / {p99[1]:.2f} ms; "
            f"rate {rates[0] / rates[1]:.2f}, p50 {p50[1] / p50[0]:.2f}"
        )


def main() -> None:
    """Run by hand."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_args()
    os.environ.setdefault("PYTHONPATH", "src")
    print_disk(given.directory)
    compare(given.directory, seconds=given.seconds, workers=given.workers)


if __name__ == "__main__":
    main()
