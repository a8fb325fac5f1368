"""Checks trust material that was kept, from the pinned root on, as TUF demands of what is fetched.

It lies in a folder that other programs may write to. Nothing in it is believed for lying there: a signature
of the repository's keys, or a hash that such a signature covers, stands behind every byte that is used. The
network is not needed for it.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from itertools import count
from typing import Final, TypeVar

from securesystemslib.exceptions import Error as KeyFault
from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata, Root, Snapshot, Targets, Timestamp

from hallmark.client.contexts import Context
from hallmark.client.pinned_roots import pinned_root
from hallmark.client.trust_cache import SIGNING_CONFIG, TRUSTED_ROOT, KeptTrust, TrustMaterial, load_trust
from hallmark.client.tuf_keys import check_tuf_keys
from hallmark.errors import TrustError

_FAULTS: Final = (
    RepositoryError,
    KeyFault,
    ValueError,
    TypeError,
    KeyError,
    AttributeError,
    RecursionError,
    OverflowError,
)

_Role = TypeVar("_Role", Root, Timestamp, Snapshot, Targets)


def kept_trust(context: Context) -> TrustMaterial | None:
    """Find what was kept for a context and holds, expired or not; raises `TrustError` without its root."""
    root = pinned_root(context)
    kept = load_trust(context.root_fingerprint)
    if kept is None or kept.tuf_url != context.tuf_url:
        return None
    try:
        return check_kept(kept, root)
    except TrustError:  # damaged or forged: it is fetched again, as one that is missing
        return None


def stored_trust(context: Context, now: datetime) -> TrustMaterial | None:
    """Find what was kept for a context, as long as the repository's word for it holds."""
    material = kept_trust(context)
    return material if material is not None and now < material.expires else None


def check_kept(kept: KeptTrust, root: bytes) -> TrustMaterial:
    """Verify material that was kept against the pinned `root`; raises `TrustError` where it does not hold.

    TUF specification 5.3 to 5.7, without its downloads. Files of delegated roles are not found.
    """
    try:
        expires = _verify(kept, root)
    except _FAULTS:
        # no detail: a damaged cache is fetched again, and a forged one has nothing to say
        raise TrustError(
            f"the trust material kept for {kept.tuf_url} does not hold",
            code="damaged_trust_material",
            hint="hallmark context update fetches it again",
        ) from None
    return TrustMaterial(
        **{name: getattr(kept, name) for name in KeptTrust.__struct_fields__}, expires=expires
    )


def _verify(kept: KeptTrust, pinned: bytes) -> datetime:
    """Walk from the pinned root to both files; returns when the first of the roles expires."""
    root = _newest_root(kept.metadata, pinned)
    timestamp = _load(root, Timestamp, kept.metadata["timestamp.json"])

    snapshot_data, stated = kept.metadata["snapshot.json"], timestamp.signed.snapshot_meta
    stated.verify_length_and_hashes(snapshot_data)
    snapshot = _load(root, Snapshot, snapshot_data)
    _check_version(snapshot, stated.version)

    targets_data, stated = kept.metadata["targets.json"], snapshot.signed.meta["targets.json"]
    stated.verify_length_and_hashes(targets_data)
    targets = _load(root, Targets, targets_data)
    _check_version(targets, stated.version)

    for name, data in ((TRUSTED_ROOT, kept.trusted_root), (SIGNING_CONFIG, kept.signing_config)):
        targets.signed.targets[name].verify_length_and_hashes(data)
    signed = (root.signed, timestamp.signed, snapshot.signed, targets.signed)
    return min(role.expires for role in signed).astimezone(UTC)


def _newest_root(metadata: Mapping[str, bytes], pinned: bytes) -> Metadata[Root]:
    """Go from root to root, each signed by the keys of the one before and by its own."""
    check_tuf_keys([pinned])
    trusted: Metadata[Root] = Metadata.from_bytes(pinned)
    trusted.signed.verify_delegate(Root.type, trusted.signed_bytes, trusted.signatures)
    for version in count(trusted.signed.version + 1):
        data = metadata.get(f"{version}.root.json")
        if data is None:
            break
        check_tuf_keys([data])
        newer = _load(trusted, Root, data)
        newer.signed.verify_delegate(Root.type, newer.signed_bytes, newer.signatures)
        _check_version(newer, version)
        trusted = newer
    return trusted


def _load(root: Metadata[Root], kind: type[_Role], data: bytes) -> Metadata[_Role]:
    """Read the metadata of a role, signed by as many of its keys as the root demands."""
    found: Metadata[_Role] = Metadata.from_bytes(data)
    if found.signed.type != kind.type:
        raise ValueError(f"{found.signed.type} in place of {kind.type}")
    root.signed.verify_delegate(kind.type, found.signed_bytes, found.signatures)
    return found


def _check_version(found: Metadata[_Role], version: int) -> None:
    if found.signed.version != version:
        raise ValueError(f"version {found.signed.version}, not {version}")
