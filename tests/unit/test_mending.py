"""Partial tiles that a crash may have torn are written again, and no others."""

import pytest

from hallmark.adapters.storage.memory import MemoryObjectStore
from hallmark.tiledlog.partials import mend_partials


@pytest.mark.parametrize(
    ("folder", "covered", "size", "names", "mended"),
    [
        ("tile/0/000.p", 100, 200, ("99", "100", "101", "150", "200", "201", "150~"), {"101", "150", "200"}),
        ("tile/entries/000.p", 100, 200, ("100", "101", "200", "201"), {"101", "200"}),
        ("tile/0/001.p", 100, 300, ("1", "44", "45"), {"1", "44"}),
        ("tile/1/000.p", 300, 700, ("1", "2", "3"), {"2"}),
    ],
)
def test_what_is_beyond_the_synced_tree_and_within_the_true_one_is_mended(
    folder, covered, size, names, mended
):
    objects = MemoryObjectStore()
    for name in names:
        objects.put(f"{folder}/{name}", b"torn")
    mend_partials(objects, "entries", covered, size, lambda part: b"%d whole" % part.width)
    for name in names:
        expected = f"{name} whole".encode() if name in mended else b"torn"
        assert objects.get(f"{folder}/{name}") == expected
