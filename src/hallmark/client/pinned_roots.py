"""The root.json that each context is pinned to: the one thing that is believed for its fingerprint alone."""

import hashlib
import hmac
from pathlib import Path
from typing import Final

from hallmark.client.contexts import Context
from hallmark.client.files import make_folder, read_file, write_file
from hallmark.client.folders import config_folder
from hallmark.errors import ConfigurationError, TrustError

MAX_ROOT_BYTES: Final = 512_000  # what the reference client of TUF takes, so that no root is ours alone


def fingerprint_of(root: bytes) -> str:
    """Compute the fingerprint of a root.json: SHA-256 of its bytes, in hex."""
    return hashlib.sha256(root).hexdigest()


def pin_root(context: Context, root: bytes, folder: Path | None = None) -> None:
    """Keep the root.json of a context; raises `TrustError` where it is not the one that is pinned."""
    _check_root(root, context)
    path = root_path(context, folder)
    make_folder(path.parent)
    write_file(path, root)


def pinned_root(context: Context, folder: Path | None = None) -> bytes:
    """Read the root.json that a context is pinned to; raises `TrustError` where it is gone or changed."""
    try:
        root = read_file(root_path(context, folder), max_bytes=MAX_ROOT_BYTES)
    except ConfigurationError as error:
        raise TrustError(
            f"the root of context {context.name!r} is gone: {error.message}",
            code="missing_trust_material",
            hint=f"hallmark context add {context.name} {context.url} --root-fingerprint "
            f"{context.root_fingerprint}",
        ) from None
    _check_root(root, context)
    return root


def root_path(context: Context, folder: Path | None = None) -> Path:
    """Say where the root.json of a context is kept."""
    return (folder or config_folder()) / "roots" / f"{context.root_fingerprint}.json"


def _check_root(root: bytes, context: Context) -> None:
    found = fingerprint_of(root)
    if not hmac.compare_digest(found, context.root_fingerprint):
        raise TrustError(
            f"the root of context {context.name!r} has the fingerprint {found}, "
            f"not {context.root_fingerprint}",
            code="wrong_root",
            hint="ask the operator for the fingerprint; if yours is right, somebody else is answering",
        )
