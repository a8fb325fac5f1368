"""Files of the user: written whole or not at all, nothing left behind, and errors that say what happened."""

from pathlib import Path

import pytest
from tests.support.steps_of_files import syncs_of

from hallmark.client import files as files_module
from hallmark.client.contexts import change_contexts, load_contexts
from hallmark.client.files import file_error, locked, make_folder, read_file, write_file
from hallmark.client.folders import config_folder
from hallmark.client.instances import find_instance, note_instance
from hallmark.errors import ConfigurationError


def refused(code: str, act) -> str:
    with pytest.raises(ConfigurationError) as caught:
        act()
    assert caught.value.code == code
    return caught.value.message


def test_an_existing_file_is_replaced_or_kept_as_it_was_wanted(tmp_path):
    path = tmp_path / "file"
    write_file(path, b"first", overwrite=False)
    assert path.stat().st_mode & 0o777 == 0o644
    refused("file_exists", lambda: write_file(path, b"second", overwrite=False))
    assert path.read_bytes() == b"first"
    write_file(path, b"second", mode=0o600)
    assert path.read_bytes() == b"second"
    assert path.stat().st_mode & 0o777 == 0o600


def test_what_cannot_be_written_leaves_nothing_behind(tmp_path):
    refused("file_not_found", lambda: write_file(tmp_path / "nowhere" / "file", b"x"))
    (tmp_path / "folder").mkdir()
    refused("is_a_directory", lambda: write_file(tmp_path / "folder", b"x"))
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_a_file_is_on_the_disk_before_it_takes_its_place(tmp_path, monkeypatch):
    steps = syncs_of(files_module, tmp_path / "file", monkeypatch)
    write_file(tmp_path / "file", b"content")
    assert steps == [(len(b"content"), False)]


@pytest.mark.parametrize("more", [0, 1])
def test_a_small_file_is_read_up_to_its_bound(tmp_path, more):
    (tmp_path / "file").write_bytes(bytes(100 + more))
    if more:
        refused("file_too_large", lambda: read_file(tmp_path / "file", max_bytes=100))
    else:
        assert read_file(tmp_path / "file", max_bytes=100) == bytes(100)


def test_a_folder_of_the_user_is_the_user_s_own(tmp_path):
    make_folder(tmp_path / "deep" / "folder")
    assert (tmp_path / "deep" / "folder").stat().st_mode & 0o777 == 0o700
    (tmp_path / "file").write_bytes(b"")
    refused("file_error", lambda: make_folder(tmp_path / "file"))


def test_a_lock_is_a_file_of_the_user_s_own(tmp_path):
    with locked(tmp_path / "lock"):
        pass
    assert (tmp_path / "lock").stat().st_mode & 0o777 == 0o600
    with pytest.raises(ConfigurationError), locked(tmp_path / "nowhere" / "lock"):
        pass


def test_an_error_without_a_number_is_named_by_its_kind():
    error = file_error(OSError("odd"), Path("p"), doing="read")
    assert (error.code, error.message) == ("file_error", "cannot read p: oserror")
    known = file_error(OSError(5, "Input/output error"), Path("p"), doing="read")
    assert known.message == "cannot read p: input/output error"


@pytest.mark.parametrize("more", [0, 1])
def test_contexts_and_notes_have_up_to_a_mebibyte(tmp_path, more):
    (tmp_path / "contexts.json").write_bytes(b"{}".ljust((1 << 20) + more))
    note_instance("http://a", tmp_path, folder=tmp_path)
    notes = (tmp_path / "instances.json").read_bytes()
    (tmp_path / "instances.json").write_bytes(notes.ljust((1 << 20) + more))
    if more:
        refused("file_too_large", lambda: load_contexts(tmp_path))
    else:
        assert load_contexts(tmp_path).contexts == {}
    assert find_instance("http://a", folder=tmp_path) == (None if more else tmp_path)


def test_contexts_are_changed_in_the_user_s_own_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert change_contexts(lambda contexts: contexts) == load_contexts()
    assert (tmp_path / "hallmark" / "contexts.json").is_file()


def test_without_a_home_there_is_no_folder_of_the_user(tmp_path, monkeypatch):
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    for home in ("", "relative"):
        monkeypatch.setenv("HOME", home)
        refused("no_home", config_folder)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert config_folder() == tmp_path / "hallmark"
