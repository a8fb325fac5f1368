"""What a log has published is looked for at its start, wherever in the tree it is missing."""

import msgspec
import pytest
from tests.support.small_log import SmallLog

from hallmark.adapters.storage.memory import MemoryHeadStore, MemoryObjectStore
from hallmark.core.merkle import HASH_SIZE
from hallmark.errors import NotFound, TrustError
from hallmark.ports import LogHead
from hallmark.tiledlog import presence
from hallmark.tiledlog.presence import (
    check_nothing_beyond,
    check_presence,
    missing_objects,
    objects_beyond,
)
from hallmark.tiledlog.records import TLOG_TILES


class Names:
    """An object store of which only the names are asked for."""

    def __init__(self, missing: str) -> None:
        self.missing = missing
        self.listed: list[str] = []

    def names(self, folder: str) -> tuple[str, ...]:
        self.listed.append(folder)
        names = (f"{number:03d}" for number in range(1000))
        return tuple(name for name in names if f"{folder}/{name}" != self.missing)

    def get(self, path: str) -> bytes:
        raise NotFound(path)


def published(size: int) -> SmallLog:
    log = SmallLog(MemoryHeadStore(), MemoryObjectStore()).create()
    log.append(*(b"%d" % number for number in range(size)))
    log.publisher.recover()
    return log


def refusal(log: SmallLog) -> str:
    with pytest.raises(TrustError) as caught:
        log.publisher.recover()
    assert caught.value.code == "published_part_missing"
    return caught.value.message


@pytest.mark.parametrize("size", [0, 1, 255, 256, 257, 512, 700])
def test_a_whole_log_starts(size):
    published(size).publisher.recover()


@pytest.mark.parametrize(
    ("size", "folder"),
    [
        (1, "tile/0/000.p"),
        (1, "tile/entries/000.p"),
        (256, "tile/1/000.p"),
        (700, "tile/0/002.p"),
        (700, "tile/1/000.p"),
        (700, "tile/entries/002.p"),
    ],
)
def test_a_log_without_a_tile_of_its_right_edge_does_not_start(size, folder):
    log = published(size)
    log.objects.delete_folder(folder)
    assert "public" in refusal(log)


@pytest.mark.parametrize("name", ["tile/0/000", "tile/0/001", "tile/entries/000", "tile/entries/001"])
def test_a_log_without_a_full_tile_or_bundle_does_not_start(name):
    log = published(700)
    log.objects.delete(name)
    assert f"lacks {name}" in refusal(log)


def test_a_log_with_other_tiles_or_entries_than_its_own_does_not_start():
    log, other = published(300), published(299)
    other.append(b"another")
    other.publisher.recover()
    own = log.objects.get("tile/0/001.p/44")
    log.objects.put("tile/0/001.p/44", other.objects.get("tile/0/001.p/44"))
    assert "another tree" in refusal(log)
    log.objects.put("tile/0/001.p/44", own)
    log.objects.put("tile/entries/001.p/44", other.objects.get("tile/entries/001.p/44"))
    assert "other entries" in refusal(log)


def test_a_log_signs_nothing_while_its_published_part_is_gone():
    log = published(10)
    log.append(b"one more, not yet published")
    before = log.store.head()
    for folder in ("tile/0/000.p", "tile/1/000.p", "tile/entries/000.p"):
        log.objects.delete_folder(folder)
    refusal(log)
    assert log.store.head() == before


@pytest.mark.parametrize(("folders", "found"), [(64, True), (65, False)])
def test_names_are_listed_as_far_back_as_the_bound_says(folders, found):
    """The first full bundle is looked for while its folder is among the newest ones."""
    assert presence.MAX_LISTED_FOLDERS == 64
    store = Names("tile/entries/000")
    size = folders * 1000 * 256
    head = LogHead(size, b"", 0, (), b"", size, ())
    with pytest.raises(TrustError) as caught:  # what is not listed cannot be read either
        check_presence(store, TLOG_TILES, head, "log.example")
    assert ("lacks tile/entries/000" in str(caught.value)) == found
    assert len([folder for folder in store.listed if "entries" in folder]) == 64 if not found else True


@pytest.mark.parametrize(
    ("tiles", "name"),
    [
        (256, "tile/entries/255"),
        (256, "tile/0/000"),
        (256, "tile/1/000"),
        (256**2, "tile/1/255"),
        (256**2, "tile/2/000"),
        (1001, "tile/0/x001/000"),
        (1001, "tile/entries/x001/000"),
        (1001, "tile/entries/999"),
        (1001, "tile/entries/000"),
    ],
)
def test_a_full_tile_or_bundle_is_missed_at_every_level_and_in_every_folder(tiles, name):
    head = LogHead(tiles * 256, b"", 0, (), b"", tiles * 256, ())
    found = [text for text in missing_objects(Names(name), TLOG_TILES, head) if text.startswith("lacks")]
    assert found == [f"lacks {name}"]


def test_the_head_is_read_once_where_nothing_is_beyond_it():
    """To read it takes the database; what stands before it in a folder needs no such question."""
    log, asked = published(700), []
    log.objects.put("tile/entries/002.p/tmp", b"half written")
    log.objects.put("tile/entries/tmp", b"half written")
    assert list(objects_beyond(log.objects, TLOG_TILES, lambda: asked.append(1) or 700)) == []
    assert len(asked) == 1


def test_what_is_not_published_yet_is_not_missing():
    log = SmallLog(MemoryHeadStore(), MemoryObjectStore()).create()
    log.append(b"one")
    head = log.store.head()
    assert head.applied == 0
    check_presence(log.objects, TLOG_TILES, head, "log.example")
    ahead = msgspec.structs.replace(head, applied=1, applied_edge=(bytes(HASH_SIZE),))
    with pytest.raises(TrustError):
        check_presence(log.objects, TLOG_TILES, ahead, "log.example")


BEYOND = [
    (0, "tile/entries/000.p/1"),
    (0, "tile/0/000"),
    (5, "tile/entries/000.p/6"),
    (5, "tile/0/000.p/6"),
    (5, "tile/entries/000"),
    (255, "tile/0/000"),
    (255, "tile/1/000.p/1"),
    (256, "tile/0/001.p/1"),
    (256, "tile/1/000.p/2"),
    (256, "tile/entries/002"),
    (700, "tile/entries/002.p/189"),
    (700, "tile/2/000.p/1"),
    (700, "tile/7/000.p/1"),
]


@pytest.mark.parametrize(("size", "path"), BEYOND)
def test_what_was_published_beyond_the_head_shows_an_older_copy(size, path):
    log = published(size)
    log.objects.put(path, b"of a larger tree")
    with pytest.raises(TrustError) as caught:
        check_nothing_beyond(log.objects, TLOG_TILES, lambda: size, "log.example")
    assert caught.value.code == "log_behind_its_checkpoint"
    assert path in caught.value.message


@pytest.mark.parametrize("size", [0, 1, 255, 256, 257, 512, 700])
def test_nothing_of_a_whole_log_is_beyond_its_head_and_all_of_it_beyond_one_entry_less(size):
    log = published(size)
    assert list(objects_beyond(log.objects, TLOG_TILES, lambda: size)) == []
    if size:
        assert list(objects_beyond(log.objects, TLOG_TILES, lambda: size - 1)) != []


def test_what_is_published_while_names_are_listed_is_not_beyond():
    log = published(10)
    sizes = iter([3, *[10] * 99])
    assert list(objects_beyond(log.objects, TLOG_TILES, lambda: next(sizes))) == []
