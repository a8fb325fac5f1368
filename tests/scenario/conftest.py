"""An instance that the tests of a file share; a file that changes it for good has one of its own."""

import pytest
from tests.support.instance import RunningInstance


@pytest.fixture(scope="module")
def instance(tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    running = RunningInstance(tmp_path_factory.mktemp("data") / "instance", home)
    yield running
    assert running.stop() == 0
