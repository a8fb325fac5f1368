"""The verifier keys of an instance's logs, as witnesses and monitors want them."""

from hallmark.adapters.keys.file import read_key
from hallmark.core.keys import parse_public_key
from hallmark.core.vkey import ctlog_vkey, log_vkey
from hallmark.wiring.checking import CT_LOG
from hallmark.wiring.layout import Layout
from hallmark.wiring.shards import ShardTable, open_shard


def log_vkeys(layout: Layout) -> dict[str, str]:
    """Give the key of each log by the log's name: every shard, the newest last, then the CT log."""
    instance = layout.read_instance()
    vkeys: dict[str, str] = {}
    for shard in ShardTable(layout).read():
        _, signer = open_shard(layout, instance, shard)
        vkeys[shard.folder] = log_vkey(signer.origin, signer.public_key).to_text()
    key = parse_public_key(read_key(layout.key(CT_LOG)).spki)
    vkeys[CT_LOG] = ctlog_vkey(instance.ctlog_origin, key).to_text()
    return vkeys
