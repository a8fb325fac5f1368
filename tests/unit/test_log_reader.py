"""A reader shows nothing of a log that it has not proved, and nothing that is not there."""

import msgspec
import pytest
from tests.support.small_log import SmallLog, tree_hash

from hallmark.adapters.storage.memory import MemoryHeadStore, MemoryObjectStore
from hallmark.core.checkpoint import Checkpoint
from hallmark.core.merkle import leaf_hash
from hallmark.core.tiles import TileId, entry_bundle
from hallmark.errors import InvalidProof, MalformedInput, NotFound
from hallmark.tiledlog.objects import tile_reader

PUBLISHED, SIZE = 300, 600


@pytest.fixture
def log():
    made = SmallLog(MemoryHeadStore(), MemoryObjectStore()).create()
    made.append(*(b"leaf %d" % number for number in range(PUBLISHED)))
    made.publisher.publish()
    made.append(*(b"leaf %d" % number for number in range(PUBLISHED, SIZE)))
    return made


@pytest.mark.parametrize(
    ("tile", "stands"),
    [
        (TileId(None, 0), True),
        (TileId(None, 0, 44), False),  # the beginning of one
        (TileId(None, 1), False),  # committed, not published
        (TileId(None, 2), False),
        (TileId(0, 0), False),  # hashes are read, and so counted, otherwise
    ],
)
def test_a_full_bundle_that_is_published_stands_in_one_object(log, tile, stands):
    stored = log.reader.stored(tile)
    assert (stored is not None) == stands
    if stored is not None:
        assert stored.size == len(log.objects.get("tile/entries/000"))


@pytest.mark.parametrize("size", [1, SIZE - 1, SIZE])
def test_there_is_a_root_at_each_size_of_the_log(log, size):
    assert log.reader.root(size) == tree_hash([leaf_hash(b"leaf %d" % index) for index in range(size)])


@pytest.mark.parametrize("size", [0, SIZE + 1])
def test_there_is_no_root_and_no_proof_at_another_size(log, size):
    message = f"the log has {SIZE} entries, not {size}"
    stated = Checkpoint("log.example", size, bytes(32))
    for read in (
        lambda: log.reader.root(size),
        lambda: log.reader.inclusion_proof(0, size),
        lambda: log.reader.consistency_proof(1, size),
        lambda: log.reader.prove_all([log.reader.entry(0)], b"", stated),
    ):
        with pytest.raises(NotFound, match=message):
            read()


@pytest.mark.parametrize("index", [-1, SIZE])
def test_there_is_no_entry_outside_the_log(log, index):
    for read in (log.reader.entry, log.reader.record):
        with pytest.raises(NotFound, match=f"no entry {index}; its size is {SIZE}"):
            read(index)


def test_an_entry_is_proved_before_it_is_shown(log):
    leaves = [b"leaf %d" % index for index in range(256)]
    leaves[7] = b"forged"
    log.objects.put("tile/entries/000", entry_bundle(leaves))
    with pytest.raises(InvalidProof):
        log.reader.entry(7)
    assert log.reader.entry(8).leaf == b"leaf 8"


@pytest.mark.parametrize("change", [{"leaf": b"forged"}, {"index": 8}])
def test_an_entry_is_proved_against_the_checkpoint_that_is_shown_with_it(log, change):
    head = log.store.head()
    stated = Checkpoint("log.example", head.size, head.root)
    entry = log.reader.entry(7)
    assert log.reader.prove_all([entry], head.checkpoint, stated) == [entry]
    with pytest.raises(InvalidProof):
        log.reader.prove_all([msgspec.structs.replace(entry, **change)], head.checkpoint, stated)


def test_a_tile_that_is_gone_is_looked_for_once(log):
    """It is looked for again only where the publisher has moved on meanwhile."""
    log.objects.delete("tile/entries/000")
    with pytest.raises(NotFound, match="tile/entries/000"):
        log.reader.entry(7)


def test_an_entry_read_back_is_no_duplicate_and_proved_by_itself(log):
    entry = log.reader.entry(SIZE - 1)
    assert (entry.index, entry.duplicate, entry.tree_size) == (SIZE - 1, False, SIZE)
    assert entry.leaf == b"leaf %d" % (SIZE - 1)


@pytest.mark.parametrize("index", [-1, SIZE])
def test_there_is_no_hash_of_a_leaf_outside_the_log(log, index):
    view = log.reader._newest()
    assert view.leaf(0) == leaf_hash(b"leaf 0")
    with pytest.raises(NotFound, match=f"no entry {index}"):
        view.leaf(index)


def test_records_are_read_across_commits_and_what_is_published_each_once(log):
    log.append(b"another commit")
    view = log.reader._newest()
    for start, end in ((298, 302), (512, 601), (599, 601), (600, 601), (512, 600), (300, 301)):
        leaves = [b"leaf %d" % index if index < SIZE else b"another commit" for index in range(start, end)]
        assert b"".join(view.records(start, end)) == entry_bundle(leaves)


def test_staged_entries_of_which_some_are_gone_are_not_read(log):
    (commit,) = log.store._staged
    log.store._staged = (msgspec.structs.replace(commit, records=entry_bundle([b"leaf 300"])),)
    with pytest.raises(MalformedInput) as damaged:
        log.reader.record(SIZE - 1)
    assert damaged.value.code == "damaged_log"


@pytest.mark.parametrize("index", [0, 255, 256, PUBLISHED, SIZE - 1])
def test_a_record_is_read_with_its_framing(log, index):
    assert log.reader.record(index) == entry_bundle([b"leaf %d" % index])


def test_tiles_that_do_not_lead_to_the_head_s_root_are_not_read(log):
    log.store._head = msgspec.structs.replace(log.store.head(), root=bytes(32))
    with pytest.raises(MalformedInput) as damaged:
        log.reader.tile(TileId(0, 0))
    assert damaged.value.code == "damaged_log"


@pytest.mark.parametrize(
    ("tile", "asked"),
    [(TileId(0, 5), ["tile/0/005"]), (TileId(0, 5, 7), ["tile/0/005.p/7", "tile/0/005"])],
)
def test_a_full_tile_is_looked_for_in_one_place_and_a_partial_one_in_two(tile, asked):
    class Noting(MemoryObjectStore):
        def get(self, path):
            noted.append(path)
            return super().get(path)

    noted = []
    with pytest.raises(NotFound):
        tile_reader(Noting(), "entries")(tile)
    assert noted == asked


def test_a_read_that_the_publisher_outruns_each_time_ends(log):
    def read(_view):
        raise NotFound("it was collected")

    view = log.reader._newest()
    log.reader._newest = lambda: view
    log.store._head = msgspec.structs.replace(log.store.head(), applied=SIZE)
    with pytest.raises(NotFound, match="moved on"):
        log.reader._read(read)
