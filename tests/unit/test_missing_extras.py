"""An installation without extras: what needs one names it, with the command that installs it."""

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from hallmark.cli.main import _EXTRAS

CHECKOUT = Path(__file__).parents[2]
WITHOUT = "import sys; sys.modules.update(dict.fromkeys(sys.argv.pop(1).split(','))); "
WITHOUT += "from hallmark.cli.main import main; sys.exit(main())"


@pytest.mark.parametrize("module", ["granian", "joserfc", "starlette", "uvloop"])
@pytest.mark.parametrize("command", ["up", "witness --log x"])
def test_a_missing_extra_is_named_with_the_command_that_installs_it(module, command, tmp_path):
    if command != "up" and module == "joserfc":
        pytest.skip("a witness does without")
    arguments = [*command.split(), "--data", str(tmp_path / "i"), "--json"]
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT, module, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    error = json.loads(done.stdout)["error"]
    assert (done.returncode, error["code"]) == (2, "missing_extra")
    assert "pip install 'hallmark-sigstore[server]'" in error["hint"]
    assert not (tmp_path / "i").exists()


def test_the_extras_that_are_named_are_there():
    extras = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert set(_EXTRAS.values()) <= set(extras)


def test_what_make_up_writes_is_ignored_by_git():
    keys = subprocess.run(["git", "check-ignore", "-q", "instance/keys/ca.pem"], cwd=CHECKOUT, check=False)
    assert keys.returncode == 0
