"""How fast the client is: whole processes, cold; and the verifier in process, warm."""

import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

BASELINE = [sys.executable, "-c", "import cryptography.x509, msgspec"]


def environment(home: Path) -> dict[str, str]:
    """An environment with byte-code caching as a user has it, and a home of its own."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**kept, "HOME": str(home)}


def median_ms(command: list[str], home: Path, *, runs: int) -> float:
    """Median wall time of whole processes, in milliseconds, after one run that is not counted."""
    times = []
    for _ in range(runs + 1):
        start = time.perf_counter()
        subprocess.run(command, env=environment(home), check=True, capture_output=True)
        times.append(time.perf_counter() - start)
    return statistics.median(times[1:]) * 1000


def warm_verifications(artifact: Path, bundle: Path, trusted_root: Path, email: str, issuer: str) -> float:
    """Bundles a second on one core, JSON included; median of five runs."""
    from hallmark import Artifact, Identity, Verifier
    from hallmark.core.bundle import parse_bundle
    from hallmark.core.trusted_root import parse_trusted_root
    from hallmark.verify.verifier import required_hash

    verifier = Verifier(parse_trusted_root(trusted_root.read_bytes()))
    policy = Identity(identity=email, oidc_issuer=issuer)
    data, content = bundle.read_bytes(), artifact.read_bytes()

    def run(count: int) -> float:
        start = time.perf_counter()
        for _ in range(count):
            parsed = parse_bundle(data)
            verifier.verify(parsed, Artifact.from_bytes(content, required_hash(parsed)), policy)
        return count / (time.perf_counter() - start)

    run(100)
    return statistics.median(run(500) for _ in range(5))
