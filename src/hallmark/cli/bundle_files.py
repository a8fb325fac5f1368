"""Where bundles stand: beside their files, under a suffix."""

from collections.abc import Sequence
from typing import Final

SUFFIX: Final = ".sigstore.json"
OLD_SUFFIX: Final = ".sigstore"
SUFFIXES: Final = (SUFFIX, OLD_SUFFIX)


def without_bundles(names: Sequence[str]) -> list[str]:
    """Leave out the bundles of files that are named too: `dist/*` means the files in it."""
    named = set(names)
    return [name for name in dict.fromkeys(names) if not (named & set(_owners(name)))]


def _owners(name: str) -> list[str]:
    """Name the files that a file could be the bundle of."""
    return [name.removesuffix(suffix) for suffix in SUFFIXES if name.endswith(suffix)]
