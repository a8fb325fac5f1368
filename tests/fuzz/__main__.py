"""Fuzz one parser of the log, or all of them in turn: `python -m tests.fuzz [TARGET] [SECONDS]`.

With atheris installed it drives the search; otherwise seeds are changed at random. What breaks a target is
written to `crash-TARGET`.
"""

import os
import random
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path

from tests.fuzz.mutations import mutated
from tests.fuzz.targets import TARGETS


def main(arguments: list[str]) -> int:
    """Fuzz; returns 1 where a target broke."""
    names = [name for name in arguments if name in TARGETS] or list(TARGETS)
    seconds = next((float(item) for item in arguments if item.replace(".", "", 1).isdigit()), 10.0)
    if find_spec("atheris") is not None:
        return max(_with_atheris(name, seconds) for name in names)
    return max(_at_random(name, seconds) for name in names)


def _with_atheris(name: str, seconds: float) -> int:
    """Run atheris in a process of its own: it ends the one that it runs in."""
    child = os.fork()
    if child == 0:
        import atheris

        atheris.instrument_all()
        corpus = _write_seeds(name)
        options = [f"-max_total_time={seconds:g}", f"-artifact_prefix=crash-{name}-", "-max_len=8192"]
        atheris.Setup([sys.argv[0], *options, corpus], TARGETS[name].run)
        atheris.Fuzz()
        os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status) and 1


def _write_seeds(name: str) -> str:
    folder = tempfile.mkdtemp(prefix=f"fuzz-{name}-")
    for number, seed in enumerate(TARGETS[name].seeds):
        (Path(folder) / str(number)).write_bytes(seed)
    return folder


def _at_random(name: str, seconds: float) -> int:
    chance, target = random.Random(), TARGETS[name]
    end, count = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        data = mutated(chance.choice(target.seeds), chance)
        count += 1
        try:
            target.run(data)
        except Exception:
            Path(f"crash-{name}").write_bytes(data)
            print(f"{name}: broken by crash-{name}")
            raise
    print(f"{name}: {count} inputs")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
