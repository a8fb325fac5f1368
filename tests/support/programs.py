"""Programs that tests need beyond Python. A test without its program says what to install; in CI it fails."""

import os
import shutil
from pathlib import Path

import pytest

TOOLS = Path(__file__).parents[2] / ".tools" / "usr" / "bin"


def require_program(name: str, install: str) -> str:
    """Find a program on PATH or among the unpacked tools; `install` says how to get it."""
    path = shutil.which(name) or shutil.which(name, path=str(TOOLS))
    if path is not None:
        return path
    message = f"{name} is missing: {install}"
    if os.environ.get("CI"):
        pytest.fail(message)
    pytest.skip(message)
