"""Whether a directory is the one that its instance ran in last, or a copy: `place.json` notes what it was.

A copy elsewhere has other files. One that is put back over the directory writes into the same files, but
cannot set the time of their last change (ctime, POSIX stat.h): a few that the instance never changes show it.
"""

import fcntl
import os
import struct
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from hallmark.durable_files import write_durably
from hallmark.errors import ConfigurationError, TrustError
from hallmark.wiring.layout import Layout

COPY_HINT: Final = (
    "docs/operate/restore.md says what to do; in short: hallmark log restore --data DIR --from MIRROR"
)
_GET_GENERATION: Final = 0x80087601  # FS_IOC_GETVERSION, ioctl_iflags(2)
_NEVER_CHANGED: Final = ("instance.json", "ca/chain.pem", "tsa/chain.pem", "client/root.json")


class Place(msgspec.Struct, frozen=True):
    """The number of each file, and its generation where the file system tells it: no copy has the same.

    `changed` has the ctime of files that are never changed, in nanoseconds; older notes lack it.
    """

    files: dict[str, tuple[int, int]]
    changed: dict[str, int] = {}

    def is_same(self, now: "Place") -> bool:
        """Compare what both know; a file system may begin or cease to tell generations.

        A shard that was opened since the note was made is no other place.
        """
        added = now.files.keys() - self.files.keys()
        return (
            self.files.keys() <= now.files.keys()
            and all(name.startswith("shards/") for name in added)
            and all(_is_same_file(item, now.files[name]) for name, item in self.files.items())
            and all(now.changed.get(name) == time for name, time in self.changed.items())
        )


def check_place(layout: Layout) -> None:
    """Check that this directory is the one the instance ran in last; raises `TrustError` for a copy.

    A directory without a note is taken as it is: it is new, or was made before there were notes.
    """
    if restoring(layout).exists():
        raise TrustError(
            f"{layout.root} is being restored, and nothing has ruled out yet that its logs went on elsewhere",
            code="restore_unfinished",
            hint=COPY_HINT,
        )
    noted, now = _noted(layout), _place(layout)
    if noted is not None and not noted.is_same(now):
        raise TrustError(
            f"{layout.root} is a copy, or one was put back over it: if the instance has signed anything "
            f"since that copy was made, to go on from here would fork its logs",
            code="copied_directory",
            hint=COPY_HINT,
        )
    if noted != now:
        note_place(layout)


def note_place(layout: Layout) -> None:
    """Note that the instance runs in this very directory."""
    write_durably(_file(layout), msgspec.json.encode(_place(layout)))


def is_noted(layout: Layout) -> bool:
    """Say whether this is the very directory of the note: what the instance changes itself is noted again."""
    with suppress(ConfigurationError):
        noted = _noted(layout)
        return noted is not None and noted.is_same(_place(layout))
    return False


def restoring(layout: Layout) -> Path:
    """The file that keeps an instance from starting until its restoring is finished."""
    return layout.root / "restoring"


def written_at(layout: Layout) -> int:
    """When instance.json was written here, in nanoseconds: a copy of the directory tells another time."""
    return os.stat(layout.instance_file).st_ctime_ns


def _file(layout: Layout) -> Path:
    return layout.root / "place.json"


def _noted(layout: Layout) -> Place | None:
    try:
        return msgspec.json.decode(_file(layout).read_bytes(), type=Place)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.MsgspecError) as error:
        raise ConfigurationError(
            f"{_file(layout)} cannot be read: {error}",
            code="damaged_state",
            hint="treat the directory as a copy: docs/operate/restore.md",
        ) from None


def _place(layout: Layout) -> Place:
    """Number folders and databases; the latter unopened: closing them would end SQLite's locks on them."""
    root = layout.root
    logs = (root / "tlog", root / "ctlog", *root.glob("shards/*"))
    folders = (root, layout.keys, *logs)
    files = {os.path.relpath(path, root): _number(path) for path in folders if path.is_dir()}
    changed: dict[str, int] = {}
    for folder in logs:
        with suppress(FileNotFoundError, NotADirectoryError):
            files[os.path.relpath(folder / "log.db", root)] = (os.stat(folder / "log.db").st_ino, 0)
    for name in _NEVER_CHANGED:
        with suppress(FileNotFoundError):
            changed[name] = os.stat(root / name).st_ctime_ns
    return Place(files, changed)


def _is_same_file(mine: tuple[int, int], theirs: tuple[int, int]) -> bool:
    return mine[0] == theirs[0] and (mine[1] == theirs[1] or not mine[1] or not theirs[1])


def _number(folder: Path) -> tuple[int, int]:
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        generation = 0
        with suppress(OSError):  # not every file system has them
            (generation,) = struct.unpack_from("=I", fcntl.ioctl(descriptor, _GET_GENERATION, bytes(8)))
        return os.fstat(descriptor).st_ino, generation
    finally:
        os.close(descriptor)
