"""What tests say of a module that was changed before its import."""

import importlib.abc
import importlib.machinery
import importlib.util
import re
import sys
from types import ModuleType
from typing import Any

import pytest

from tests.mutation.changes import Mutant
from tests.mutation.judging import SOURCES, Touches

SECONDS_OF_JUDGES = 3.0
MOST_FILES = 12
"""Collecting costs more than running here."""


class Changed(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Import one module with a change."""

    def __init__(self, mutant: Mutant) -> None:
        self.mutant = mutant
        self.name = ".".join(mutant.path.resolve().relative_to(SOURCES.parent).with_suffix("").parts)

    def find_spec(self, name: str, *_: Any) -> importlib.machinery.ModuleSpec | None:
        if name != self.name:
            return None
        return importlib.util.spec_from_file_location(name, self.mutant.path.resolve(), loader=self)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        exec(self.mutant.compiled(), module.__dict__)


def judge(mutant: Mutant, tests: list[str]) -> int:
    sys.meta_path.insert(0, Changed(mutant))
    return int(pytest.main(["-s", "-x", "-p", "no:cacheprovider", *tests]) not in (0, 5))


def judges(mutant: Mutant, touches: Touches) -> list[str]:
    """Choose tests that touch where the changed name is used, else those that touch the module."""
    name = re.compile(rf"\b{re.escape(mutant.scope.split('.')[0])}\b")
    found: set[int] = set()
    for path in SOURCES.rglob("*.py"):
        lines = [n for n, text in enumerate(path.read_text().splitlines(), 1) if name.search(text)]
        found.update(touches.judges(path, lines))
    module = touches.lines.get(str(mutant.path.resolve()), {})
    others = set(touches.judges(mutant.path, module))
    chosen, files, spent = [], set(), 0.0
    for tests in (found, others - found):
        for test in sorted(tests & touches.seconds.keys(), key=touches.seconds.get):  # type: ignore[arg-type]
            file = touches.names[test].partition("::")[0]
            if (len(files) == MOST_FILES and file not in files) or spent > SECONDS_OF_JUDGES:
                continue
            files.add(file)
            spent += touches.seconds[test]
            chosen.append(touches.names[test])
    return chosen
