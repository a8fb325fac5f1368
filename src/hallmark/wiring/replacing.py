"""Ends logs that may have gone on elsewhere, and puts new ones in their place."""

import os
from collections.abc import Sequence
from contextlib import closing
from datetime import datetime

import msgspec
from cryptography.hazmat.primitives.asymmetric import ec

from hallmark.adapters.keys.file import read_key, write_key
from hallmark.core.keys import PublicKey, parse_public_key
from hallmark.core.signing_config import parse_signing_config
from hallmark.core.trusted_root import TransparencyLog, TrustedRoot, Validity, parse_trusted_root
from hallmark.core.x509.authority import BACKDATING
from hallmark.durable_files import sync_path
from hallmark.tiledlog.log import create_log, end_log
from hallmark.trustroot.client_files import SIGNING_CONFIG_TARGET, TRUSTED_ROOT_TARGET, tuf_targets
from hallmark.wiring.layout import Layout
from hallmark.wiring.logs import open_ctlog
from hallmark.wiring.rotation import rotate_tlog, trust_locked, write_client_files
from hallmark.wiring.shards import ShardTable, open_shard


def replace_tlog(layout: Layout, names: Sequence[str], now: datetime) -> None:
    """End these shards where they are now; where the newest is one of them, clients get another first."""
    shards = {shard.folder: shard for shard in ShardTable(layout).read()}
    if ShardTable(layout).read()[-1].folder in names:
        rotate_tlog(layout, now)
    for name in names:
        with closing(open_shard(layout, layout.read_instance(), shards[name])[0].store()) as store:
            end_log(store)


def replace_ctlog(layout: Layout, now: datetime) -> None:
    """Begin a new CT log with a key of its own, under the same origin and URL.

    The old one's files move to `ctlog-ended-N`, its key stays in the trusted root for the SCTs it has given.
    """
    instance = layout.read_instance()
    old_key = parse_public_key(read_key(layout.key("ctlog")).spki)
    number = next(n for n in range(1, 1000) if not (layout.root / f"ctlog-ended-{n}").exists())
    write_key(layout.key("ctlog-next"), ec.generate_private_key(ec.SECP256R1()))
    os.rename(layout.root / "ctlog", layout.root / f"ctlog-ended-{number}")
    os.rename(layout.key("ctlog"), layout.key(f"ctlog-ended-{number}"))
    os.rename(layout.key("ctlog-next"), layout.key("ctlog"))
    (layout.root / "ctlog").mkdir(mode=0o755)
    for folder in (layout.root, layout.keys):
        sync_path(folder)
    log, key = open_ctlog(layout, instance)
    store = log.store(new=True)
    try:
        create_log(store, log.signer, time=int(now.timestamp() * 1000))
    finally:
        store.close()
    _publish(layout, old_key, parse_public_key(key.spki), now)


def _publish(layout: Layout, old: PublicKey, new: PublicKey, now: datetime) -> None:
    with trust_locked(layout) as repository:
        targets = repository.targets()
        root = parse_trusted_root(targets[TRUSTED_ROOT_TARGET])
        config = parse_signing_config(targets[SIGNING_CONFIG_TARGET])
        repository.publish(tuf_targets(_replaced(root, old, new, now.replace(microsecond=0)), config), now)
        write_client_files(layout, repository)


def _replaced(root: TrustedRoot, old: PublicKey, new: PublicKey, start: datetime) -> TrustedRoot:
    """Add the new key; the old one stays, valid until now."""
    ended = next(log for log in root.ctlogs if log.key == old)
    added = msgspec.structs.replace(
        ended,
        key=new,
        key_details=new.algorithm.key_details,
        log_id=new.key_id,
        valid_for=Validity(start - BACKDATING),
    )
    kept: list[TransparencyLog] = []
    for log in root.ctlogs:
        over = msgspec.structs.replace(log, valid_for=Validity(log.valid_for.start, start))
        kept.append(over if log is ended else log)
    return msgspec.structs.replace(root, ctlogs=(*kept, added))
