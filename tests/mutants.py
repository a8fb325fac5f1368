"""Change one thing in a module at a time, and see whether a test notices. Run by hand.

    .venv/bin/python -m tests.mutants                               # everything
    .venv/bin/python -m tests.mutants core/note.py tlog             # modules, or folders of them
    .venv/bin/python -m tests.mutants core/note.py -- tests/unit/test_note.py

Prints what nobody noticed, and the share that was, by module. tests/mutants.toml names the folders, the
tests that judge, and the changes that make no difference, each with its reason. A dropped check may not
stand there.

The tests are collected once, and run once under a trace that says which of them touch which line. Each
changed function then takes the place of the true one in a fork of that process, and the tests that touch
the changed line run there, the quickest first. What stands outside functions is changed before the import,
in a fork that collects again. Nothing is written to the tree.
"""

import os
import sys
import tempfile
import tomllib
from collections import Counter
from pathlib import Path

import msgspec
from cryptography import x509  # noqa: F401 - imported before the forks, once

from tests.mutation import imports, judging
from tests.mutation.changes import Mutant, mutants
from tests.mutation.forks import each_in_a_fork

TABLE = tomllib.loads(Path(__file__).with_suffix(".toml").read_text())


def modules(names: list[str]) -> list[Path]:
    places = [judging.SOURCES / name.removeprefix("src/hallmark/") for name in names or TABLE["modules"]]
    found = [
        path for place in places for path in ([place] if place.is_file() else sorted(place.rglob("*.py")))
    ]
    return [path.relative_to(Path.cwd()) for path in found if not path.stem.endswith("_pb2")]


def judged(chosen: list[Mutant], tests: list[str], folder: Path) -> dict[Mutant, bool]:
    """Say of every change whether a test noticed it."""
    outside = [mutant for mutant in chosen if not mutant.function]
    if pid := os.fork():
        os.waitpid(pid, 0)
    else:
        judging.collected(chosen, tests, folder / "results")
        os._exit(0)
    lines = (folder / "results").read_text().splitlines()
    results = {chosen[place]: noticed for place, noticed in map(msgspec.json.decode, lines)}
    touches = msgspec.json.decode((folder / "touches").read_bytes(), type=judging.Touches)

    def judge(mutant: Mutant) -> int:
        return imports.judge(mutant, tests) if (tests := imports.judges(mutant, touches)) else 0

    for mutant, status in each_in_a_fork(outside, judge):
        results[mutant] = status != 0
        if status == 0:
            print(f"{mutant.path}:{mutant.line}: {mutant.key}", flush=True)
    return results


def main(names: list[str], tests: list[str]) -> None:
    known = {module: set(reasons) for module, reasons in TABLE.get("equivalent", {}).items()}
    chosen = []
    for path in modules(names):
        excused = known.get(str(path.relative_to("src/hallmark")), set())
        found = list(mutants(path))
        chosen += [mutant for mutant in found if mutant.key not in excused]
        for stale in sorted(excused - {mutant.key for mutant in found}):
            print(f"{path}: the table excuses what is not there: {stale}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        results = judged(chosen, tests or TABLE["tests"], Path(folder))
    made, noticed = Counter(m.path for m in results), Counter(m.path for m in results if results[m])
    for path in made:
        print(f"{path}: {noticed[path]} of {made[path]} noticed")
    print(
        f"{noticed.total()} of {made.total()} noticed ({100 * noticed.total() / max(made.total(), 1):.1f} %)"
    )


if __name__ == "__main__":
    split = sys.argv.index("--") if "--" in sys.argv else len(sys.argv)
    main(sys.argv[1:split], sys.argv[split + 1 :])
