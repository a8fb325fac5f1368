"""The package's names: all there, and loaded only when used."""

import inspect
import subprocess
import sys
from importlib.metadata import version

import pytest

import hallmark

HEAVY = {"tuf", "urllib3", "click", "rich", "asyncio", "joserfc", "starlette", "importlib.metadata"}


def test_every_public_name_is_there():
    assert set(hallmark.__all__) <= set(dir(hallmark))
    for name in hallmark.__all__:
        assert getattr(hallmark, name) is not None


def test_the_version_is_that_of_the_package():
    assert hallmark.__version__ == version("hallmark-sigstore")


def test_other_names_are_refused():
    assert not hasattr(hallmark, "no_such_name")


def loaded_by(statement: str) -> set[str]:
    program = f"import sys; {statement}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_importing_the_package_loads_nothing_else():
    assert {name for name in loaded_by("import hallmark") if name.startswith("hallmark.")} == set()


def test_verifying_loads_nothing_heavy():
    assert not HEAVY & loaded_by(
        "import hallmark; hallmark.Verifier, hallmark.Identity, hallmark.parse_bundle"
    )


@pytest.mark.parametrize("name", [name for name in hallmark.__all__ if callable(getattr(hallmark, name))])
def test_no_signature_shows_the_environment(name, monkeypatch):
    """What documentation tools and help() print of a default argument."""
    monkeypatch.setenv("HALLMARK_TEST_SECRET", "hunter2")
    try:
        shown = str(inspect.signature(getattr(hallmark, name)))
    except ValueError:  # a type without one
        return
    assert "hunter2" not in shown
    assert "environ(" not in shown
