"""A wall clock that a test moves while processes run by it."""

import struct
import subprocess
from pathlib import Path

from tests.support.programs import require_program

_SOURCE = Path(__file__).with_name("stepped_clock.c")


class SteppedClock:
    """The clock of processes that are started in this environment; `step` moves it at once."""

    def __init__(self, folder: Path) -> None:
        library, self._file = folder / "stepped_clock.so", folder / "step"
        compiler = require_program("gcc", "apt-get install gcc libc6-dev")
        flags = ["-shared", "-fPIC", "-O2", "-Wall", "-Werror"]
        subprocess.run([compiler, *flags, "-o", str(library), str(_SOURCE)], check=True)
        self.step(0)
        self.environment = {"LD_PRELOAD": str(library), "CLOCK_STEP": str(self._file)}

    def step(self, seconds: int) -> None:
        """Let the clock go so many seconds ahead of the true one, or behind it."""
        with self._file.open("r+b" if self._file.exists() else "wb") as file:
            file.write(struct.pack("=q", seconds))
