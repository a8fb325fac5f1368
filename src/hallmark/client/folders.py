"""The user's folders (XDG Base Directory Specification).

Here, and where `HttpClient` looks for proxies, the client reads the environment; every function that needs a
folder also takes one as an argument. A process may have no home: a user without an entry in the system's
list, in a container. Each of these raises `ConfigurationError` (`no_home`) then.
"""

import os
from pathlib import Path

from hallmark.errors import ConfigurationError


def config_folder() -> Path:
    """Find the folder of the user's settings: `$XDG_CONFIG_HOME/hallmark`."""
    return _folder("XDG_CONFIG_HOME", ".config")


def cache_folder() -> Path:
    """Find the folder of what can be fetched again: `$XDG_CACHE_HOME/hallmark`."""
    return _folder("XDG_CACHE_HOME", ".cache")


def state_folder() -> Path:
    """Find the folder of what Hallmark notes for itself: `$XDG_STATE_HOME/hallmark`."""
    return _folder("XDG_STATE_HOME", ".local/state")


def data_folder() -> Path:
    """Find the folder of what the user's programs keep: `$XDG_DATA_HOME/hallmark`."""
    return _folder("XDG_DATA_HOME", ".local/share")


def _folder(variable: str, default: str) -> Path:
    """A relative value is ignored, as the specification demands."""
    named = Path(os.environ.get(variable, ""))
    return (named if named.is_absolute() else _home(variable) / default) / "hallmark"


def _home(variable: str) -> Path:
    # an empty HOME would be the root folder, a relative one wherever the process stands
    home = Path(os.environ.get("HOME", os.path.expanduser("~")))
    if not home.is_absolute():
        raise ConfigurationError(
            "this user has no home folder",
            code="no_home",
            hint=f"set HOME or {variable}, or name the files that the command needs with its options",
        )
    return home
