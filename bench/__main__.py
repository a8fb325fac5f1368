"""Measure a whole instance on this machine, and print the table: `make bench`.

The load generator runs on the same cores as what it loads. Every figure comes from this one run.
"""

import argparse
import platform
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from tests.support.instance import HALLMARK, RunningInstance

from bench.client_speed import BASELINE, median_ms, warm_verifications
from bench.entry_bodies import certificate_request, write_entries
from bench.load import post
from hallmark.core.timestamp import build_request

EMAIL = "bench@example.com"
CONNECTIONS = (1, 16, 64, 256)
ROW = "| {:<58} | {:>24} | {:>22} |"


def main() -> None:
    options = argparse.ArgumentParser(prog="python -m bench")
    options.add_argument("--seconds", type=int, default=5, help="how long each load lasts")
    options.add_argument("--workers", type=int, default=2)
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="hallmark-bench-") as name:
        Bench(Path(name), chosen.seconds, chosen.workers).run()


class Bench:
    def __init__(self, folder: Path, seconds: int, workers: int) -> None:
        self.folder = folder
        self.seconds = seconds
        self.workers = workers

    def run(self) -> None:
        print(f"Machine: {machine()}; --workers {self.workers}; loads of {self.seconds} s\n")
        print(ROW.format("what", "measured", "to reach"))
        print("|---|---|---|")
        self.start_to_ready()
        instance = self.start("instance")
        try:
            time.sleep(2)
            self.row(
                "idle instance, memory (PSS, whole tree)", f"{memory_mib(instance):.0f} MiB", "below 200 MB"
            )
            self.client(instance)
            self.entries(instance)
            self.certificates(instance)
            self.timestamps(instance)
            self.row("loaded instance, memory (PSS, whole tree)", f"{memory_mib(instance):.0f} MiB", "")
        finally:
            instance.stop()

    def row(self, what: str, measured: str, target: str) -> None:
        print(ROW.format(what, measured, target), flush=True)

    def start(self, name: str) -> RunningInstance:
        return RunningInstance(self.folder / name, self.folder, "--workers", str(self.workers))

    def start_to_ready(self) -> None:
        times = []
        for number in range(5):
            begin = time.perf_counter()
            instance = self.start(f"start{number}")
            times.append(time.perf_counter() - begin)
            instance.stop()
        self.row("empty directory to ready, median of 5", f"{statistics.median(times):.2f} s", "at most 2 s")

    def client(self, instance: RunningInstance) -> None:
        artifact = self.folder / "artifact"
        artifact.write_bytes(b"x" * 10_000)
        token = self.folder / "token"
        token.write_text(instance.token(EMAIL))
        bundle, root = self.folder / "artifact.sigstore.json", instance.client / "trusted_root.json"
        issuer = f"{instance.base_url}/oidc"
        url = instance.base_url
        sign = [*HALLMARK, "sign", "--instance", url, "--identity-token", str(token), "--overwrite"]
        verify = [*HALLMARK, "verify", str(artifact), "--identity", EMAIL, "--issuer", issuer]
        baseline = median_ms(BASELINE, self.folder, runs=15)
        signing = median_ms([*sign, str(artifact)], self.folder, runs=10)
        verifying = median_ms([*verify, "--trusted-root", str(root)], self.folder, runs=15)
        self.row("python -c 'import cryptography.x509, msgspec'", f"{baseline:.0f} ms", "")
        self.row("sign, whole process, cold", f"{signing:.0f} ms", "")
        self.row("verify, whole process, cold", f"{verifying:.0f} ms", f"at most {baseline + 80:.0f} ms")
        rate = warm_verifications(artifact, bundle, root, EMAIL, issuer)
        self.row("verify, in process, warm, one core", f"{rate:.0f} bundles/s", "600")

    def entries(self, instance: RunningInstance) -> None:
        url = f"{instance.base_url}/api/v2/log/entries"
        bodies = self.folder / "entries"
        targets = {1: "p50 below 2 ms, p99 10 ms", 64: "4000", 256: "4000"}
        for connections in CONNECTIONS:
            write_entries(bodies, self.seconds * (2_000 if connections == 1 else 14_000))
            found = post(url, bodies, connections=connections, seconds=self.seconds, once=True)
            measured = f"{found.rate:.0f}/s, {found.p50:.1f}/{found.p99:.1f} ms{refusals(found.refused)}"
            what = f"log entries, {connections} connections: rate, p50/p99"
            self.row(what, measured, targets.get(connections, ""))

    def certificates(self, instance: RunningInstance) -> None:
        body = self.folder / "certificate"
        body.write_bytes(certificate_request(instance.token(EMAIL), EMAIL))
        url = f"{instance.base_url}/api/v2/signingCert"
        found = post(url, body, connections=64, seconds=self.seconds, once=False)
        self.row("certificates, 64 connections", f"{found.rate:.0f}/s{refusals(found.refused)}", "600")

    def timestamps(self, instance: RunningInstance) -> None:
        body = self.folder / "timestamp"
        body.write_bytes(build_request(b"d" * 32, nonce=1))
        url = f"{instance.base_url}/api/v1/timestamp"
        query = "application/timestamp-query"
        found = post(url, body, connections=64, seconds=self.seconds, once=False, content_type=query)
        self.row("timestamps, 64 connections", f"{found.rate:.0f}/s{refusals(found.refused)}", "2000")


def refusals(count: int) -> str:
    return f" ({count} REFUSED)" if count else ""


def memory_mib(instance: RunningInstance) -> float:
    """Proportional memory of the parent and its workers."""
    total = 0
    for process in (instance.process.pid, *instance.workers()):
        rollup = Path(f"/proc/{process}/smaps_rollup").read_text()
        total += next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:"))
    return total / 1024


def machine() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line for line in lines if line.startswith("model name")]
    model = names[0].partition(":")[2].strip() if names else platform.processor()
    revision = subprocess.run(
        ["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False
    ).stdout.strip()
    versions = f"Linux {platform.release()}, CPython {platform.python_version()}, tree {revision}"
    return f"{len(names)} x {model}, {versions}"


if __name__ == "__main__":
    main()
