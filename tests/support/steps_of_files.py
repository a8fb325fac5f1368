"""What a module of ours does to files, seen as it does it."""

import os
from pathlib import Path
from types import ModuleType

import pytest


def syncs_of(module: ModuleType, path: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, bool]]:
    """Note each sync from now on: the size of the file that is synced, and whether `path` is there yet."""
    steps: list[tuple[int, bool]] = []

    class Watched:
        def __getattr__(self, name: str):
            return getattr(os, name)

        def fsync(self, descriptor: int) -> None:
            os.fsync(descriptor)
            steps.append((os.fstat(descriptor).st_size, path.exists()))

    monkeypatch.setattr(module, "os", Watched())
    return steps
