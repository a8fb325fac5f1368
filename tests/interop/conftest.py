"""One instance for all real clients."""

import pytest
from tests.support.instance import RunningInstance


@pytest.fixture(scope="session")
def instance(tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    running = RunningInstance(tmp_path_factory.mktemp("data") / "instance", home, "--workers", "2")
    yield running
    assert running.stop() == 0


@pytest.fixture(scope="session")
def other_instance(tmp_path_factory):
    """Another instance, whose root must not be trusted by whoever trusts the first."""
    home = tmp_path_factory.mktemp("other-home")
    running = RunningInstance(tmp_path_factory.mktemp("other") / "instance", home)
    yield running
    assert running.stop() == 0


@pytest.fixture
def artifact(tmp_path):
    path = tmp_path / "artifact.txt"
    path.write_bytes(b"what is signed " * 1000)
    return path
