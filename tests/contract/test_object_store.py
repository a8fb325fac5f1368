"""Every object store keeps the contract of `ports.ObjectStore`."""

import os
import resource

import pytest

from hallmark.adapters.storage.filesystem import FileObjectStore
from hallmark.adapters.storage.memory import MemoryObjectStore
from hallmark.errors import NotFound


@pytest.fixture(params=["memory", "files"])
def objects(request, tmp_path):
    return MemoryObjectStore() if request.param == "memory" else FileObjectStore(tmp_path)


def test_what_was_put_is_read_back(objects):
    objects.put("tile/0/x001/000.p/3", b"abc")
    objects.sync()
    assert objects.get("tile/0/x001/000.p/3") == b"abc"


def test_a_missing_object_is_not_found(objects):
    objects.put("tile/0/000", b"a")
    for path in ("tile/0/001", "tile/0", "tile/0/000/deeper"):
        with pytest.raises(NotFound):
            objects.get(path)


def test_putting_the_same_bytes_again_is_harmless(objects):
    for _ in range(2):
        objects.put("a/b", b"same")
        objects.sync()
    assert objects.get("a/b") == b"same"


def test_replace_replaces(objects):
    objects.replace("checkpoint", b"one")
    objects.replace("checkpoint", b"two")
    assert objects.get("checkpoint") == b"two"


def test_a_deleted_folder_is_gone_and_its_neighbours_stay(objects):
    objects.put("tile/0/000.p/1", b"1")
    objects.put("tile/0/000.p/2", b"2")
    objects.put("tile/0/000", b"full")
    objects.sync()
    assert objects.names("tile/0/000.p") == ("1", "2")
    objects.delete_folder("tile/0/000.p")
    objects.delete_folder("tile/0/000.p")
    assert objects.names("tile/0/000.p") == ()
    assert objects.get("tile/0/000") == b"full"


def test_a_deleted_object_is_gone(objects):
    objects.put("tile/0/000.p/1", b"1")
    objects.put("tile/0/000.p/2", b"2")
    for _ in range(2):
        objects.delete("tile/0/000.p/1")
    assert objects.names("tile/0/000.p") == ("2",)


def test_an_object_is_read_in_pieces(objects):
    objects.put("a/b", b"0123456789")
    assert objects.size("a/b") == 10
    assert objects.read("a/b", 0, 4) == b"0123"
    assert objects.read("a/b", 8, 4) == b"89"
    assert objects.read("a/b", 10, 4) == b""
    for path in ("a", "a/c", "a/b/c"):
        with pytest.raises(NotFound):
            objects.size(path)
        with pytest.raises(NotFound):
            objects.read(path, 0, 1)


def test_files_leave_nothing_beside_them(tmp_path):
    objects = FileObjectStore(tmp_path)
    objects.put("a", b"1")
    objects.replace("a", b"2")
    objects.sync()
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [tmp_path / "a"]


def test_what_a_dead_writer_left_unfinished_is_discarded_and_nothing_else(objects):
    objects.discard_unfinished()
    objects.put("tile/0/000.p/1", b"one")
    objects.discard_unfinished()
    assert objects.get("tile/0/000.p/1") == b"one"


def test_unfinished_files_are_deleted(tmp_path):
    objects = FileObjectStore(tmp_path)
    objects.put("tile/0/000.p/1", b"one")
    (tmp_path / ".unfinished" / "4711-1").write_bytes(b"torn")
    objects.discard_unfinished()
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [tmp_path / "tile/0/000.p/1"]


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_a_disk_that_takes_no_more_costs_no_open_files_however_often_it_is_tried(tmp_path):
    """The publisher tries ten times a second, and one pass writes several objects before it fails."""
    objects = FileObjectStore(tmp_path)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = open_files()
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        for _ in range(5):
            objects.put("tile/0/000.p/1", b"small")
            with pytest.raises(OSError, match="too large"):
                objects.put("tile/0/000.p/2", bytes(2000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert open_files() <= before + 1
    assert objects.names("tile/0/000.p") == ("1",)
    objects.put("tile/0/000.p/2", bytes(2000))
    objects.sync()
    assert open_files() == before
    assert objects.get("tile/0/000.p/2") == bytes(2000)


def test_power_loss_forgets_what_was_not_synced():
    objects = MemoryObjectStore()
    objects.put("kept", b"kept")
    objects.sync()
    objects.put("kept", b"changed")
    objects.put("new", b"newer")
    objects.lose_power()
    assert objects.get("kept") == b"kept"
    assert objects.get("new") == b"ne"
