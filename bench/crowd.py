"""Ten thousand clients at once on a whole instance: what a worker's memory grows to, and what they are told.

    python -m bench.crowd

Every client keeps a connection of its own and posts entries as fast as it is answered. Its latency is that of
a crowd on two cores, not of the log.
"""

import argparse
import os
import resource
import tempfile
from pathlib import Path

from tests.support.instance import RunningInstance

from bench.entry_bodies import write_entries
from bench.large_log import rss_mib
from bench.load import post

ENTRIES = 100_000


def main() -> None:
    """Run by hand."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--clients", type=int, default=10_000)
    parser.add_argument("--seconds", type=int, default=15)
    given = parser.parse_args()
    os.environ.setdefault("PYTHONPATH", "src")
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with tempfile.TemporaryDirectory(prefix="hallmark-bench-") as name:
        home = Path(name)
        write_entries(home / "bodies", ENTRIES)
        instance = RunningInstance(home / "crowd", home, "--workers", "2")
        try:
            url = f"{instance.base_url}/api/v2/log/entries"
            before = max(rss_mib(process) for process in instance.workers())
            found = post(url, home / "bodies", connections=given.clients, seconds=given.seconds, once=True)
            print(f"{given.clients:,} clients: {found}")
            after = max(rss_mib(process) for process in instance.workers())
            print(f"largest worker: {before:.0f} MiB before, {after:.0f} MiB (peak)")
        finally:
            instance.stop()


if __name__ == "__main__":
    main()
