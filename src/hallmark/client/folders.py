"""The user's folders (XDG Base Directory Specification).

This is the one place where the client reads the environment; every function that needs a folder also takes
one as an argument.
"""

import os
from pathlib import Path


def config_folder() -> Path:
    """Find the folder of the user's settings: `$XDG_CONFIG_HOME/hallmark`."""
    return _folder("XDG_CONFIG_HOME", ".config")


def cache_folder() -> Path:
    """Find the folder of what can be fetched again: `$XDG_CACHE_HOME/hallmark`."""
    return _folder("XDG_CACHE_HOME", ".cache")


def state_folder() -> Path:
    """Find the folder of what Hallmark notes for itself: `$XDG_STATE_HOME/hallmark`."""
    return _folder("XDG_STATE_HOME", ".local/state")


def _folder(variable: str, default: str) -> Path:
    """A relative value is ignored, as the specification demands."""
    named = Path(os.environ.get(variable, ""))
    return (named if named.is_absolute() else Path("~").expanduser() / default) / "hallmark"
