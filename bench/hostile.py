"""What hostile callers do to the others: each load of docs/operate/bounds.md against an instance of its own.

    python -m bench.hostile [--load NAME ...]

One worker and one connection that appends entries: its latency alone, and while the load is on. It is the
worst case; with more workers the others serve on. A load runs in a process of its own, on the same cores.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from tests.support.instance import RunningInstance
from tests.support.load import entry_request

from bench.hostile_loads import LOADS, fill_large_bundle
from bench.large_log import rss_mib

SECONDS = 12
ALONE_SECONDS = 3
ENTRIES = 40_000


class Caller(NamedTuple):
    """What an honest caller met: latencies in milliseconds, and calls that were not answered with 201."""

    latencies: list[float]
    failures: int

    def __str__(self) -> str:
        if len(self.latencies) < 2:
            return f"no answers, {self.failures} failures"
        cuts = statistics.quantiles(self.latencies, n=100, method="inclusive")
        worst = max(self.latencies)
        return f"{cuts[49]:.1f} / {cuts[98]:.1f} / {worst:.0f} ms, {self.failures} failures"


def call(base_url: str, bodies: list[bytes], seconds: float) -> Caller:
    """Append entries over one connection, one after another."""
    latencies, failures, end = [], 0, time.perf_counter() + seconds
    connection = HTTPConnection(urlsplit(base_url).netloc, timeout=30)
    while time.perf_counter() < end and bodies:
        began = time.perf_counter()
        try:
            connection.request("POST", "/api/v2/log/entries", bodies.pop())
            answer = connection.getresponse()
            answer.read()
            failures += answer.status != 201
        except (OSError, HTTPException):
            failures += 1
            connection.close()
        latencies.append(1000 * (time.perf_counter() - began))
        time.sleep(0.002)  # a caller, not a load
    connection.close()
    return Caller(latencies, failures)


def run(name: str, home: Path, bodies: list[bytes], seconds: int) -> None:
    """Measure one load."""
    grpc = ["--grpc-listen", "127.0.0.1:0"] if LOADS[name].grpc else []
    instance = RunningInstance(home / name, home, "--workers", "1", *grpc)
    try:
        if LOADS[name].large_bundle:
            fill_large_bundle(instance.base_url)
        (worker,) = instance.workers()
        alone, before = call(instance.base_url, bodies, ALONE_SECONDS), rss_mib(worker)
        command = [sys.executable, "-m", "bench.hostile_loads", name, instance.base_url]
        given = [str(instance.root), str(worker), str(seconds)]
        hostile = subprocess.Popen([*command, *given], stdout=subprocess.PIPE, text=True)
        ready = threading.Event()
        said: list[str] = []
        listening = threading.Thread(target=_listen, args=(hostile, ready, said), daemon=True)
        listening.start()
        ready.wait(60)
        under = call(instance.base_url, bodies, seconds)
        hostile.wait(120)
        listening.join(5)
        replaced = instance.workers() != [worker]
        memory = "killed" if replaced else f"{before:.0f} -> {rss_mib(worker):.0f} MiB"
        print(f"| {name} | {alone} | {under} | {memory} | {' '.join(said)} |", flush=True)
    finally:
        instance.stop()


def _listen(hostile: "subprocess.Popen[str]", ready: threading.Event, said: list[str]) -> None:
    assert hostile.stdout is not None
    for line in hostile.stdout:
        if line.startswith("begin"):
            ready.set()
        else:
            said.append(line.strip())
    ready.set()


def main() -> None:
    """Run by hand."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--load", choices=sorted(LOADS), action="append")
    parser.add_argument("--seconds", type=int, default=SECONDS)
    given = parser.parse_args()
    os.environ.setdefault("PYTHONPATH", "src")
    bodies = [entry_request() for _ in range(ENTRIES)]
    print("| load | alone: p50 / p99 / worst | under load | worker's peak memory | what the load was told |")
    print("|---|---|---|---|---|")
    with tempfile.TemporaryDirectory(prefix="hallmark-bench-") as directory:
        for name in given.load or LOADS:
            home = Path(directory) / f"home-{name}"
            home.mkdir()
            run(name, home, bodies, given.seconds)


if __name__ == "__main__":
    main()
