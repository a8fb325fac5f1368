"""Programs that tests need beyond Python. A test without its program says what to install; in CI it fails."""

import os
import shutil
from pathlib import Path
from typing import NoReturn

import pytest

TOOLS = Path(__file__).parents[2] / ".tools" / "usr" / "bin"


def require_program(name: str, install: str) -> str:
    """Find a program on PATH or among the unpacked tools; `install` says how to get it."""
    path = shutil.which(name) or shutil.which(name, path=str(TOOLS))
    return path or give_up(f"{name} is missing: {install}")


def give_up(message: str) -> NoReturn:
    """Skip the test that cannot run here; in continuous integration, fail it."""
    if os.environ.get("CI"):
        pytest.fail(message)
    pytest.skip(message)
