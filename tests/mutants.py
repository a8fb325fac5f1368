"""Change one thing in a module at a time, and see whether a test notices. Run by hand; it takes minutes.

    .venv/bin/python -m tests.mutants src/hallmark/core/note.py -- tests/unit/test_note.py

Prints what nobody noticed, and the share that was. The tree itself is not touched: the changed module lies in
a copy of the sources that stands before them on the path. A change that makes no difference (a cache's size,
an equal condition) may survive; a dropped check may not.
"""

import ast
import copy
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

SOURCES = Path("src")
SECONDS = 120
"""A mutant that loops for ever is noticed by this."""

_COMPARISONS = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
}  # fmt: skip
_NAMES = {"any": "all", "all": "any", "min": "max", "max": "min"}


_OF_NO_CONSEQUENCE = {"frozen", "kw_only", "strict", "maxsize"}


def mutants(source: str) -> Iterator[tuple[int, str, str]]:
    """Every changed source, with the line and what was changed."""
    tree = ast.parse(source)
    skipped = {
        item.value
        for item in ast.walk(tree)
        if isinstance(item, ast.keyword) and item.arg in _OF_NO_CONSEQUENCE
    }
    for index, node in enumerate(ast.walk(tree)):
        for number, what in enumerate(() if node in skipped else _changes(node)):
            changed = copy.deepcopy(tree)
            target = next(item for place, item in enumerate(ast.walk(changed)) if place == index)
            _apply(changed, target, number)
            yield getattr(node, "lineno", 0), what, ast.unparse(ast.fix_missing_locations(changed))


def _changes(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Raise):
        return ["raise dropped"]
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        return ["call dropped: " + ast.unparse(node.value)[:60]]
    if isinstance(node, ast.Compare):
        return [f"{ast.unparse(node)[:60]}: comparison {place} turned" for place in range(len(node.ops))]
    if isinstance(node, ast.BoolOp):
        whole = [f"{ast.unparse(node)[:60]}: and/or"]
        return whole + [f"{ast.unparse(node)[:60]}: without {ast.unparse(item)[:40]}" for item in node.values]
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        return [f"{ast.unparse(node)[:60]}: not dropped"]
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in _NAMES:
        return [f"{node.func.id} for {_NAMES[node.func.id]}: {ast.unparse(node)[:50]}"]
    if isinstance(node, ast.Constant) and isinstance(node.value, bool):
        return [f"{node.value} turned"]
    if isinstance(node, ast.Constant) and isinstance(node.value, int):
        return [f"{node.value} + 1"]
    return []


def _apply(tree: ast.Module, node: ast.AST, number: int) -> None:
    if isinstance(node, ast.Raise | ast.Expr):
        _replace(tree, node, ast.Pass())
    elif isinstance(node, ast.Compare):
        node.ops[number] = _COMPARISONS[type(node.ops[number])]()
    elif isinstance(node, ast.BoolOp) and number == 0:
        node.op = ast.Or() if isinstance(node.op, ast.And) else ast.And()
    elif isinstance(node, ast.BoolOp):
        del node.values[number - 1]
        if len(node.values) == 1:
            _replace(tree, node, node.values[0])
    elif isinstance(node, ast.UnaryOp):
        _replace(tree, node, node.operand)
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        node.func.id = _NAMES[node.func.id]
    elif isinstance(node, ast.Constant):
        node.value = not node.value if isinstance(node.value, bool) else node.value + 1


def _replace(tree: ast.Module, old: ast.AST, new: ast.AST) -> None:
    for parent in ast.walk(tree):
        for name, value in ast.iter_fields(parent):
            if value is old:
                setattr(parent, name, new)
            elif isinstance(value, list):
                value[:] = [new if item is old else item for item in value]


def noticed(sources: Path, tests: list[str]) -> bool:
    environment = {**os.environ, "PYTHONPATH": str(sources), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *tests]
    try:
        done = subprocess.run(command, env=environment, capture_output=True, timeout=SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return True
    return done.returncode != 0


def main(modules: list[str], tests: list[str]) -> None:
    total = found = 0
    with tempfile.TemporaryDirectory() as folder:
        sources = Path(folder) / "src"
        shutil.copytree(SOURCES, sources, ignore=shutil.ignore_patterns("__pycache__"))
        if noticed(sources, tests):
            raise SystemExit("the tests fail on the sources as they are")
        for module in modules:
            place = sources / Path(module).relative_to(SOURCES)
            original = place.read_text()
            for line, what, changed in mutants(original):
                place.write_text(changed)
                total += 1
                if noticed(sources, tests):
                    found += 1
                else:
                    print(f"{module}:{line}: {what}", flush=True)
            place.write_text(original)
    print(f"{found} of {total} noticed ({100 * found / max(total, 1):.0f} %)")


if __name__ == "__main__":
    split = sys.argv.index("--")
    main(sys.argv[1:split], sys.argv[split + 1 :])
