"""docs/operate/bounds.md says what the code does."""

import importlib
import re

import pytest
from tests.support.repository_files import ROOT

PAGE = ROOT / "docs" / "operate" / "bounds.md"
ROWS = re.findall(r"^\| (.+) \| ([0-9.]+) \| `([\w.]+)` \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)


def find(name: str):
    """Find a constant of a module, or the default of a setting."""
    parts = name.split(".")
    if parts[-2][0].isupper():
        return getattr(
            getattr(importlib.import_module(f"hallmark.{'.'.join(parts[:-2])}"), parts[-2])(), parts[-1]
        )
    return getattr(importlib.import_module(f"hallmark.{'.'.join(parts[:-1])}"), parts[-1])


@pytest.mark.parametrize(("what", "value", "name"), ROWS, ids=[name for _, _, name in ROWS])
def test_a_bound_is_what_the_page_says(what, value, name):
    if ".grpc." in name:
        pytest.importorskip("grpc_reflection", reason="the grpc extra is not installed")
    if "IdpConfig" in name:
        config = importlib.import_module("hallmark.idp.config").IdpConfig(base_url="")
        assert str(getattr(config, name.rpartition(".")[2])) == value
    else:
        assert str(find(name)) == value


def test_the_page_has_every_row():
    tables = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    assert len(ROWS) == len([line for line in tables if not line.startswith("| what |")])
