"""What an instance says of itself at `/.well-known/hallmark.json`."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from hallmark.wiring.layout import InstanceFile
from hallmark.wiring.vkeys import ShardKey

CLIENT_FILES: Final = ("trusted_root.json", "signing_config.json", "client_trust_config.json", "root.json")


def description(
    instance: InstanceFile, tuf_root: bytes, vkeys: Mapping[str, str], shards: Sequence[ShardKey]
) -> dict[str, object]:
    """Describe the instance for `/.well-known/hallmark.json`. Nobody need believe it: roots are pinned.

    `vkeys` are the keys of the logs as witnesses and monitors want them, of the signature log the newest
    shard's; `shards` are all of them.
    """
    base = instance.base_url
    configs = f"{base}/.well-known/hallmark"
    return {
        "base_url": base,
        "services": {
            "ca": base,
            "tlog": base,
            "tsa": f"{base}/api/v1/timestamp",
            "oidc": f"{base}/oidc",
            "ctlog": f"{base}/ctlog",
            "tuf": f"{base}/tuf",
        },
        "configs": {
            "trusted_root": f"{configs}/trusted_root.json",
            "signing_config": f"{configs}/signing_config.json",
            "client_trust_config": f"{configs}/client_trust_config.json",
            "root": f"{base}/tuf/1.root.json",
        },
        "vkeys": dict(vkeys),
        "shards": [msgspec.to_builtins(shard) for shard in shards],
        "root_fingerprint": hashlib.sha256(tuf_root).hexdigest(),
    }
