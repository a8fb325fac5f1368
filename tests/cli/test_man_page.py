"""The man page says what --help says."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from hallmark.cli.main import COMMANDS

PAGE = Path(__file__).parents[2] / "docs/man/hallmark.1"


def test_the_page_is_that_of_the_commands():
    # in a process of its own: click keeps what the first use of a command made of its options
    command = [sys.executable, "-m", "hallmark.cli.man_page"]
    made = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert PAGE.read_text() == made.stdout, "run make man"


def test_every_command_is_there():
    for name in COMMANDS:
        assert f".SS hallmark {name.replace('-', chr(92) + '-')}" in PAGE.read_text()


def test_troff_finds_nothing_wrong_with_it():
    groff = shutil.which("groff")
    if groff is None:
        pytest.skip("needs groff: apt-get install groff")
    done = subprocess.run(
        [groff, "-man", "-Tutf8", "-ww", str(PAGE)], capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    assert "verification failed" in done.stdout
