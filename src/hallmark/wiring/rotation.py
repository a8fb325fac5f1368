"""Rotation and freezing of the signature log, beside a running instance or a stopped one.

A new shard is made and listed before anybody is told of it: workers open a shard when it is first asked for.
Then trusted root and signing config change in one TUF release, in which the old shard's service ends in the
second in which the new one's starts. The old shard goes on answering for a day, for clients that hold older
trust material; then the instance freezes it.
"""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Final

import msgspec
from cryptography.hazmat.primitives.asymmetric import ed25519

from hallmark.adapters.keys.file import write_key
from hallmark.core.signing_config import Service, SigningConfig, parse_signing_config
from hallmark.core.trusted_root import TransparencyLog, TrustedRoot, Validity, parse_trusted_root
from hallmark.core.x509.authority import BACKDATING
from hallmark.durable_files import write_durably
from hallmark.errors import ConfigurationError
from hallmark.tiledlog.log import append_now, create_log, freeze_log
from hallmark.tiledlog.signer import NoteSigner
from hallmark.trustroot.client_files import (
    SIGNING_CONFIG_TARGET,
    TRUSTED_ROOT_TARGET,
    client_files,
    tuf_targets,
)
from hallmark.trustroot.keys import load_key_files
from hallmark.trustroot.repository import TrustRepository
from hallmark.wiring.create import bootstrap_entry
from hallmark.wiring.layout import InstanceFile, Layout
from hallmark.wiring.outside import check_published_within
from hallmark.wiring.shards import MAX_SHARDS, Shard, ShardTable, open_shard
from hallmark.wiring.witnessing import check_witnesses_know

OVERLAP: Final = timedelta(hours=24)


