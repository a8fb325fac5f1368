"""Named instances, each pinned to its root (`contexts.json` in the user's config folder).

A context is a name for a base URL and the SHA-256 fingerprint of the root.json that is trusted for it.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Final, Self

import msgspec

from hallmark.client.files import locked, make_folder, read_file, write_file
from hallmark.client.folders import config_folder
from hallmark.errors import ConfigurationError

_FILE: Final = "contexts.json"
_LOCK: Final = ".contexts.lock"
_MAX_BYTES: Final = 1 << 20
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)
_FINGERPRINT: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)


class Context(msgspec.Struct, frozen=True, kw_only=True):
    """A named instance: its base URL, its TUF repository, and SHA-256 (hex) of its first root.json."""

    name: str
    url: str
    tuf_url: str
    root_fingerprint: str


class Contexts(msgspec.Struct, frozen=True, kw_only=True):
    """All contexts by name, and which one is current ("" for none)."""

    current: str = ""
    contexts: dict[str, Context] = {}

    def get(self, name: str) -> Context:
        """Find a context by name; raises `ConfigurationError`."""
        try:
            return self.contexts[name]
        except KeyError:
            raise ConfigurationError(
                f"there is no context {name!r}",
                code="unknown_context",
                hint="hallmark context list shows them, hallmark context add makes one",
            ) from None

    def find(self, name_or_url: str) -> Context | None:
        """Find a context by its name, or by the base URL of its instance (the current one first)."""
        if name_or_url in self.contexts:
            return self.contexts[name_or_url]
        url = name_or_url.rstrip("/")
        found = [item for item in self.contexts.values() if item.url == url]
        return next((item for item in found if item.name == self.current), found[0] if found else None)

    def with_context(self, context: Context, *, use: bool) -> Self:
        """Add or replace a context; the first one, and any with `use`, becomes current."""
        current = context.name if use or not self.current else self.current
        return type(self)(current=current, contexts={**self.contexts, context.name: context})

    def using(self, name: str) -> Self:
        """Make a context current; raises `ConfigurationError` for an unknown name."""
        return type(self)(current=self.get(name).name, contexts=self.contexts)

    def without(self, name: str) -> Self:
        """Remove a context; raises `ConfigurationError` for an unknown name."""
        gone = self.get(name).name
        rest = {key: value for key, value in self.contexts.items() if key != gone}
        return type(self)(current="" if self.current == gone else self.current, contexts=rest)


def parse_context_name(name: str) -> str:
    """Check a context's name; raises `ConfigurationError`."""
    if not _NAME.fullmatch(name):
        raise ConfigurationError(
            f"{name[:70]!r} is not a valid name for a context",
            code="bad_context_name",
            hint="use letters, digits, dots, dashes and underscores, at most 64",
        )
    return name


def parse_fingerprint(text: str) -> str:
    """Read the SHA-256 fingerprint of a root (hex, `sha256:` before it or not, any case, colons allowed)."""
    fingerprint = text.strip().lower().removeprefix("sha256:").replace(":", "")
    if not _FINGERPRINT.fullmatch(fingerprint):
        raise ConfigurationError(
            f"{text[:80]!r} is not a SHA-256 fingerprint",
            code="bad_fingerprint",
            hint="a fingerprint has 64 hexadecimal digits; the operator of the instance has it",
        )
    return fingerprint


def load_contexts(folder: Path | None = None) -> Contexts:
    """Read the user's contexts; none where there is no file or no home. Raises `ConfigurationError`."""
    try:
        path = (folder or config_folder()) / _FILE
    except ConfigurationError:
        return Contexts()
    if not path.exists():
        return Contexts()
    data = read_file(path, max_bytes=_MAX_BYTES)
    try:
        return msgspec.json.decode(data, type=Contexts)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise ConfigurationError(
            f"{path} is damaged",
            code="damaged_contexts",
            hint="remove the file and add the contexts again with hallmark context add",
        ) from None


def change_contexts(change: Callable[[Contexts], Contexts], folder: Path | None = None) -> Contexts:
    """Read, change and write the user's contexts under a lock: of two commands at once neither is lost.

    Returns what was written; raises `ConfigurationError`.
    """
    target = folder or config_folder()
    make_folder(target)
    with locked(target / _LOCK):
        contexts = change(load_contexts(target))
        save_contexts(contexts, target)
    return contexts


def save_contexts(contexts: Contexts, folder: Path | None = None) -> None:
    """Write the user's contexts, whole or not at all; raises `ConfigurationError`."""
    target = folder or config_folder()
    make_folder(target)
    write_file(target / _FILE, msgspec.json.format(msgspec.json.encode(contexts), indent=2) + b"\n")
