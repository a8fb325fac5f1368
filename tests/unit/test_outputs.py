"""Places for bundles: what is reserved is taken away when a command ends, and nothing is left behind."""

import pytest

from hallmark.client.outputs import Outputs
from hallmark.errors import ConfigurationError


def test_what_is_reserved_and_not_written_is_taken_away(tmp_path):
    outputs = Outputs()
    with outputs.reserve(tmp_path / "a", overwrite=False):
        assert len(list(tmp_path.iterdir())) == 1
        outputs.discard()
        assert list(tmp_path.iterdir()) == []


def test_nothing_is_reserved_once_the_command_ends(tmp_path):
    outputs = Outputs()
    outputs.discard()
    with pytest.raises(ConfigurationError) as caught, outputs.reserve(tmp_path / "a", overwrite=False):
        pass
    assert caught.value.code == "interrupted"
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_made_is_not_remembered(tmp_path):
    outputs = Outputs()
    with pytest.raises(ConfigurationError), outputs.reserve(tmp_path / "no" / "a", overwrite=False):
        pass
    outputs.discard()
