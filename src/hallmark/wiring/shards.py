"""The shards of the signature log: which there are, and how they are opened.

The first shard has the public host name as its origin and is written at the base URL. Shard N has the origin
`N.<host>`, a key and a database of its own, and is written and read at `<base>/shards/N`. Below a path the
first shard is named like the others, `1.<slug>.<host>` with the path as its slug, because witnesses remember
origins for ever, and two instances may share a host. `shards.json` lists the shards; while it is missing
there is the first alone.
"""

import os
from typing import Final

import msgspec

from hallmark.adapters.keys.file import read_key
from hallmark.durable_files import write_durably
from hallmark.errors import ConfigurationError
from hallmark.tiledlog.records import TLOG_TILES
from hallmark.tiledlog.signer import NoteSigner
from hallmark.wiring.layout import InstanceFile, Layout, slug_of
from hallmark.wiring.logs import OpenLog

FIRST: Final = 1
MAX_SHARDS: Final = 1000  # in the trusted root each takes a key that every client downloads


class Shard(msgspec.Struct, frozen=True):
    """One shard. Since when and until when it counts is said by the trusted root alone."""

    number: int

    @property
    def folder(self) -> str:
        """Its folder below the instance's directory, which is also its name."""
        return "tlog" if self.number == FIRST else f"shards/{self.number}"

    @property
    def key_name(self) -> str:
        """The name of its key."""
        return "tlog" if self.number == FIRST else f"tlog-{self.number}"

    @property
    def path(self) -> str:
        """Where it stands below the base URL."""
        return "" if self.number == FIRST else f"/shards/{self.number}"

    def origin(self, instance: InstanceFile) -> str:
        """Its origin, which clients derive from `trusted_url`."""
        host, path = instance.public_host, instance.base_path
        if path:
            return f"{self.number}.{slug_of(path)}.{host}"
        return host if self.number == FIRST else f"{self.number}.{host}"

    def trusted_url(self, instance: InstanceFile) -> str:
        """The base URL in the trusted root: it names the log, and need not resolve."""
        if self.number == FIRST and not instance.base_path:
            return instance.base_url
        scheme = instance.base_url.partition(":")[0]
        return f"{scheme}://{self.origin(instance)}"


class _ShardsFile(msgspec.Struct, frozen=True):
    shards: tuple[Shard, ...]


class ShardTable:
    """The list of shards on disk, read again when it has changed."""

    def __init__(self, layout: Layout) -> None:
        self._path = layout.root / "shards.json"
        self._stamp: tuple[int, int] | None = None
        self._shards: tuple[Shard, ...] = (Shard(FIRST),)

    def read(self) -> tuple[Shard, ...]:
        """List the shards, oldest first; raises `ConfigurationError` (`damaged_state`)."""
        try:
            status = os.stat(self._path)
        except FileNotFoundError:
            return self._shards
        stamp = (status.st_mtime_ns, status.st_ino)
        if stamp != self._stamp:
            try:
                self._shards = msgspec.json.decode(self._path.read_bytes(), type=_ShardsFile).shards
            except (OSError, msgspec.MsgspecError) as error:
                raise ConfigurationError(
                    f"{self._path} cannot be read: {error}",
                    code="damaged_state",
                    hint="restore the directory from a copy",
                ) from None
            self._stamp = stamp
        return self._shards

    def write(self, shards: tuple[Shard, ...]) -> None:
        """Replace the list."""
        write_durably(self._path, msgspec.json.format(msgspec.json.encode(_ShardsFile(shards)), indent=2))


def open_shard(layout: Layout, instance: InstanceFile, shard: Shard) -> tuple[OpenLog, NoteSigner]:
    """Open a shard of the signature log."""
    signer = NoteSigner(shard.origin(instance), read_key(layout.key(shard.key_name)))
    return OpenLog(shard.folder, layout, signer, TLOG_TILES), signer


def open_tlog(layout: Layout, instance: InstanceFile) -> tuple[OpenLog, NoteSigner]:
    """Open the first shard of the signature log."""
    return open_shard(layout, instance, Shard(FIRST))
