"""What several tests of one module each are given once."""

import pytest
from tests.support import world as w
from tests.support.tsa_authority import Authority


@pytest.fixture(scope="module")
def world() -> w.World:
    return w.World()


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()
