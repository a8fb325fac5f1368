"""Load on a service with wrk, one thread: rate, latency, and refusals."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

POST, GET = (Path(__file__).with_name(name) for name in ("post.lua", "get.lua"))
_UNITS = {"us": 0.001, "ms": 1.0, "s": 1000.0}


class Measured(NamedTuple):
    """Requests a second, latency in milliseconds, and how many answers were not 2xx or did not come."""

    rate: float
    p50: float
    p99: float
    refused: int


def require_wrk() -> str:
    """Find wrk, or say how to get it."""
    found = shutil.which("wrk")
    if found is None:
        raise SystemExit("wrk is missing: apt-get install wrk")
    return found


def post(
    url: str,
    body: Path,
    *,
    connections: int,
    seconds: int,
    once: bool,
    content_type: str = "application/json",
) -> Measured:
    """Post a file's content (or, with `once`, each line of it once) over some connections."""
    return _run(url, POST, [str(body), "once" if once else "again", content_type], connections, seconds)


def get_any(url: str, path: str, count: int, *, connections: int, seconds: int) -> Measured:
    """Get `path` followed by a random number below `count`, over some connections."""
    return _run(url, GET, [path, str(count)], connections, seconds)


def _run(url: str, script: Path, arguments: list[str], connections: int, seconds: int) -> Measured:
    command = [require_wrk(), "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "20s", "--latency"]
    done = subprocess.run(
        [*command, "-s", str(script), url, "--", *arguments], capture_output=True, text=True, check=True
    )
    return parse(done.stdout)


def parse(output: str) -> Measured:
    """Read what wrk prints."""
    rate = float(_find(r"Requests/sec:\s+([0-9.]+)", output)[1])
    refused = sum(int(number) for number in re.findall(r"Non-2xx or 3xx responses: (\d+)", output))
    for errors in re.findall(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", output):
        refused += sum(map(int, errors))
    return Measured(rate, _latency("50%", output), _latency("99%", output), refused)


def _latency(percentile: str, output: str) -> float:
    found = _find(rf"{percentile}\s+([0-9.]+)(us|ms|s)", output)
    return float(found[1]) * _UNITS[found[2]]


def _find(pattern: str, output: str) -> re.Match[str]:
    found = re.search(pattern, output)
    if found is None:
        raise ValueError(f"wrk printed no {pattern}: {output}")
    return found
