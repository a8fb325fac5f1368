"""The page about Python is run as it stands, against a real instance."""

import re
import shutil
import subprocess
import sys

import pytest
from tests.support.instance import RunningInstance
from tests.support.repository_files import ROOT

import hallmark

PAGE = (ROOT / "docs" / "howto" / "python.md").read_text(encoding="utf-8")
EMAIL = "you@example.com"


@pytest.fixture
def instance(tmp_path):
    running = RunningInstance(tmp_path / "instance", tmp_path)
    yield running
    assert running.stop() == 0


def test_what_the_page_shows_works_in_its_order(instance, tmp_path):
    work = tmp_path / "work"
    work.mkdir()
    for name in ("client_trust_config.json", "trusted_root.json"):
        shutil.copy(instance.client / name, work)
    (work / "token").write_text(instance.token(EMAIL))
    (work / "app.bin").write_bytes(b"app")
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    assert len(blocks) >= 3
    program = "\n".join(blocks).replace("http://127.0.0.1:8080", instance.base_url)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        cwd=work, env=instance.environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == EMAIL
    assert (work / "app.bin.sigstore.json").exists()


def test_the_page_names_all_that_is_public():
    missing = [
        name for name in hallmark.__all__ if f"`{name}`" not in PAGE and f"hallmark.{name}" not in PAGE
    ]
    assert missing == []


def test_the_page_uses_nothing_that_is_not_public():
    assert re.findall(r"hallmark\.[a-z_]+\.|from hallmark\.", PAGE) == []
