"""The verifier keys of an instance's logs, as witnesses and monitors want them."""

import msgspec

from hallmark.adapters.keys.file import read_key
from hallmark.core.keys import parse_public_key
from hallmark.core.vkey import ctlog_vkey, log_vkey
from hallmark.wiring.layout import CT_LOG, Layout
from hallmark.wiring.shards import ShardTable, open_shard


class ShardKey(msgspec.Struct, frozen=True):
    """A shard of the signature log: where it is read, and the key its checkpoints are signed with."""

    url: str
    origin: str
    vkey: str


def shard_keys(layout: Layout) -> tuple[ShardKey, ...]:
    """List the shards of the signature log, the newest last."""
    instance = layout.read_instance()
    keys: list[ShardKey] = []
    for shard in ShardTable(layout).read():
        _, signer = open_shard(layout, instance, shard)
        vkey = log_vkey(signer.origin, signer.public_key).to_text()
        keys.append(ShardKey(f"{instance.base_url}{shard.path}", signer.origin, vkey))
    return tuple(keys)


def log_vkeys(layout: Layout) -> dict[str, str]:
    """Give the key of each log by the log's name: every shard, the newest last, then the CT log."""
    names = [shard.folder for shard in ShardTable(layout).read()]
    vkeys = {name: shard.vkey for name, shard in zip(names, shard_keys(layout), strict=True)}
    key = parse_public_key(read_key(layout.key(CT_LOG)).spki)
    vkeys[CT_LOG] = ctlog_vkey(layout.read_instance().ctlog_origin, key).to_text()
    return vkeys
