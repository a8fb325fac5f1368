"""Rebuilds a run of the dedup index from the keys of its entries, in bounded memory.

A run is its entries' keys in order, and nothing else: what is made here is the lost file, byte for byte, so
no table has to change. Parts are sorted in memory and merged from disk. A process that dies on the way leaves
files that no table names, which the next start deletes.
"""

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Final

from hallmark.adapters.storage.key_index import make_runs_folder
from hallmark.adapters.storage.key_run import RunMerge, RunName, record, write_run

PART_KEYS: Final = 262_144
_MERGE_RECORDS: Final = 65_536


def rebuild_run(folder: Path, name: RunName, keys: Iterable[tuple[bytes, int]]) -> None:
    """Write the run of these entries, durably, in place of what stands under its name.

    `keys` gives key and index of each entry in their order. Whatever it raises leaves the old file as it was,
    and so does a disk that does not take the bytes (`OSError`).
    """
    make_runs_folder(folder)
    if name.count <= PART_KEYS:
        _write_part(folder, name, keys)
        return
    parts: list[RunName] = []
    source = iter(keys)
    try:
        for part in _parts(name):
            _write_part(folder, part, islice(source, part.count))
            parts.append(part)
        merge = RunMerge(folder, parts)
        try:
            while not merge.step(_MERGE_RECORDS):
                pass
        except BaseException:
            merge.abandon()
            raise
    finally:
        for part in parts:
            (folder / part.file).unlink()


def _parts(name: RunName) -> Iterator[RunName]:
    for start in range(name.start, name.end, PART_KEYS):
        yield RunName(start, min(start + PART_KEYS, name.end))


def _write_part(folder: Path, name: RunName, keys: Iterable[tuple[bytes, int]]) -> None:
    write_run(folder, name, sorted(record(key, index) for key, index in keys))
