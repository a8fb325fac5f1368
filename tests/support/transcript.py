"""Transcripts: commands with what they must print and how they must end.

    # a comment
    $ hallmark verify nothing.txt
    2> error: nothing.txt does not exist
    2> hint: check the path
    = 2

`$` is a command line, run in the transcript's folder; a plain line is standard output, `2>` standard error,
`=` the exit code. `...` stands for any text within a line, `{NAME}` for a value that the test gives.
"""

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

HALLMARK = [sys.executable, "-m", "hallmark.cli.main"]


class Step(NamedTuple):
    """One command of a transcript, and the line where it stands."""

    line: int
    command: str
    output: list[str]
    errors: list[str]
    exit_code: int


def parse_transcript(text: str, values: Mapping[str, str]) -> Iterator[Step]:
    for name, value in values.items():
        text = text.replace(f"{{{name}}}", value)
    command, start, output, errors = "", 0, [], []
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith("$ "):
            assert not command, f"line {start}: the command has no exit code"
            command, start, output, errors = line[2:], number, [], []
        elif line.startswith("2> "):
            errors.append(line[3:])
        elif line.startswith("= "):
            yield Step(start, command, output, errors, int(line[2:]))
            command = ""
        elif line and not line.startswith("#"):
            output.append(line)
    assert not command, f"line {start}: the command has no exit code"


def run_transcript(path: Path, *, folder: Path, environment: Mapping[str, str], values: Mapping[str, str]):
    """Run every command and compare; what differs is shown with the line of the transcript."""
    for step in parse_transcript(path.read_text(encoding="utf-8"), values):
        words = shlex.split(step.command)
        assert words[0] == "hallmark", f"{path.name}:{step.line}: only hallmark is run"
        done = subprocess.run(
            [*HALLMARK, *words[1:]],
            cwd=folder,
            env=dict(environment),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        where = f"{path.name}:{step.line}: {step.command}\n{done.stdout}{done.stderr}"
        assert done.returncode == step.exit_code, f"exit code {done.returncode}\n{where}"
        compare(step.output, done.stdout.splitlines(), where)
        compare(step.errors, done.stderr.splitlines(), where)


def compare(expected: list[str], found: list[str], where: str) -> None:
    assert len(found) == len(expected), f"{len(found)} lines, not {len(expected)}\n{where}"
    for wanted, line in zip(expected, found, strict=True):
        pattern = ".*".join(re.escape(part) for part in wanted.split("..."))
        assert re.fullmatch(pattern, line), f"expected {wanted!r}\nfound    {line!r}\n{where}"
