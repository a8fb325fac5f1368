"""What stands outside an instance's directory and shows whether its logs are the newest ones.

An older copy of a log looks right from within: only those who saw what came after it can tell. Asked at
every start are its witnesses, and the directory itself: it notes whether it is the one that wrote last.
"""

import fcntl
import os
import struct
from contextlib import closing, suppress
from pathlib import Path
from typing import Final

import msgspec

from hallmark.core.tiles import TILE_WIDTH, TileId
from hallmark.durable_files import write_durably
from hallmark.errors import ConfigurationError, HallmarkError, TrustError
from hallmark.ports import LogHead
from hallmark.tiledlog.objects import tile_reader
from hallmark.tiledlog.presence import RESTORE_HINT
from hallmark.tiledlog.publisher import Publisher
from hallmark.wiring.entry_rules import rules_of
from hallmark.wiring.layout import Layout
from hallmark.wiring.logs import OpenLog
from hallmark.witness.client import Sighting
from hallmark.witness.gathering import Witnesses

_GET_GENERATION: Final = 0x80087601  # FS_IOC_GETVERSION, ioctl_iflags(2)
_HINT: Final = (
    "docs/operate/restore.md says what to do; in short: hallmark log restore --data DIR --from MIRROR"
)


class Place(msgspec.Struct, frozen=True):
    """The number of each file, and its generation where the file system tells it: no copy has the same."""

    files: dict[str, tuple[int, int]]

    def is_same(self, other: "Place") -> bool:
        """Compare what both know; a file system may begin or cease to tell generations."""
        return self.files.keys() == other.files.keys() and all(
            mine[0] == theirs[0] and (mine[1] == theirs[1] or not mine[1] or not theirs[1])
            for mine, theirs in ((item, other.files[name]) for name, item in self.files.items())
        )


def check_place(layout: Layout) -> None:
    """Check that this directory is the one the instance ran in last; raises `TrustError` for a copy.

    A directory without a note is taken as it is: it is new, or was made before there were notes.
    """
    if restoring(layout).exists():
        raise TrustError(
            f"{layout.root} is being restored, and nothing has ruled out yet that its logs went on elsewhere",
            code="restore_unfinished",
            hint=_HINT,
        )
    noted = _noted(layout)
    if noted is None:
        note_place(layout)
    elif not noted.is_same(_place(layout)):
        raise TrustError(
            f"{layout.root} is a copy: if the instance has signed anything since, to go on from here would "
            f"fork its logs",
            code="copied_directory",
            hint=_HINT,
        )


def note_place(layout: Layout) -> None:
    """Note that the instance runs in this very directory."""
    write_durably(_file(layout), msgspec.json.encode(_place(layout)))


def restoring(layout: Layout) -> Path:
    """The file that keeps an instance from starting until its restoring is finished."""
    return layout.root / "restoring"


def check_witnesses_saw(witnesses: Witnesses | None, log: OpenLog, publisher: Publisher) -> None:
    """Ask the witnesses of a log what they have seen of it; raises `TrustError` where it has less.

    One that shows no note may lie; the operator can drop it from the policy, and a fork cannot be undone.
    """
    if witnesses is None or _head(log).frozen:  # a frozen log signs nothing more
        return
    for sighting in look(witnesses, log).values():
        check_sighting(sighting, log, publisher)


def check_newest_entries(log: OpenLog) -> None:
    """Check the newest published entries, and that what they refer to is there; raises `TrustError`."""
    head, objects = _head(log), log.objects()
    if head.applied:
        index = (head.applied - 1) // TILE_WIDTH
        width = head.applied - index * TILE_WIDTH
        data = tile_reader(objects, log.records.folder)(TileId(None, index, width))
        check = rules_of(log.records, objects).check
        try:
            for place, record in enumerate(log.records.split(data)[:width], index * TILE_WIDTH):
                check(place, record)
        except HallmarkError as error:
            raise TrustError(
                f"the log {log.signer.origin} is not whole: {error.message}",
                code="published_part_missing",
                hint=RESTORE_HINT,
            ) from error


def look(witnesses: Witnesses | None, log: OpenLog) -> dict[str, Sighting]:
    """Ask the witnesses of a log how far they have seen it; those that do not answer are left out."""
    if witnesses is None:
        return {}
    note = _head(log).checkpoint
    return witnesses.look(note, log.signer.verify(note))


def check_sighting(sighting: Sighting, log: OpenLog, publisher: Publisher) -> None:
    """Check that the log is no older than what a witness has seen of it; raises `TrustError`."""
    name = f"the witness {sighting.witness}"
    if sighting.note and _is_signed(sighting.note, log):
        publisher.check_signed(sighting.note, f"{name} shows")
        return
    size = _head(log).size
    if sighting.size > size or sighting.other:
        seen = f"{sighting.size} entries" if sighting.size > size else "another tree of this size"
        raise TrustError(
            f"{name} says that it has cosigned {seen} of the log {log.signer.origin}, which has {size} here",
            code="log_behind_its_checkpoint",
            hint=f"{_HINT}; if the witness is wrong, take it out of the policy",
        )


def _head(log: OpenLog) -> LogHead:
    with closing(log.store()) as store:
        return store.head()


def _is_signed(note: bytes, log: OpenLog) -> bool:
    try:
        log.signer.verify(note)
    except HallmarkError:
        return False
    return True


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
    folders = (layout.root, layout.keys, layout.root / "tlog", layout.root / "ctlog")
    files = {os.path.relpath(path, layout.root): _number(path) for path in folders if path.is_dir()}
    for name in ("tlog", "ctlog"):
        with suppress(FileNotFoundError):
            files[f"{name}/log.db"] = (os.stat(layout.database(name)).st_ino, 0)
    return Place(files)


def _number(folder: Path) -> tuple[int, int]:
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        generation = 0
        with suppress(OSError):  # not every file system has them
            (generation,) = struct.unpack_from("=I", fcntl.ioctl(descriptor, _GET_GENERATION, bytes(8)))
        return os.fstat(descriptor).st_ino, generation
    finally:
        os.close(descriptor)