@contextmanager
def trust_locked(layout: Layout) -> Iterator[TrustRepository]:
    """Hold the instance's trust material: one process at a time writes the TUF repository and the shards."""
    descriptor = os.open(layout.root / "trust.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield TrustRepository(layout.tuf, load_key_files(layout.tuf_keys))
    finally:
        os.close(descriptor)


def rotate_tlog(layout: Layout, now: datetime) -> Shard:
    """Open the next shard of the signature log, and point clients at it; returns the new shard.

    Where answers need witnesses, they must know the new shard before clients do: raises `ConfigurationError`
    (`no_witness_quorum`) otherwise, and the next call goes on with the shard that was made.
    """
    instance = layout.read_instance()
    with trust_locked(layout) as repository:
        root, config = _read_release(repository)
        new, signer = _next_shard(layout, instance, root, now)
        check_witnesses_know(layout, *open_shard(layout, instance, new))
        start = now.replace(microsecond=0)
        root = _rotate_root(root, instance, new, signer, start)
        repository.publish(tuf_targets(root, _rotate_config(config, instance, new, start)), now)
        write_client_files(layout, repository)
    return new


def _next_shard(
    layout: Layout, instance: InstanceFile, root: TrustedRoot, now: datetime
) -> tuple[Shard, NoteSigner]:
    """Make and list the next shard, or take the one that a killed rotation listed and told nobody of."""
    table = ShardTable(layout)
    shards = table.read()
    told = newest_told(root, instance)
    if shards[-1].number > told:
        return shards[-1], open_shard(layout, instance, shards[-1])[1]
    new = Shard(told + 1)
    if new.number > MAX_SHARDS:
        raise ConfigurationError(f"a log has at most {MAX_SHARDS} shards", code="too_many_shards")
    signer = _create_shard(layout, instance, new, now)
    table.write((*shards, new))
    return new, signer


def newest_told(root: TrustedRoot, instance: InstanceFile) -> int:
    """Give the number of the newest shard that clients know, one that was lost with its directory too."""
    urls = {log.base_url for log in root.tlogs}
    return max(n for n in range(1, MAX_SHARDS + 1) if Shard(n).trusted_url(instance) in urls)


def freeze_tlog(layout: Layout, number: int, now: datetime) -> Shard:
    """Freeze a shard for good; raises `ConfigurationError` for one that is not there, or is in use."""
    layout.read_instance()  # before a lock file is made in a directory that is none
    with trust_locked(layout):
        shards = ShardTable(layout).read()
        shard = next((item for item in shards if item.number == number), None)
        if shard is None:
            raise ConfigurationError(
                f"the log has no shard {number}; the newest is {shards[-1].number}",
                code="unknown_shard",
                hint="name one before the newest",
            )
        if shard is shards[-1]:
            raise ConfigurationError(
                f"shard {number} is the one that clients write to",
                code="shard_in_use",
                hint="open the next one first: hallmark log rotate",
            )
        _freeze(layout, shard, now)
        return shard


def freeze_due_shards(layout: Layout, now: datetime) -> None:
    """Freeze the shards whose validity in the trusted root has ended."""
    shards = ShardTable(layout).read()
    if len(shards) == 1:
        return
    instance = layout.read_instance()
    ended = {
        log.base_url for log in _read_root(layout).tlogs if log.valid_for.end and log.valid_for.end <= now
    }
    for shard in shards:
        if shard.trusted_url(instance) in ended:
            _freeze(layout, shard, now)


def _freeze(layout: Layout, shard: Shard, now: datetime) -> None:
    log, signer = open_shard(layout, layout.read_instance(), shard)
    check_published_within(log)
    store = log.store()
    try:
        freeze_log(store, signer, now)
    finally:
        store.close()


def _create_shard(layout: Layout, instance: InstanceFile, shard: Shard, now: datetime) -> NoteSigner:
    """Make key, database and bootstrap entry; what a killed rotation left half-made is made again."""
    folder = layout.root / shard.folder
    layout.key(shard.key_name).unlink(missing_ok=True)
    for leftover in folder.glob("log.*"):
        shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()
    folder.mkdir(parents=True, exist_ok=True)
    write_key(layout.key(shard.key_name), ed25519.Ed25519PrivateKey.generate())
    log, signer = open_shard(layout, instance, shard)
    store = log.store(new=True)
    milliseconds = int(now.timestamp() * 1000)
    try:
        create_log(store, signer, time=milliseconds)
        append_now(store, signer, bootstrap_entry(), now=milliseconds)
    finally:
        store.close()
    return signer


def _rotate_root(
    root: TrustedRoot, instance: InstanceFile, new: Shard, signer: NoteSigner, start: datetime
) -> TrustedRoot:
    """Add the new key; the old ones stay for ever, valid until their shards are frozen."""
    ended = [log if log.valid_for.end else _ending(log, start + OVERLAP) for log in root.tlogs]
    key = signer.public_key
    added = TransparencyLog(
        base_url=new.trusted_url(instance),
        key=key,
        key_details=key.algorithm.key_details,
        log_id=signer.log_id,
        valid_for=Validity(start - BACKDATING),
        operator=root.tlogs[-1].operator,
    )
    return msgspec.structs.replace(root, tlogs=(*ended, added))


def _ending(log: TransparencyLog, end: datetime) -> TransparencyLog:
    return msgspec.structs.replace(log, valid_for=Validity(log.valid_for.start, end))


def _rotate_config(
    config: SigningConfig, instance: InstanceFile, new: Shard, start: datetime
) -> SigningConfig:
    """End the old service in the second in which the new one starts."""
    *earlier, old = config.rekor_tlog_urls
    ended = msgspec.structs.replace(old, valid_for=Validity(old.valid_for.start, start))
    added = Service(
        url=f"{instance.base_url}{new.path}",
        major_api_version=old.major_api_version,
        valid_for=Validity(start),
        operator=old.operator,
    )
    return msgspec.structs.replace(config, rekor_tlog_urls=(*earlier, ended, added))


def write_client_files(layout: Layout, repository: TrustRepository) -> None:
    """Bring the files for clients up to the TUF release: a rotation may have been killed between the two."""
    root, config = _read_release(repository)
    for name, data in client_files(root, config, repository.newest_root()).items():
        path = layout.client / name
        if name == "root.json":  # clients pin the root that they were given; TUF leads them to the newest
            continue
        if not path.exists() or path.read_bytes() != data:
            write_durably(path, data)


def _read_release(repository: TrustRepository) -> tuple[TrustedRoot, SigningConfig]:
    """Read what clients are told now: a release is there at once and whole, the files beside it are not."""
    targets = repository.targets()
    root = parse_trusted_root(targets[TRUSTED_ROOT_TARGET])
    return root, parse_signing_config(targets[SIGNING_CONFIG_TARGET])


def _read_root(layout: Layout) -> TrustedRoot:
    return parse_trusted_root((layout.client / "trusted_root.json").read_bytes())
