"""Trust material that has to be fetched: pinning an instance, and keeping up with it."""

from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from hallmark.client.contexts import Context
from hallmark.client.files import make_folder, read_file, write_file
from hallmark.client.folders import config_folder
from hallmark.client.http import HttpClient
from hallmark.client.trust import stored_trust
from hallmark.client.trust_cache import TrustMaterial, load_trust, save_trust
from hallmark.client.tuf import fetch_trust, fingerprint_of
from hallmark.errors import ConfigurationError, TrustError

_MAX_ROOT_BYTES: Final = 512_000
_FRESH: Final = timedelta(hours=1)


def pin_root(context: Context, root: bytes, folder: Path | None = None) -> None:
    """Keep the root.json of a context; raises `TrustError` where it is not the one that is pinned."""
    _check_root(root, context)
    path = root_path(context, folder)
    make_folder(path.parent)
    write_file(path, root)


def update_trust(context: Context, http: HttpClient, now: datetime) -> TrustMaterial:
    """Fetch the newest trust material of a context and keep it; raises `TrustError` or `RemoteError`."""
    known = load_trust(context.root_fingerprint)
    if known is not None and known.tuf_url != context.tuf_url:
        known = None
    material = fetch_trust(context.tuf_url, pinned_root(context), http, known=known, now=now)
    save_trust(context.root_fingerprint, material)
    return material


def fresh_trust(context: Context, http: HttpClient, now: datetime) -> TrustMaterial:
    """Find trust material to sign with: what was kept within the last hour, else the newest."""
    material = stored_trust(context, now)
    if material is not None and timedelta(0) <= now - material.fetched < _FRESH:
        return material
    return update_trust(context, http, now)


def pinned_root(context: Context, folder: Path | None = None) -> bytes:
    """Read the root.json that a context is pinned to; raises `TrustError` where it is gone or changed."""
    try:
        root = read_file(root_path(context, folder), max_bytes=_MAX_ROOT_BYTES)
    except ConfigurationError as error:
        raise TrustError(
            f"the root of context {context.name!r} is gone: {error.message}",
            code="missing_trust_material",
            hint=f"hallmark context add {context.name} {context.url} --root-fingerprint "
            f"{context.root_fingerprint}",
        ) from None
    _check_root(root, context)
    return root


def _check_root(root: bytes, context: Context) -> None:
    found = fingerprint_of(root)
    if found != context.root_fingerprint:
        raise TrustError(
            f"the root of context {context.name!r} has the fingerprint {found}, "
            f"not {context.root_fingerprint}",
            code="wrong_root",
            hint="ask the operator for the fingerprint; if yours is right, somebody else is answering",
        )


def root_path(context: Context, folder: Path | None = None) -> Path:
    """Say where the root.json of a context is kept."""
    return (folder or config_folder()) / "roots" / f"{context.root_fingerprint}.json"
