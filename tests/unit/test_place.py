"""The note of a directory tells a copy of it by every folder, database and file that it lists."""

import json
import os
import shutil
from datetime import UTC, datetime

import pytest
from click.testing import CliRunner

from hallmark.cli import log_rotate
from hallmark.errors import ConfigurationError, TrustError
from hallmark.instance.directory import install, locked_directory
from hallmark.wiring.create import create_instance
from hallmark.wiring.layout import VERSION, InstanceFile, Layout
from hallmark.wiring.place import Place, check_place, is_noted, note_place, restoring
from hallmark.wiring.rotation import rotate_tlog

NEVER_CHANGED = ["instance.json", "ca/chain.pem", "tsa/chain.pem", "client/root.json"]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    layout = Layout(tmp_path_factory.mktemp("made"))
    instance = InstanceFile(version=VERSION, base_url="http://localhost:8", host="localhost", port=8)
    create_instance(layout, instance, now=datetime.now(UTC))
    install(layout)
    rotate_tlog(layout, datetime.now(UTC))
    return layout


@pytest.fixture
def layout(made, tmp_path):
    """An instance of two shards that ran here last."""
    shutil.copytree(made.root, tmp_path / "data")
    layout = Layout(tmp_path / "data")
    note_place(layout)
    return layout


def refusal(layout: Layout) -> str:
    with pytest.raises(TrustError) as refused:
        check_place(layout)
    return refused.value.code


def change_note(layout: Layout, change) -> None:
    note = json.loads((layout.root / "place.json").read_bytes())
    change(note)
    (layout.root / "place.json").write_text(json.dumps(note))


def test_the_directory_of_the_note_is_taken_wherever_it_is_moved(layout, tmp_path):
    check_place(layout)
    layout.root.rename(tmp_path / "moved")
    check_place(Layout(tmp_path / "moved"))


def test_a_directory_without_a_note_is_taken_and_noted(layout):
    (layout.root / "place.json").unlink()
    assert not is_noted(layout)
    check_place(layout)
    assert is_noted(layout)


@pytest.mark.parametrize("name", ["keys", "tlog", "ctlog", "shards/2"])
def test_one_folder_that_was_put_back_makes_a_copy(layout, name):
    folder = layout.root / name
    (layout.root / "aside").mkdir()
    for item in folder.iterdir():  # what stands in it are the same files
        item.rename(layout.root / "aside" / item.name)
    (layout.root / "other").mkdir()  # while the old one is there, so that it gets another number
    folder.rmdir()
    (layout.root / "other").rename(folder)
    for item in (layout.root / "aside").iterdir():
        item.rename(folder / item.name)
    assert refusal(layout) == "copied_directory"
    assert not is_noted(layout)


def test_the_folder_of_the_instance_itself_makes_a_copy(layout, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    for item in layout.root.iterdir():
        item.rename(other / item.name)
    change_note(Layout(other), lambda note: note["changed"].clear())  # to rename a file changes it too
    assert refusal(Layout(other)) == "copied_directory"


@pytest.mark.parametrize("log", ["tlog", "ctlog", "shards/2"])
def test_one_database_that_was_put_back_makes_a_copy(layout, log):
    database = layout.root / log / "log.db"
    shutil.copy2(database, layout.root / log / "copy")
    os.replace(layout.root / log / "copy", database)
    assert refusal(layout) == "copied_directory"


@pytest.mark.parametrize("name", NEVER_CHANGED)
def test_one_file_that_was_written_again_makes_a_copy(layout, name):
    path = layout.root / name
    path.write_bytes(path.read_bytes())
    assert refusal(layout) == "copied_directory"


@pytest.mark.parametrize("name", ["shards/2", "keys"])
def test_a_directory_that_lacks_a_folder_of_the_note_is_a_copy(layout, name):
    shutil.rmtree(layout.root / name)
    assert refusal(layout) == "copied_directory"


@pytest.mark.parametrize(("name", "copy"), [("shards/2", False), ("keys", True), ("ctlog/log.db", True)])
def test_only_a_shard_may_have_come_after_the_note(layout, name, copy):
    change_note(layout, lambda note: note["files"].pop(name))
    if copy:
        assert refusal(layout) == "copied_directory"
    else:
        check_place(layout)
        assert name in json.loads((layout.root / "place.json").read_bytes())["files"]


@pytest.mark.parametrize(
    ("noted", "now", "same"),
    [
        ((5, 7), (5, 7), True),
        ((5, 7), (5, 8), False),
        ((5, 7), (6, 7), False),
        ((5, 0), (5, 8), True),
        ((5, 7), (5, 0), True),
        ((5, 0), (6, 0), False),
    ],
)
def test_a_generation_tells_files_apart_where_both_sides_know_it(noted, now, same):
    assert Place({"keys": noted}).is_same(Place({"keys": now})) == same


def test_a_restore_that_is_not_finished_keeps_the_very_directory_from_going_on(layout):
    restoring(layout).touch()
    assert refusal(layout) == "restore_unfinished"
    restoring(layout).unlink()
    check_place(layout)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"files":7}'])
def test_a_damaged_note_is_an_error_and_not_taken_for_none(layout, content):
    (layout.root / "place.json").write_bytes(content)
    with pytest.raises(ConfigurationError) as refused:
        check_place(layout)
    assert refused.value.code == "damaged_state"
    assert not is_noted(layout)
    assert (layout.root / "place.json").read_bytes() == content


def test_what_is_closed_to_others_is_noted_again_and_a_copy_never(layout):
    (layout.root / "instance.json").chmod(0o666)
    note_place(layout)
    with locked_directory(layout.root):
        check_place(layout)
    (layout.root / "instance.json").chmod(0o666)  # whoever did that may have written it too
    with locked_directory(layout.root):
        assert refusal(layout) == "copied_directory"


def test_a_directory_without_a_note_gets_none_by_being_closed_to_others(layout):
    """A note of now would say that nothing was put back since the last run, which nobody knows."""
    (layout.root / "place.json").unlink()
    (layout.root / "instance.json").chmod(0o666)
    with locked_directory(layout.root):
        assert not (layout.root / "place.json").exists()


def test_a_shard_is_noted_by_the_rotation_that_opens_it(layout):
    """One that came after the note is taken for new: it must not be one that was put back."""
    mask = os.umask(0o022)
    try:
        done = CliRunner().invoke(log_rotate.command, ["--data", str(layout.root)])
    finally:
        os.umask(mask)
    assert done.exit_code == 0
    shard = layout.root / "shards" / "3"
    shutil.copytree(shard, layout.root / "copy")
    shutil.rmtree(shard)
    (layout.root / "copy").rename(shard)
    assert refusal(layout) == "copied_directory"
