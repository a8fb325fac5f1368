"""Layers, sizes and words: what holds for every file."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from tests.support.repository_files import ROOT, python_files, relative, repository_files, source_files

MAX_FUNCTION_LINES = 60
MAX_FILE_LINES = 500

_FORBIDDEN = {
    "the host of a package registry": (
        r"(?<![\w.-])pypi\.org|files\.pythonhosted\.org|registry\.npmjs\.org|proxy\.golang\.org"
    ),
    "a path of one machine": r"(?<![\w.~}-])/(?:work|home|root|opt/rc)/",
    "a path outside the repository": r"\.\./shared\b",
}
_INDEX_LINES = re.compile(
    r"^\s*(?:-i|-f|--index-url|--extra-index-url|--find-links|--trusted-host)\b", re.MULTILINE
)


def test_imports_point_inwards():
    program = Path(sys.executable).with_name("lint-imports")
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(
        [program, "--no-cache"], cwd=ROOT, env=environment, check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def functions(path: Path) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


def test_no_function_is_longer_than_a_screen():
    long = [
        f"{relative(path)}:{function.lineno} {function.name}"
        for path in source_files()
        for function in functions(path)
        if function.end_lineno - function.lineno + 1 > MAX_FUNCTION_LINES
    ]
    assert long == []


def test_no_file_is_longer_than_the_limit():
    long = [
        relative(path)
        for path in python_files()
        if len(path.read_text(encoding="utf-8").splitlines()) > MAX_FILE_LINES
    ]
    assert long == []


@pytest.mark.parametrize("what", _FORBIDDEN)
def test_no_file_names(what):
    pattern = re.compile(_FORBIDDEN[what])
    found = [
        f"{relative(path)}:{number}: {line.strip()[:80]}"
        for path in repository_files()
        if path != Path(__file__).resolve()
        for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1)
        if pattern.search(line)
    ]
    assert found == []


def test_requirement_files_name_no_index():
    found = [
        relative(path)
        for path in (ROOT / "requirements").glob("*.txt")
        if _INDEX_LINES.search(path.read_text(encoding="utf-8"))
    ]
    assert found == []
    assert not {"uv.lock", "pylock.toml", "poetry.lock"} & {path.name for path in repository_files()}
