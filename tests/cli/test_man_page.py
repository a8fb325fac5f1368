"""The man page says what --help says."""

import shutil
import subprocess
from pathlib import Path

import pytest

from hallmark.cli.main import COMMANDS
from hallmark.cli.man_page import man_page

PAGE = Path(__file__).parents[2] / "docs/man/hallmark.1"


def test_the_page_is_that_of_the_commands():
    assert PAGE.read_text() == man_page(), "run make man"


def test_every_command_is_there():
    for name in COMMANDS:
        assert f".SS hallmark {name.replace('-', chr(92) + '-')}" in man_page()


def test_troff_finds_nothing_wrong_with_it():
    groff = shutil.which("groff")
    if groff is None:
        pytest.skip("needs groff: apt-get install groff")
    done = subprocess.run(
        [groff, "-man", "-Tutf8", "-ww", str(PAGE)], capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    assert "verification failed" in done.stdout
