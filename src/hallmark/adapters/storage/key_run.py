"""A run: one immutable file of dedup keys in the order of the keys, a part of a log's dedup index.

    uint8  magic[8]
    uint64 start, end                       the entries [start, end), one record for each
    struct { uint8 key[32]; uint48 index; } record[end - start]
    uint64 first[ceil((end - start) / 32)]  the beginning of every 32nd key
    uint8  filter[end - start]              see `key_filter`
    uint8  sha256[32]                       of all before

All numbers are big-endian. Whoever looks a key up has `filter` and `first` in memory; for a key that the run
may hold it reads one block of 32 records. Keys come from callers, who may choose them: nothing here takes
them for evenly spread.
"""

import hashlib
import os
import struct
import sys
from array import array
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec

from hallmark.adapters.storage.key_filter import KeyFilter
from hallmark.durable_files import naming, sync_folder, write_all
from hallmark.ports import DEDUP_KEY_SIZE, StorageFailed

RECORD_SIZE: Final = DEDUP_KEY_SIZE + 6
_MAGIC: Final = b"HMKEYS1\n"
_HEADER: Final = struct.Struct(">8sQQ")
_BLOCK: Final = 32
_FIRST_SIZE: Final = 8
_HASH_SIZE: Final = 32
_PAGE: Final = 8192
_SYNC_BYTES: Final = 4 * 1024 * 1024


class RunName(msgspec.Struct, frozen=True, order=True):
    """The entries [start, end), whose keys a run holds."""

    start: int
    end: int

    @property
    def count(self) -> int:
        """How many keys the run holds."""
        return self.end - self.start

    @property
    def file(self) -> str:
        """The name of the file."""
        return f"keys-{self.start}-{self.end}.run"

    @property
    def bytes(self) -> int:
        """The size of the file."""
        return self.filter_offset + self.count + _HASH_SIZE

    @property
    def first_offset(self) -> int:
        """Where `first` begins in the file."""
        return _HEADER.size + RECORD_SIZE * self.count

    @property
    def filter_offset(self) -> int:
        """Where the filter begins in the file."""
        return self.first_offset + _FIRST_SIZE * -(-self.count // _BLOCK)


def record(key: bytes, index: int) -> bytes:
    """Make one record; records sort as their keys do."""
    return key + index.to_bytes(RECORD_SIZE - DEDUP_KEY_SIZE, "big")


def split_record(data: bytes) -> tuple[bytes, int]:
    """Read the key and the index of one record."""
    return data[:DEDUP_KEY_SIZE], int.from_bytes(data[DEDUP_KEY_SIZE:], "big")


def split_records(data: bytes) -> list[bytes]:
    """Cut joined records."""
    return [data[start : start + RECORD_SIZE] for start in range(0, len(data), RECORD_SIZE)]


def _prefix(key: bytes) -> int:
    return int.from_bytes(key[:_FIRST_SIZE], "big")


class KeyRun:
    """An open run.

    Raises `FileNotFoundError` where there is no such file (a merge may have replaced it), and
    `StorageFailed` for one of another size or beginning. The records themselves are trusted; see `complaint`.
    """

    def __init__(self, folder: Path, name: RunName) -> None:
        self.name = name
        self._path = folder / name.file
        self._descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            if os.fstat(self._descriptor).st_size != name.bytes:
                raise StorageFailed(f"{self._path} has not the {name.bytes} bytes of its {name.count} keys")
            if self._read(0, _HEADER.size) != _HEADER.pack(_MAGIC, name.start, name.end):
                raise StorageFailed(f"{self._path} does not begin as the keys of its entries do")
            self._first = self._read_first()
            self._filter = KeyFilter(name.count, self._read(name.filter_offset, name.count))
        except BaseException:
            os.close(self._descriptor)
            raise

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)

    def find(self, key: bytes) -> int | None:
        """Find the index of the entry with this key."""
        if not self._filter.may_hold(key):
            return None
        prefix = _prefix(key)
        end = bisect_right(self._first, prefix)
        if end == 0:
            return None
        start = end - 1
        while start and self._first[start] == prefix:  # it may stand in the block before
            start -= 1
        data = self.records(start * _BLOCK, (end - start) * _BLOCK)
        at = data.find(key)
        while at > 0 and at % RECORD_SIZE:  # the end of one record and the beginning of the next
            at = data.find(key, at + 1)
        return None if at < 0 else split_record(data[at : at + RECORD_SIZE])[1]

    def records(self, start: int, count: int) -> bytes:
        """Read up to `count` records from number `start` on."""
        count = min(count, self.name.count - start)
        return self._read(_HEADER.size + RECORD_SIZE * start, RECORD_SIZE * count)

    def rows(self) -> Iterator[tuple[bytes, int]]:
        """Read every key with its index, in the order of the keys."""
        for start in range(0, self.name.count, _PAGE):
            yield from map(split_record, split_records(self.records(start, _PAGE)))

    def complaint(self) -> str | None:
        """Read the whole file and say what is wrong with it."""
        digest, left, offset = hashlib.sha256(), self.name.bytes - _HASH_SIZE, 0
        while left:
            part = self._read(offset, min(left, _SYNC_BYTES))
            digest.update(part)
            offset, left = offset + len(part), left - len(part)
        if digest.digest() != self._read(offset, _HASH_SIZE):
            return f"{self._path.name} does not have the hash that stands at its end"
        return None

    def _read(self, offset: int, size: int) -> bytes:
        try:
            data = os.pread(self._descriptor, size, offset)
        except OSError as error:
            raise StorageFailed(f"{self._path}: {error}") from error
        if len(data) != size:
            raise StorageFailed(f"{self._path} ends early")
        return data

    def _read_first(self) -> "array[int]":
        offset = self.name.first_offset
        first = array("Q", self._read(offset, self.name.filter_offset - offset))
        if sys.byteorder == "little":
            first.byteswap()
        return first


