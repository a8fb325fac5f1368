"""What a disk holds when the power fails: a process's system calls, replayed up to any of them.

`record` runs a program under strace and reads every call that changes a file, a folder, or what is durable
of them. `Disk` replays them on a model of a file system that promises no more than POSIX does: a write is
durable once its file was synced, a name once its folder was. Of everything else, the power may have left
anything: `Fate.LOST` loses it all, `Fate.KEPT` keeps it all, `Fate.MIXED` keeps some sectors of some writes
and the first few changes of each folder.

SQLite's `-shm` files are mapped, not written, and made anew after a crash: they are left out.
"""

import os
import random
import re
import subprocess
from enum import Enum
from pathlib import Path

import msgspec

from tests.support.programs import require_program

SECTOR = 512
_CALLS = (
    "openat,close,write,pwrite64,ftruncate,rename,renameat,renameat2,unlink,unlinkat,mkdir,mkdirat,rmdir,"
    "fsync,fdatasync"
)
_UNEXPECTED = (
    "writev,pwritev,pwritev2,fallocate,link,linkat,symlink,dup,dup2,dup3,copy_file_range,sendfile,"
    "sync_file_range"
)
_LINE = re.compile(r"^(\d+) +(.*)$")
_CALL = re.compile(r"^(\w+)\((.*)\) += (-?\d+)")
_STRING = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')


class Call(msgspec.Struct, frozen=True):
    """A system call that succeeded: strings as bytes, the other arguments as they were printed."""

    name: str
    strings: tuple[bytes, ...]
    arguments: tuple[str, ...]
    result: int


def record(command: list[str], folder: Path, *, environment: dict[str, str]) -> list[Call]:
    """Run a program to its end under strace; `folder` takes the trace."""
    trace = folder / "trace"
    options = [
        "-f",
        "-qq",
        "-xx",
        "-s",
        str(1 << 24),
        "-e",
        f"trace={_CALLS},{_UNEXPECTED}",
        "-o",
        str(trace),
    ]
    subprocess.run(
        [require_program("strace", "apt-get install strace"), *options, *command],
        check=True,
        env=environment,
        timeout=300,
    )
    return list(_parse(trace.read_text()))


def _parse(text: str):
    begun: dict[str, str] = {}
    for line in text.splitlines():
        process, rest = _LINE.match(line).groups()
        if rest.endswith("<unfinished ...>"):
            begun[process] = rest.removesuffix("<unfinished ...>").rstrip()
            continue
        if rest.startswith("<... "):
            rest = begun.pop(process) + rest.partition(" resumed>")[2]
        found = _CALL.match(rest)
        if found is None or int(found[3]) < 0:
            continue  # it failed, or it tells of a process that ended
        strings = tuple(bytes.fromhex(item.replace("\\x", "")) for item in _STRING.findall(found[2]))
        plain = tuple(part.strip() for part in _STRING.sub('""', found[2]).split(","))
        yield Call(found[1], strings, plain, int(found[3]))


class Fate(Enum):
    """What becomes of what was not synced."""

    LOST = "lost"
    KEPT = "kept"
    MIXED = "mixed"


class _File:
    """One file's bytes: those that are durable, and what was done since."""

    def __init__(self, data: bytes = b"") -> None:
        self.durable = data
        self.size = len(data)
        self.pending: list[tuple[int, bytes | None]] = []  # a write at an offset, or a new size

    def change(self, offset: int, data: bytes | None) -> None:
        self.pending.append((offset, data))
        self.size = offset if data is None else max(self.size, offset + len(data))

    def sync(self) -> None:
        self.durable = self.after(Fate.KEPT, random.Random())
        self.pending.clear()

    def after(self, fate: Fate, chance: random.Random) -> bytes:
        data = bytearray(self.durable)
        for offset, change in self.pending if fate is not Fate.LOST else ():
            if change is None:
                if fate is Fate.KEPT or chance.random() < 0.5:
                    data[offset:] = bytes(max(offset - len(data), 0))
                continue
            for start in range(0, len(change), SECTOR):
                if fate is Fate.KEPT or chance.random() < 0.5:
                    sector = change[start : start + SECTOR]
                    data.extend(bytes(max(offset + start - len(data), 0)))
                    data[offset + start : offset + start + len(sector)] = sector
        return bytes(data)


class _Folder:
    """The names in one folder: those that are durable, and the changes since."""

    def __init__(self) -> None:
        self.durable: dict[str, _File | _Folder] = {}
        self.names: dict[str, _File | _Folder] = {}
        self.pending: list[tuple[str, _File | _Folder | None]] = []

    def change(self, name: str, node: "_File | _Folder | None") -> None:
        self.pending.append((name, node))
        _apply(self.names, name, node)

    def sync(self) -> None:
        self.durable = dict(self.names)
        self.pending.clear()

    def after(self, fate: Fate, chance: random.Random) -> "dict[str, _File | _Folder]":
        count = {Fate.LOST: 0, Fate.KEPT: len(self.pending)}.get(fate, chance.randint(0, len(self.pending)))
        names = dict(self.durable)
        for name, node in self.pending[:count]:
            _apply(names, name, node)
        return names


