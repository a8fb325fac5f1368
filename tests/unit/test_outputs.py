"""Places for bundles: what is reserved is taken away when a command ends, and nothing is left behind."""

import os
import resource
from pathlib import Path

import pytest
from tests.support.steps_of_files import syncs_of

from hallmark.client import outputs as outputs_module
from hallmark.client.outputs import RESERVED_BYTES, Outputs
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


@pytest.fixture
def outputs():
    return Outputs()


@pytest.fixture
def descriptors():
    """How many are open."""
    return lambda: len(os.listdir("/proc/self/fd"))


def refused(code: str, act) -> None:
    with pytest.raises(ConfigurationError) as caught:
        act()
    assert caught.value.code == code


def written(outputs: Outputs, path: Path, data: bytes = b"data", *, overwrite: bool = False) -> None:
    with outputs.reserve(path, overwrite=overwrite) as output:
        output.write(data)


def test_a_file_appears_whole_once_it_is_written(tmp_path, outputs, descriptors):
    before = descriptors()
    with outputs.reserve(tmp_path / "a", overwrite=False) as output:
        assert not (tmp_path / "a").exists()
        output.write(b"data")
        assert (tmp_path / "a").read_bytes() == b"data"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o644
    assert descriptors() == before
    assert not outputs._temporaries
    refused("file_exists", lambda: written(outputs, tmp_path / "a"))
    written(outputs, tmp_path / "a", b"other", overwrite=True)
    assert (tmp_path / "a").read_bytes() == b"other"


def test_more_than_was_reserved_is_written_too(tmp_path, outputs):
    written(outputs, tmp_path / "a", bytes(RESERVED_BYTES + 1))
    assert (tmp_path / "a").read_bytes() == bytes(RESERVED_BYTES + 1)


def test_what_is_not_written_leaves_nothing(tmp_path, outputs):
    with outputs.reserve(tmp_path / "a", overwrite=False):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_name_that_no_file_can_have_is_found_first(tmp_path, outputs):
    def reserve() -> None:
        with outputs.reserve(tmp_path / ("x" * 256), overwrite=False):
            pytest.fail("what cannot be unmade would be made now")

    refused("name_too_long", reserve)


def test_a_place_that_is_taken_meanwhile_is_an_error(tmp_path, outputs):
    with outputs.reserve(tmp_path / "a", overwrite=False) as output:
        (tmp_path / "a").mkdir()
        refused("is_a_directory", lambda: output.write(b"data"))
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize("lacks", [0, 1])
def test_the_room_is_there_before_the_work_begins(tmp_path, outputs, descriptors, lacks):
    before, limits = descriptors(), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (RESERVED_BYTES - lacks, limits[1]))
    try:
        if lacks:
            refused("file_error", lambda: written(outputs, tmp_path / "a"))
        else:
            written(outputs, tmp_path / "a")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [path.name for path in tmp_path.iterdir()] == ([] if lacks else ["a"])
    assert descriptors() == before


def test_a_file_is_on_the_disk_before_it_takes_its_place(tmp_path, monkeypatch, outputs):
    steps = syncs_of(outputs_module, tmp_path / "a", monkeypatch)
    written(outputs, tmp_path / "a")
    assert steps == [(len(b"data"), False)]


def test_a_stream_is_written_to(outputs):
    reader, writer = os.pipe()
    path = Path(f"/dev/fd/{writer}")
    written(outputs, path)
    assert os.read(reader, 100) == b"data"
    refused("output_failed", lambda: written(outputs, Path(f"/dev/fd/{reader}")))
    os.close(reader)
    with pytest.raises(BrokenPipeError):  # whoever read it has gone: not an error of the output
        written(outputs, path)
    os.close(writer)

    def reserve() -> None:
        with outputs.reserve(path, overwrite=False):
            pytest.fail("what cannot be unmade would be made now")

    refused("output_failed", reserve)


def test_a_dash_is_standard_output(outputs, capfd):
    written(outputs, Path("-"))
    assert capfd.readouterr().out == "data"
