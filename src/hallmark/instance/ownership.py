"""Whose an instance's directory is, and who else may write to it or read its secrets.

What anybody may read (tiles, checkpoints, trust material) stays readable, so that a static web server can
serve it; nobody but the owner may replace it.
"""

import logging
import os
import pwd
import stat
from contextlib import suppress
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final

from hallmark.errors import ConfigurationError

logger = logging.getLogger("hallmark.instance")

_PRIVATE: Final = ("keys", "idp", "client/token_secret")  # whose content nobody else may read
_OURS: Final = (
    *("keys", "idp", "ca", "tsa", "tuf", "client", "tlog", "ctlog", "shards"),
    *("instance.json", "witnesses.json", "shards.json", "trust.lock", "lock", "witness.json"),
    *("heads.db", "heads.db-wal", "heads.db-shm"),
)
# A user who may read a file may lock it: what we lock, or SQLite, nobody else may open at all.
_LOCKED: Final = ("lock", "*.lock", "*.db", "*.db-wal", "*.db-shm")
_OTHERS_WRITE: Final = 0o022
_OTHERS: Final = 0o077
_SHALLOW: Final = 1  # levels of `public`: what stands below was made under the same umask


def shut_out_others() -> None:
    """Let nothing that this process makes be written by others, whatever the umask was."""
    os.umask(os.umask(_OTHERS) | _OTHERS_WRITE)


def check_owner(root: Path) -> None:
    """Refuse to write to another user's directory; raises `ConfigurationError` (`not_the_owner`).

    Root is refused too: it would leave files that the instance cannot read. It does not go on as the owner,
    because the owner may not be allowed to read the very code that runs.
    """
    owner = os.stat(root).st_uid
    if owner != os.geteuid():
        raise _not_the_owner(root, owner)


def close_to_others(root: Path) -> int:
    """Take from others what they must not have of what is ours; gives how much that was, and says so.

    Raises `ConfigurationError` (`not_the_owner`) for what another user has put there.
    """
    changed = sum(_close(root / name, _OTHERS) for name in _PRIVATE) + _close(root, _OTHERS_WRITE)
    changed += sum(_close_below(root / name) for name in _OURS)
    if changed:
        logger.warning(
            "%d files and folders of %s were open to other users, and no longer are", changed, root
        )
    return changed


def _close_below(path: Path, levels: int | None = None) -> int:
    """Close a file, or a folder and what it holds.

    Below `levels` only folders that were open are looked into: there are millions of tiles.
    """
    locked = any(fnmatchcase(path.name, pattern) for pattern in _LOCKED)
    changed = _close(path, _OTHERS if locked else _OTHERS_WRITE)
    if path.is_symlink() or not path.is_dir() or (levels == 0 and not changed):
        return changed
    below = None if levels is None else max(levels - 1, 0)
    if path.name == "public":
        below = _SHALLOW
    return changed + sum(_close_below(item, below) for item in path.iterdir())


def _close(path: Path, mask: int) -> int:
    """Take these bits away; gives 1 where there were any."""
    with suppress(FileNotFoundError):  # deleted meanwhile, as unfinished objects are
        found = path.lstat()
        if stat.S_ISLNK(found.st_mode):
            return 0  # where it leads is the operator's
        if found.st_uid != os.geteuid() != 0:
            raise _not_the_owner(path, found.st_uid)
        if stat.S_IMODE(found.st_mode) & mask:
            path.chmod(stat.S_IMODE(found.st_mode) & ~mask)
            return 1
    return 0


def _not_the_owner(path: Path, owner: int) -> ConfigurationError:
    me, name = os.geteuid(), _name(owner)
    return ConfigurationError(
        f"{path} belongs to {name}, not to {_name(me)}, who runs this",
        code="not_the_owner",
        hint=f"run it as {name} (sudo -u '#{owner}' ...), or give the directory away with chown -R",
    )


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"