def _apply(names: "dict[str, _File | _Folder]", name: str, node: "_File | _Folder | None") -> None:
    if node is None:
        names.pop(name, None)
    else:
        names[name] = node


class Disk:
    """A folder as the calls of a process change it, begun from what is there now and taken for durable."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._top = self._load(root)
        self._open: dict[int, tuple[_File | _Folder | None, int]] = {}  # a node and the position in it

    def _load(self, path: Path) -> _Folder:
        folder = _Folder()
        for item in path.iterdir():
            if not item.name.endswith("-shm"):
                folder.change(item.name, self._load(item) if item.is_dir() else _File(item.read_bytes()))
        folder.sync()
        return folder

    def replay(self, call: Call) -> None:
        """Do what the call did."""
        if call.name in {"renameat", "renameat2", "unlinkat", "mkdirat"}:
            if not all(os.path.isabs(name) for name in call.strings):
                raise AssertionError(f"a path relative to an open folder: {call}")
            call = msgspec.structs.replace(call, name=call.name.partition("at")[0])
        if call.name not in _CALLS.split(","):
            if self._touches(call):
                raise AssertionError(f"the model does not know the call {call.name}")
            return
        step = {"write": self._write_call}.get(call.name) or getattr(self, f"_{call.name}")
        step(call)

    def write_image(self, target: Path, fate: Fate, chance: random.Random) -> None:
        """Write what the disk may hold if the power failed now."""
        self._write(self._top, target, fate, chance)

    def _write(self, folder: _Folder, target: Path, fate: Fate, chance: random.Random) -> None:
        target.mkdir()
        for name, node in folder.after(fate, chance).items():
            if isinstance(node, _Folder):
                self._write(node, target / name, fate, chance)
            else:
                (target / name).write_bytes(node.after(fate, chance))

    def _touches(self, call: Call) -> bool:
        named = any(self._find(name) for name in call.strings[:1])
        return named or (call.arguments[0].isdigit() and self._open.get(int(call.arguments[0])) is not None)

    def _find(self, raw: bytes) -> tuple[_Folder, str] | None:
        """The folder of a path below the root, and the name in it; None for paths elsewhere."""
        path = Path(os.fsdecode(raw))
        if path == self._root or not path.is_relative_to(self._root) or path.name.endswith("-shm"):
            return None
        folder = self._top
        for part in path.relative_to(self._root).parts[:-1]:
            folder = folder.names[part]
        return folder, path.name

    def _openat(self, call: Call) -> None:
        found = self._find(call.strings[0])
        if found is None:
            inside = os.fsdecode(call.strings[0]) == str(self._root)
            self._open[call.result] = (self._top if inside else None, 0)
            return
        folder, name = found
        flags = call.arguments[2]
        node = folder.names.get(name)
        if node is None:
            assert "O_CREAT" in flags, call
            node = _File()
            folder.change(name, node)
        elif "O_TRUNC" in flags:
            node.change(0, None)
        assert "O_APPEND" not in flags, call
        self._open[call.result] = (node, 0)

    def _close(self, call: Call) -> None:
        self._open.pop(int(call.arguments[0]), None)

    def _write_call(self, call: Call) -> None:
        number = int(call.arguments[0])
        node, position = self._open.get(number, (None, 0))
        if isinstance(node, _File):
            node.change(position, call.strings[0][: call.result])
            self._open[number] = (node, position + call.result)

    def _pwrite64(self, call: Call) -> None:
        node, _ = self._open.get(int(call.arguments[0]), (None, 0))
        if isinstance(node, _File):
            node.change(int(call.arguments[3]), call.strings[0][: call.result])

    def _ftruncate(self, call: Call) -> None:
        node, _ = self._open.get(int(call.arguments[0]), (None, 0))
        if isinstance(node, _File):
            node.change(int(call.arguments[1]), None)

    def _rename(self, call: Call) -> None:
        old, new = (self._find(name) for name in call.strings)
        if old is None and new is None:
            return
        node = old[0].names[old[1]]
        new[0].change(new[1], node)
        old[0].change(old[1], None)

    def _unlink(self, call: Call) -> None:
        found = self._find(call.strings[0])
        if found is not None:
            found[0].change(found[1], None)

    def _mkdir(self, call: Call) -> None:
        found = self._find(call.strings[0])
        if found is not None:
            found[0].change(found[1], _Folder())

    _rmdir = _unlink

    def _fsync(self, call: Call) -> None:
        node, _ = self._open.get(int(call.arguments[0]), (None, 0))
        if node is not None:
            node.sync()

    _fdatasync = _fsync
