"""Makes and updates mirrors of logs."""

import hashlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from hallmark.adapters.storage.filesystem import FileObjectStore
from hallmark.client.files import make_folder
from hallmark.core.keys import PublicKey
from hallmark.core.x509.tile_entry import parse_tile_entry
from hallmark.errors import ConfigurationError, InvalidProof, NotFound, RemoteError, TrustError
from hallmark.ports import ObjectStore
from hallmark.tiledlog.mirror import Mirror, MirrorRepair, MirrorUpdate, Progress, ReadObjects
from hallmark.tiledlog.objects import CHECKPOINT
from hallmark.tiledlog.records import RecordFormat
from hallmark.wiring.log_sides import (
    MIRROR_FILE,
    LogIdentity,
    identify_log,
    open_read_side,
    pin_identity,
    pinned_identity,
    pinned_progress,
)
from hallmark.wiring.logs import STATIC_CT

_MAX_SEEN = 4096
BUNDLES_PER_PASS: Final = 4096  # a million entries: a few seconds of each pass, and all of a log in some days


class Mirrored(msgspec.Struct, frozen=True):
    """What one pass over a mirror did: what was new, and what was examined of that which was there."""

    update: MirrorUpdate
    repair: MirrorRepair


def mirror_log(
    place: str, folder: Path, keys: Sequence[PublicKey], *, origin: str | None, progress: Progress
) -> Mirrored:
    """Copy the log at a URL or in a folder to `folder`, or bring the copy there up to date.

    Then the next part of the whole copy is verified, and what is lost or damaged fetched again.

    Raises what `Mirror.update` does; `TrustError` where key or origin are not those the mirror was made for;
    `ConfigurationError` for a folder that holds something else.
    """
    source = open_read_side(place)
    note = _fetch_checkpoint(source, place)
    identity = _identify(folder, note, keys, origin)
    make_folder(folder)
    if pinned_identity(folder) is None:
        pin_identity(folder, identity)
    objects = FileObjectStore(folder)
    on_records = copies_of_referred(source, objects, identity.records)
    mirror = Mirror(source, objects, identity.records, identity.verify, on_records=on_records)
    update = mirror.update(note, progress)
    first = pinned_progress(folder)
    repair = mirror.repair(note, _quiet, first=first, count=BUNDLES_PER_PASS)
    if repair.next != first:
        pin_identity(folder, identity, next_bundle=repair.next)
    return Mirrored(update, repair)


def _fetch_checkpoint(source: ReadObjects, place: str) -> bytes:
    try:
        return source.get(CHECKPOINT)
    except NotFound:
        raise RemoteError(
            f"there is no log at {place}: it has no {CHECKPOINT}",
            code="not_a_log",
            hint="name the URL below which `checkpoint` and `tile` stand",
        ) from None


def _identify(folder: Path, note: bytes, keys: Sequence[PublicKey], origin: str | None) -> LogIdentity:
    pinned = pinned_identity(folder)
    if pinned is None:
        _check_unused(folder)
        return identify_log(note, _some(keys), origin=origin)
    identity = identify_log(note, keys or [pinned[1]], origin=origin or pinned[0])
    if (identity.origin, identity.key.spki) != (pinned[0], pinned[1].spki):
        raise TrustError(
            f"the mirror in {folder} is of the log {pinned[0]} with another key than was given",
            code="other_log",
            hint="give the other log a folder of its own",
        )
    return identity


def _some(keys: Sequence[PublicKey]) -> Sequence[PublicKey]:
    if keys:
        return keys
    raise ConfigurationError(
        "nothing says which key signs the log",
        code="no_log_key",
        hint="pass the log's own key with --log-key, or a trusted root that has it with --trusted-root",
    )


def _check_unused(folder: Path) -> None:
    """A mirror must not mix with what stands in a folder that is none."""
    names = sorted(item.name for item in folder.iterdir()) if folder.is_dir() else []
    if names:
        raise ConfigurationError(
            f"{folder} is not a mirror (it has no {MIRROR_FILE}) and not empty: {', '.join(names[:3])}",
            code="not_a_mirror",
            hint="name an empty or a new folder",
        )


def copies_of_referred(
    source: ReadObjects, objects: ObjectStore, records: RecordFormat
) -> Callable[[int, Sequence[bytes]], None]:
    """Copy what the records of this kind of log refer to, unless it is there and true."""
    return _issuer_copies(source, objects) if records is STATIC_CT else _nothing


def _quiet(_done: int, _total: int) -> None:
    pass


def _nothing(_start: int, _records: Sequence[bytes]) -> None:
    pass


def _issuer_copies(source: ReadObjects, objects: ObjectStore) -> Callable[[int, Sequence[bytes]], None]:
    """Copy the certificates of issuers before the checkpoint covers entries that refer to them."""
    seen: set[bytes] = set()

    def copy(_start: int, records: Sequence[bytes]) -> None:
        for record in records:
            for fingerprint in parse_tile_entry(record).issuers:
                if fingerprint not in seen:
                    _copy_issuer(source, objects, fingerprint)
                    if len(seen) < _MAX_SEEN:
                        seen.add(fingerprint)

    return copy


def _copy_issuer(source: ReadObjects, objects: ObjectStore, fingerprint: bytes) -> None:
    path = f"issuer/{fingerprint.hex()}"
    with suppress(NotFound):
        if hashlib.sha256(objects.get(path)).digest() == fingerprint:
            return
    try:
        der = source.get(path)
    except NotFound:
        raise RemoteError(f"the source has no {path}, which an entry names", code="object_missing") from None
    if hashlib.sha256(der).digest() != fingerprint:
        raise InvalidProof(f"{path} has SHA-256 {hashlib.sha256(der).hexdigest()}", code="tiles_differ")
    objects.put(path, der)
