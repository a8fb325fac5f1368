"""The changes that are made to a module, one at a time."""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import CodeType

_COMPARISONS = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
}  # fmt: skip
_NAMES = {"any": "all", "all": "any", "min": "max", "max": "min"}
_OF_NO_CONSEQUENCE = {"eq", "frozen", "kw_only", "maxsize", "order", "slots", "strict"}
_EMPTY = {"''", "b''", "0", "()", "[]", "{}"}
_FUNCTIONS = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Mutant:
    """One change, found again by where its node stands in the walk of the tree."""

    path: Path
    index: int
    number: int
    what: str
    lines: frozenset[int]
    """The lines of the statement that is changed."""

    function: tuple[str, int] | None
    """Qualified name and first line of the outermost function around; nothing outside functions."""

    scope: str
    """The function, class or constant that is changed, as the list of known ones names it."""

    @property
    def key(self) -> str:
        return f"{self.scope}: {self.what}"

    @property
    def line(self) -> int:
        return min(self.lines)

    def compiled(self) -> CodeType:
        """Compile the module with this change; line numbers stay."""
        tree = ast.parse(self.path.read_text())
        _apply(tree, list(ast.walk(tree))[self.index], self.number)
        return compile(ast.fix_missing_locations(tree), str(self.path.resolve()), "exec")


def mutants(path: Path) -> Iterator[Mutant]:
    tree = ast.parse(path.read_text())
    places = _places(tree)
    skipped = set(_of_no_consequence(tree))
    for index, node in enumerate(ast.walk(tree)):
        if node in skipped or node not in places or _taken_by_tests(node, places[node][2]):
            continue
        for number, what in enumerate(_changes(node)):
            yield Mutant(path, index, number, what, *places[node])


def _of_no_consequence(tree: ast.Module) -> Iterator[ast.AST]:
    """Yield what no test should hold on to: how values are kept, and how many characters a text shows."""
    for node in ast.walk(tree):
        if isinstance(node, ast.keyword) and node.arg in _OF_NO_CONSEQUENCE:
            yield node.value
        if isinstance(node, ast.JoinedStr | ast.Raise):
            yield from (item for item in ast.walk(node) if item is not node)


@cache
def _words_of_tests() -> frozenset[str]:
    files = Path("tests").rglob("*.py")
    return frozenset(word for path in files for word in re.findall(r"\b[A-Z][A-Z0-9_]+\b", path.read_text()))


def _taken_by_tests(node: ast.AST, scope: str) -> bool:
    """Say whether a number is a cache's size, or a bound whose tests name it: they hold at any value."""
    cache = scope.startswith("_CACHED_")
    return isinstance(node, ast.Constant) and (cache or scope in _words_of_tests())


def _places(tree: ast.Module) -> dict[ast.AST, tuple[frozenset[int], tuple[str, int] | None, str]]:
    """Say for every node which statement, function and name it belongs to."""
    places: dict[ast.AST, tuple[frozenset[int], tuple[str, int] | None, str]] = {}

    def visit(node: ast.AST, lines: frozenset[int], function: tuple[str, int] | None, scope: str) -> None:
        inside = function
        if isinstance(node, ast.stmt):
            lines = _lines(node)
        if isinstance(node, _FUNCTIONS | ast.ClassDef):
            scope = f"{scope}.{node.name}" if scope else node.name
        elif not scope and isinstance(node, ast.Assign | ast.AnnAssign):
            scope = ast.unparse(node.targets[0] if isinstance(node, ast.Assign) else node.target)
        if isinstance(node, _FUNCTIONS) and function is None:
            first = min([node.lineno, *(item.lineno for item in node.decorator_list)])
            inside = (scope, first)
        places[node] = (lines, function, scope)
        for name, value in ast.iter_fields(node):
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST):
                    # decorators, annotations and defaults are evaluated where the function is defined
                    visit(child, lines, inside if name == "body" else function, scope)

    visit(tree, frozenset(), None, "")
    return places


def _lines(statement: ast.stmt) -> frozenset[int]:
    body = getattr(statement, "body", None)
    last = body[0].lineno - 1 if isinstance(body, list) else statement.end_lineno or statement.lineno
    return frozenset(range(statement.lineno, max(last, statement.lineno) + 1))


def _changes(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Raise):
        return ["raise dropped"]
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        return ["call dropped: " + ast.unparse(node.value)[:60]]
    if isinstance(node, ast.Compare):
        return [f"{ast.unparse(node)[:60]}: comparison {place} turned" for place in range(len(node.ops))]
    if isinstance(node, ast.BoolOp):
        # dropping the empty value of `found or ""` leaves a None, which the type checker notices
        values = node.values[:-1] if ast.unparse(node.values[-1]) in _EMPTY else node.values
        whole = [f"{ast.unparse(node)[:60]}: and/or"]
        return whole + [f"{ast.unparse(node)[:60]}: without {ast.unparse(item)[:40]}" for item in values]
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
        _replace(tree, node, ast.copy_location(ast.Pass(), node))
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
