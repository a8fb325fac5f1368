"""Ends logs that may have gone on elsewhere, and puts new ones in their place.

What was decided is written down first, in the file that keeps the instance from starting. From then on every
step may be repeated, so that a replacement which was killed is finished by whatever restore runs next.
"""

import os
import shutil
from collections.abc import Sequence
from contextlib import closing, suppress
from datetime import datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Final

import msgspec
from cryptography.hazmat.primitives.asymmetric import ec

from hallmark.adapters.keys.file import read_key, write_key
from hallmark.core.keys import PublicKey, parse_public_key
from hallmark.core.signing_config import parse_signing_config
from hallmark.core.trusted_root import TransparencyLog, TrustedRoot, Validity, parse_trusted_root
from hallmark.core.x509.authority import BACKDATING
from hallmark.ctlog.signer import CtLogSigner
from hallmark.durable_files import sync_path, write_durably
from hallmark.tiledlog.log import create_log, end_log
from hallmark.trustroot.client_files import SIGNING_CONFIG_TARGET, TRUSTED_ROOT_TARGET, tuf_targets
from hallmark.wiring.layout import CT_LOG, Layout
from hallmark.wiring.logs import STATIC_CT, OpenLog
from hallmark.wiring.mirror_places import LostLog
from hallmark.wiring.place import restoring, written_at
from hallmark.wiring.rotation import rotate_tlog, trust_locked, write_client_files
from hallmark.wiring.shards import Shard, ShardTable, open_shard

_NEXT: Final = "ctlog-next"  # the folder, and the key, of a CT log that is being made


class Replacement(msgspec.Struct, frozen=True, kw_only=True):
    """What a restore has decided to replace; nothing is decided where there are no names.

    `newest` is the newest shard that clients knew then, `ended` the number under which the CT log that ends
    is kept, `ready` says that the one in its place is made, and `directory` is where all this was done.
    `lost` are logs that only mirrors have, and whose keys clients must go on to believe.
    """

    names: tuple[str, ...] = ()
    newest: int = 0
    ended: int = 0
    ready: bool = False
    directory: int = 0
    lost: tuple[LostLog, ...] = ()

    def is_fresh(self, layout: Layout, name: str) -> bool:
        """Say whether this log was begun by the replacement, and here: it has signed nothing elsewhere."""
        if not self.names or self.directory != written_at(layout):
            return False
        return self.ended > 0 if name == CT_LOG else name == Shard(self.newest + 1).folder


def begin_restoring(layout: Layout) -> Replacement:
    """Keep the instance from starting; gives what an earlier restore that was not finished had decided."""
    with suppress(FileNotFoundError, msgspec.MsgspecError):  # one of an earlier release is a line of text
        return msgspec.json.decode(restoring(layout).read_bytes(), type=Replacement)
    layout.read_instance()
    return _note(layout, Replacement())


def decide(layout: Layout, names: Sequence[str], lost: Sequence[LostLog] = ()) -> Replacement:
    """Write down that these logs end here, and which have been begun elsewhere since."""
    told = [shard.number for shard in ShardTable(layout).read() if _is_told(layout, shard)]
    newest = max(*told, *(item.number for item in lost), 0)
    ended = next(n for n in count(1) if not _ended(layout, n).exists()) if CT_LOG in names else 0
    directory = written_at(layout)
    return _note(
        layout,
        Replacement(names=tuple(names), newest=newest, ended=ended, directory=directory, lost=tuple(lost)),
    )


def finish_replacing(layout: Layout, replacement: Replacement, now: datetime) -> None:
    """Do what was decided, or what is left of it."""
    if replacement.lost:
        _keep_keys(layout, replacement.lost, now)
    if replacement.ended:
        if not replacement.ready:
            _prepare_ctlog(layout, now)
            replacement = _note(layout, msgspec.structs.replace(replacement, ready=True))
        _switch_ctlog(layout, replacement.ended)
        _publish_ctlog(layout, replacement.ended, now)
    shards = [name for name in replacement.names if name != CT_LOG]
    if shards:
        _replace_tlog(layout, shards, replacement, now)


def _note(layout: Layout, replacement: Replacement) -> Replacement:
    write_durably(restoring(layout), msgspec.json.encode(replacement))
    return replacement


def _ended(layout: Layout, number: int) -> Path:
    return layout.root / f"ctlog-ended-{number}"


def _replace_tlog(layout: Layout, names: Sequence[str], replacement: Replacement, now: datetime) -> None:
    """End these shards where they are now; where the newest is one of them or lost, clients get another."""
    newest = replacement.newest
    ended = (*names, *(item.folder for item in replacement.lost))
    if Shard(newest).folder in ended and not _is_told(layout, Shard(newest + 1)):
        rotate_tlog(layout, now)
    for shard in ShardTable(layout).read():
        if shard.folder in names:
            with closing(open_shard(layout, layout.read_instance(), shard)[0].store()) as store:
                end_log(store)


