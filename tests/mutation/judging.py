"""Which tests touch which line, and what they say of a changed function."""

import gc
import os
import sys
import threading
import time
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from types import CodeType, FrameType, FunctionType
from typing import Any

import msgspec
import pytest

from tests.mutation.changes import Mutant
from tests.mutation.forks import each_in_a_fork

SOURCES = Path("src/hallmark").resolve()
CPU_SECONDS_OF_ALL = 1000
SECONDS_OF_JUDGES = 6.0
"""Of the tests that touch a line the quickest judge it, as many as take this long."""


class Touches(msgspec.Struct):
    """What the tests touch when nothing is changed."""

    lines: dict[str, dict[int, list[int]]]
    """The places of the tests that touch a line, by file."""

    seconds: dict[int, float]
    """How long each test takes, of those that pass."""

    names: list[str]

    def judges(self, path: Path, lines: Iterable[int]) -> list[int]:
        touched = self.lines.get(str(path.resolve()), {})
        tests = {test for line in lines for test in touched.get(line, ()) if test in self.seconds}
        chosen, spent = [], 0.0
        for test in sorted(tests, key=lambda test: self.seconds[test]):
            spent += self.seconds[test]
            if chosen and spent > SECONDS_OF_JUDGES:
                break
            chosen.append(test)
        return chosen


class Judging:
    """A pytest plugin that judges changed functions in place of running the tests."""

    def __init__(self, mutants: list[Mutant], results: Path) -> None:
        self.mutants, self.results = mutants, results

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        paths = {str(mutant.path.resolve()) for mutant in self.mutants}
        touches = _touches(session, self.results.parent, paths)
        functions = _functions()
        gc.freeze()

        def judge(mutant: Mutant) -> int:
            _exchange(mutant, functions)
            tests = touches.judges(mutant.path, mutant.lines)
            return int(_first_failure(session, tests) is not None)

        with self.results.open("wb") as results:
            inside = (mutant for mutant in self.mutants if mutant.function)
            for mutant, status in each_in_a_fork(inside, judge):
                results.write(msgspec.json.encode([self.mutants.index(mutant), status != 0]) + b"\n")
                results.flush()
                if status == 0:
                    print(f"{mutant.path}:{mutant.line}: {mutant.key}", flush=True)
        (self.results.parent / "touches").write_bytes(msgspec.json.encode(touches))
        return True


def _first_failure(session: pytest.Session, tests: list[int]) -> int | None:
    session.config._tmp_path_factory._basetemp = None  # type: ignore[attr-defined]
    for place, test in enumerate(tests):
        item = session.items[test]
        following = session.items[tests[place + 1]] if place + 1 < len(tests) else None
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
        if session.testsfailed:
            session._setupstate.teardown_exact(None)
            return test
    return None


def _touches(session: pytest.Session, folder: Path, paths: set[str]) -> Touches:
    """Run the tests twice, as they are: once for what they touch, and once for how long they take."""
    jobs = [(partial(_traced, paths), folder / "traced"), (_timed, folder / "timed")]
    for _, status in each_in_a_fork(jobs, _of(session), cpu_seconds=CPU_SECONDS_OF_ALL):
        if status:
            raise SystemExit("the tests could not be run on the sources as they are")
    lines = msgspec.json.decode((folder / "traced").read_bytes(), type=dict[str, dict[int, list[int]]])
    seconds = msgspec.json.decode((folder / "timed").read_bytes(), type=dict[int, float])
    return Touches(lines, seconds, [item.nodeid for item in session.items])


def _of(session: pytest.Session) -> Any:
    def run(job: tuple[Any, Path]) -> int:
        measure, path = job
        path.write_bytes(msgspec.json.encode(measure(session)))
        return 0

    return run


def _timed(session: pytest.Session) -> dict[int, float]:
    seconds, failed = {}, session.testsfailed
    for place, item in enumerate(session.items):
        start = time.monotonic()
        _run(session, place, item)
        if session.testsfailed == failed:
            seconds[place] = time.monotonic() - start
        else:
            print("fails as it is, and judges nothing:", item.nodeid)
        failed = session.testsfailed
    return seconds


def _traced(paths: set[str], session: pytest.Session) -> dict[str, dict[int, list[int]]]:
    touched: dict[str, dict[int, set[int]]] = {}
    current = 0

    def called(frame: FrameType, _event: str, _argument: Any) -> Any:
        if frame.f_code.co_filename not in paths:
            return None
        lines = touched.setdefault(frame.f_code.co_filename, {})

        def line(frame: FrameType, _event: str, _argument: Any) -> Any:
            lines.setdefault(frame.f_lineno, set()).add(current)
            return line

        return line(frame, "", None)

    threading.settrace(called)
    sys.settrace(called)
    for current, item in enumerate(session.items):
        sys.settrace(called)
        _run(session, current, item)
    return {path: {line: sorted(tests) for line, tests in lines.items()} for path, lines in touched.items()}


def _run(session: pytest.Session, place: int, item: pytest.Item) -> None:
    following = session.items[place + 1] if place + 1 < len(session.items) else None
    item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)


def _functions() -> dict[tuple[str, str, int], list[FunctionType]]:
    """Every function of ours that is alive, by file, name and first line."""
    found: dict[tuple[str, str, int], list[FunctionType]] = {}
    for item in gc.get_objects():
        if type(item) is FunctionType and item.__code__.co_filename.startswith(str(SOURCES)):
            code = item.__code__
            found.setdefault((code.co_filename, code.co_qualname, code.co_firstlineno), []).append(item)
    return found


def _exchange(mutant: Mutant, functions: dict[tuple[str, str, int], list[FunctionType]]) -> None:
    """Put the changed code where the true one was; tests that came before may have filled no cache."""
    assert mutant.function is not None
    path = str(mutant.path.resolve())
    for code in _codes(mutant.compiled()):
        if (code.co_qualname, code.co_firstlineno) == mutant.function:
            for function in functions.get((path, *mutant.function), ()):
                function.__code__ = code


def _codes(code: CodeType) -> Iterable[CodeType]:
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield constant
            yield from _codes(constant)


def collected(mutants: list[Mutant], tests: list[str], results: Path) -> None:
    """Collect the tests in this process, and judge."""
    os.environ["HYPOTHESIS_DATABASE"] = "none"
    pytest.main(
        ["-s", "-p", "no:cacheprovider", *tests],
        plugins=[Judging(mutants, results)],
    )