class RunWriter:
    """Writes a run; nothing stands under its name before `finish`, which makes it durable.

    A large run is synced while it grows, so that no commit waits behind hundreds of megabytes. Raises
    `OSError` where the disk does not take the bytes, `StorageFailed` where a sync fails.
    """

    def __init__(self, folder: Path, name: RunName) -> None:
        self._name = name
        self._folder = folder
        self._beside = folder / f".{name.file}.{os.getpid()}"
        self._descriptor = os.open(self._beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        self._digest = hashlib.sha256()
        self._first = array("Q")
        self._filter = KeyFilter(name.count)
        self._written = 0
        self._unsynced = 0
        self._put(_HEADER.pack(_MAGIC, name.start, name.end))

    def write(self, records: Sequence[bytes]) -> None:
        """Write the next records; the caller has sorted them."""
        for at in range(-self._written % _BLOCK, len(records), _BLOCK):
            self._first.append(_prefix(records[at]))
        self._written += len(records)
        joined = b"".join(records)
        self._filter.add(joined, RECORD_SIZE)
        self._put(joined)

    def finish(self) -> None:
        """Give the file its end and its name."""
        if self._written != self._name.count:
            raise ValueError(f"{self._written} records for {self._name.count} entries")
        if sys.byteorder == "little":
            self._first.byteswap()
        self._put(self._first.tobytes())
        self._put(self._filter.to_bytes())
        self._put(self._digest.digest())
        self._sync()
        self._close()
        self._beside.rename(self._folder / self._name.file)
        try:
            sync_folder(self._folder)
        except OSError as error:
            raise StorageFailed(f"{self._folder}: {error}") from error

    def abandon(self) -> None:
        """Leave nothing behind."""
        self._close()
        self._beside.unlink(missing_ok=True)

    def _close(self) -> None:
        if self._descriptor >= 0:  # once: its number may be another file's by now
            os.close(self._descriptor)
            self._descriptor = -1

    def _put(self, data: bytes) -> None:
        self._digest.update(data)
        with naming(self._beside):
            write_all(self._descriptor, data)
        self._unsynced += len(data)
        if self._unsynced >= _SYNC_BYTES:
            self._sync()

    def _sync(self) -> None:
        try:
            os.fsync(self._descriptor)
        except OSError as error:
            raise StorageFailed(f"{self._beside}: {error}") from error
        self._unsynced = 0


def write_run(folder: Path, name: RunName, records: Sequence[bytes]) -> None:
    """Write a whole run, durably, of sorted records; whatever fails leaves no new file."""
    writer = RunWriter(folder, name)
    try:
        writer.write(records)
        writer.finish()
    except BaseException:
        writer.abandon()
        raise


class RunMerge:
    """Merges neighbouring runs, some records at a time: all of them may take minutes, a step milliseconds."""

    def __init__(self, folder: Path, names: Sequence[RunName]) -> None:
        self.names = tuple(names)
        self.name = RunName(names[0].start, names[-1].end)
        self._writer = RunWriter(folder, self.name)
        self._cursors: list[_Cursor] = []
        try:
            for name in names:
                self._cursors.append(_Cursor(KeyRun(folder, name)))
        except BaseException:
            self.abandon()
            raise

    def step(self, count: int) -> bool:
        """Merge about `count` records; say whether that was the last of them, and the run is durable."""
        left = sum(cursor.left for cursor in self._cursors)
        pages = [cursor.peek(max(count * cursor.left // left, 1)) for cursor in self._cursors]
        bounds = [
            page[-1] for page, cursor in zip(pages, self._cursors, strict=True) if len(page) < cursor.left
        ]
        merged: list[bytes] = []
        for page, cursor in zip(pages, self._cursors, strict=True):
            taken = bisect_right(page, min(bounds)) if bounds else len(page)
            cursor.skip(taken)
            merged += page[:taken]
        merged.sort()
        self._writer.write(merged)
        if any(cursor.left for cursor in self._cursors):
            return False
        self._writer.finish()
        self.close()
        return True

    def abandon(self) -> None:
        """Stop, and leave nothing behind."""
        self._writer.abandon()
        self.close()

    def close(self) -> None:
        """Close the runs that are merged."""
        for cursor in self._cursors:
            cursor.run.close()


class _Cursor:
    """How far a run is merged."""

    def __init__(self, run: KeyRun) -> None:
        self.run = run
        self._position = 0

    @property
    def left(self) -> int:
        return self.run.name.count - self._position

    def peek(self, count: int) -> list[bytes]:
        return split_records(self.run.records(self._position, count)) if self.left else []

    def skip(self, count: int) -> None:
        self._position += count
