"""Instances of this machine: which directory stands behind which base URL.

`hallmark up` notes its directory here; `hallmark sign --instance URL` and `hallmark token --instance URL`
look it up. The file is `instances.json` in the user's state folder.
"""

from pathlib import Path
from typing import Final

import msgspec

from hallmark.client.files import locked, make_folder, read_file, write_file
from hallmark.client.folders import state_folder
from hallmark.errors import ConfigurationError, HallmarkError

_FILE: Final = "instances.json"
_LOCK: Final = ".instances.lock"
_MAX_BYTES: Final = 1 << 20


class NotedInstance(msgspec.Struct, frozen=True):
    """What is noted of an instance."""

    directory: str


def note_instance(url: str, directory: Path, *, folder: Path | None = None) -> None:
    """Note that the instance at base URL `url` keeps its state in `directory`.

    Raises `ConfigurationError` where the state folder cannot be written.
    """
    target = folder or state_folder()
    make_folder(target)
    with locked(target / _LOCK):
        noted = {**_read(target), _key(url): NotedInstance(directory=str(directory.absolute()))}
        write_file(target / _FILE, msgspec.json.format(msgspec.json.encode(noted), indent=2) + b"\n")


def find_instance(url: str, *, folder: Path | None = None) -> Path | None:
    """Find the directory of the instance at `url`; None where none is noted or it is gone."""
    try:
        noted = _read(folder or state_folder()).get(_key(url))
    except ConfigurationError:  # without a home nothing was noted
        return None
    if noted is None or not Path(noted.directory).is_dir():
        return None
    return Path(noted.directory)


def _key(url: str) -> str:
    return url.rstrip("/")


def _read(folder: Path) -> dict[str, NotedInstance]:
    """A damaged file counts as empty: it is only a note, and the next start of an instance mends it."""
    try:
        data = read_file(folder / _FILE, max_bytes=_MAX_BYTES)
        return msgspec.json.decode(data, type=dict[str, NotedInstance])
    except (HallmarkError, msgspec.MsgspecError, UnicodeDecodeError):
        return {}
