"""Every entry has one row in the dedup index, and every row an entry."""

import pytest

from hallmark.errors import MalformedInput
from hallmark.tiledlog import dedup_check
from hallmark.tiledlog.dedup_check import DedupCheck
from hallmark.tiledlog.findings import Findings


class Rows:
    """The rows of an index, in the order in which they are listed."""

    def __init__(self, *rows: tuple[bytes, int]) -> None:
        self.listed = rows
        self.asked: list[int] = []
        self.scanned = 0

    def indexes(self, entries):
        self.asked.append(len(entries))
        return {key: index for key, index in self.listed if key in entries}

    def rows(self):
        self.scanned += 1
        return self.listed


def key_of(record: bytes) -> bytes:
    if record == b"malformed":
        raise MalformedInput("it has no key")
    return b"key of " + record


def row(index: int, *, of: int | None = None) -> tuple[bytes, int]:
    return key_of(b"%d" % (index if of is None else of)), index


def check(rows: Rows, records: list[bytes]) -> list[tuple[str, str]]:
    findings = Findings()
    checking = DedupCheck(rows, key_of, findings)
    checking.take(0, records)
    checking.finish(len(records))
    return [(item.code, str(item.found)) for item in findings.first]


def entries(count: int) -> list[bytes]:
    return [b"%d" % index for index in range(count)]


def test_a_sound_index_is_not_listed():
    rows = Rows(*map(row, range(5)))
    assert check(rows, entries(5)) == []
    assert (rows.asked, rows.scanned) == ([5], 0)


@pytest.mark.parametrize(("count", "asked"), [(8191, []), (8192, [8192]), (8193, [8193])])
def test_so_many_entries_are_looked_up_together(count, asked):
    rows = Rows()
    checking = DedupCheck(rows, key_of, Findings())
    checking.take(0, entries(count))
    assert rows.asked == asked
    checking.take(count, [b"one more"])
    checking.finish(0)
    assert sum(rows.asked) == count + 1


def test_an_entry_that_stands_in_the_log_twice_is_found():
    assert check(Rows(row(0), row(1)), [b"0", b"1", b"0"]) == [("entry_twice", "")]


@pytest.mark.parametrize("hidden", [b"", b"malformed"])
def test_a_row_that_belongs_to_no_entry_is_found_beside_one_that_damage_hides(hidden):
    rows = Rows(row(1), row(3, of=7))
    assert check(rows, [hidden, b"1", b"2"]) == [("dedup_missing", "no row"), ("dedup_stray", "3")]


@pytest.mark.parametrize("index", [-1, 0, 2, 3])
def test_rows_name_entries_of_the_log_once(index):
    """The third entry lacks its row; one of another key names it, or one that has a row, or none at all."""
    found = check(Rows(row(0), row(1), (b"another key", index)), entries(3))
    assert found == [("dedup_missing", "no row"), ("dedup_stray", str(index))]


def test_so_many_wrong_entries_are_remembered(monkeypatch):
    monkeypatch.setattr(dedup_check, "_MAX_MISSING", 2)
    strange = [(b"strange %d" % index, index) for index in range(3)]
    found = check(Rows(*strange), entries(3))
    assert found == [("dedup_missing", "no row")] * 3 + [("dedup_stray", "0"), ("dedup_stray", "1")]