def _is_told(layout: Layout, shard: Shard) -> bool:
    """Say whether clients are told of a shard, which a rotation does last."""
    url = shard.trusted_url(layout.read_instance())
    with trust_locked(layout) as repository:
        write_client_files(layout, repository)
        return url in {log.base_url for log in _trusted(repository.targets()).tlogs}


def _trusted(targets: dict[str, bytes]) -> TrustedRoot:
    return parse_trusted_root(targets[TRUSTED_ROOT_TARGET])


def _keep_keys(layout: Layout, lost: Sequence[LostLog], now: datetime) -> None:
    """Tell clients of the keys of lost logs, valid until now: bundles that these are in stay valid."""
    with trust_locked(layout) as repository:
        targets = repository.targets()
        root, config = _trusted(targets), parse_signing_config(targets[SIGNING_CONFIG_TARGET])
        end = now.replace(microsecond=0) + timedelta(seconds=1)
        for item in sorted(lost, key=lambda item: item.number):
            root = _with_lost(root, item, end)
        repository.publish(tuf_targets(root, config), now)
        write_client_files(layout, repository)


def _with_lost(root: TrustedRoot, lost: LostLog, end: datetime) -> TrustedRoot:
    """Add the key of a lost log after those before it; it began after the newest that is here."""
    key = lost.public_key
    logs = root.tlogs if lost.number else root.ctlogs
    if key.spki in {log.key.spki for log in logs}:
        return root
    added = msgspec.structs.replace(
        logs[-1],
        key=key,
        key_details=key.algorithm.key_details,
        log_id=lost.log_id,
        valid_for=Validity(logs[-1].valid_for.start, end),
    )
    if lost.number:
        added = msgspec.structs.replace(added, base_url=lost.url)
        return msgspec.structs.replace(root, tlogs=(*logs, added))
    return msgspec.structs.replace(root, ctlogs=(*logs, added))


def _prepare_ctlog(layout: Layout, now: datetime) -> None:
    """Make an empty CT log beside the one that ends: the same origin and URL, a key of its own."""
    folder = layout.root / _NEXT
    layout.key(_NEXT).unlink(missing_ok=True)
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(mode=0o755)
    write_key(layout.key(_NEXT), ec.generate_private_key(ec.SECP256R1()))
    signer = CtLogSigner(layout.read_instance().ctlog_origin, read_key(layout.key(_NEXT)))
    with closing(OpenLog(_NEXT, layout, signer, STATIC_CT).store(new=True)) as store:
        create_log(store, signer, time=int(now.timestamp() * 1000))
    for path in (folder, layout.keys, layout.root):
        sync_path(path)


def _switch_ctlog(layout: Layout, number: int) -> None:
    """Put the new log in the old one's place, which moves to `ctlog-ended-N`; the keys likewise."""
    _switch(layout.root / CT_LOG, _ended(layout, number), layout.root / _NEXT)
    _switch(layout.key(CT_LOG), layout.key(f"ctlog-ended-{number}"), layout.key(_NEXT))


def _switch(current: Path, ended: Path, following: Path) -> None:
    """Rename twice; what is still to do shows in what is there."""
    if not following.exists():
        return
    if not ended.exists():
        os.rename(current, ended)
        sync_path(current.parent)
    os.rename(following, current)
    sync_path(current.parent)


def _publish_ctlog(layout: Layout, number: int, now: datetime) -> None:
    """Tell clients of the new key; the old one stays in the trusted root for the SCTs that it has given."""
    old, new = (_public_key(layout, name) for name in (f"ctlog-ended-{number}", CT_LOG))
    with trust_locked(layout) as repository:
        targets = repository.targets()
        root, config = _trusted(targets), parse_signing_config(targets[SIGNING_CONFIG_TARGET])
        if new.spki not in {log.key.spki for log in root.ctlogs}:
            root = _replaced(root, old, new, now.replace(microsecond=0))
            repository.publish(tuf_targets(root, config), now)
        write_client_files(layout, repository)


def _public_key(layout: Layout, name: str) -> PublicKey:
    return parse_public_key(read_key(layout.key(name)).spki)


def _replaced(root: TrustedRoot, old: PublicKey, new: PublicKey, start: datetime) -> TrustedRoot:
    """Add the new key; the old one stays, valid to the end of the second in which it may have signed last."""
    ended = next(log for log in root.ctlogs if log.key.spki == old.spki)
    added = msgspec.structs.replace(
        ended,
        key=new,
        key_details=new.algorithm.key_details,
        log_id=new.key_id,
        valid_for=Validity(start - BACKDATING),
    )
    end = start + timedelta(seconds=1)
    kept: list[TransparencyLog] = []
    for log in root.ctlogs:
        over = msgspec.structs.replace(log, valid_for=Validity(log.valid_for.start, end))
        kept.append(over if log is ended else log)
    return msgspec.structs.replace(root, ctlogs=(*kept, added))
