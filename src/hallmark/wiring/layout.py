"""What stands where in the directory of an instance.

instance.json            base URL and listening address; written last, so its presence makes the instance
lock                     held by the parent process while the instance runs
keys/                    private keys, 0600
ca/ tsa/                 certificate chains, PEM
tlog/ ctlog/             log.db, log.dedup/, and public/, which a static web server could serve
idp/ tuf/                the identity provider's grants; the TUF repository
witnesses.json           the witnesses of the signature log, where it has any
client/                  what clients need: trusted_root.json, signing_config.json, ...
"""

from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import msgspec

from hallmark.errors import ConfigurationError

VERSION: Final = 2
CT_LOG: Final = "ctlog"
DIRECTORIES: Final = ("keys", "ca", "tsa", "tlog", "ctlog", "idp", "tuf", "client")
_RESTORE: Final = "restore the directory from a copy; an instance cannot go on with a part of its state"


def slug_of(path: str) -> str:
    """Make one label of a host name of a base URL's path; no two paths have the same."""
    return path.strip("/").replace("/", "--")


class InstanceFile(msgspec.Struct, frozen=True, kw_only=True):
    """The content of instance.json. `base_url` never changes; clients and certificates carry it."""

    version: int
    base_url: str
    host: str
    port: int

    @property
    def public_host(self) -> str:
        """The host name in the base URL, without a port."""
        return urlsplit(self.base_url).hostname or ""

    @property
    def base_path(self) -> str:
        """The path in the base URL, without a slash at its end: empty where the instance has a host alone."""
        return urlsplit(self.base_url).path

    @property
    def ctlog_origin(self) -> str:
        """The origin of the CT log: the base URL without its scheme, and `/ctlog`."""
        return f"{urlsplit(self.base_url).netloc}{self.base_path}/ctlog"


class Layout:
    """The paths of an instance's directory."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.instance_file = root / "instance.json"
        self.lock = root / "lock"
        self.new = root / ".new"
        self.witnesses = root / "witnesses.json"
        self.keys = root / "keys"
        self.client = root / "client"
        self.tuf = root / "tuf"
        self.tuf_keys = root / "keys" / "tuf"
        self.grants = root / "idp" / "grants.db"

    def key(self, name: str) -> Path:
        """The file of a private key."""
        return self.keys / f"{name}.pem"

    def chain(self, service: str) -> Path:
        """The certificate chain of the `ca` or the `tsa`."""
        return self.root / service / "chain.pem"

    def database(self, log: str) -> Path:
        """The database of a log (`tlog` or `ctlog`)."""
        return self.root / log / "log.db"

    def public(self, log: str) -> Path:
        """The published objects of a log."""
        return self.root / log / "public"

    def check_exists(self) -> None:
        """Check that an instance stands here; raises `ConfigurationError` (`no_instance`)."""
        if not self.instance_file.exists():
            raise ConfigurationError(
                f"{self.root} is not the directory of an instance: it has no instance.json",
                code="no_instance",
                hint="pass --data DIR, the directory that hallmark up was given",
            )

    def read_instance(self) -> InstanceFile:
        """Read instance.json.

        Raises `ConfigurationError`: `no_instance` where there is none, `damaged_state` for a damaged one.
        """
        self.check_exists()
        try:
            found = msgspec.json.decode(self.instance_file.read_bytes(), type=InstanceFile)
        except (OSError, msgspec.MsgspecError) as error:
            raise ConfigurationError(
                f"{self.instance_file} cannot be read: {error}", code="damaged_state", hint=_RESTORE
            ) from None
        if found.version != VERSION:
            raise ConfigurationError(
                f"{self.root} was made by another version of Hallmark ({found.version}, not {VERSION})",
                code="other_version",
                hint="use the version of Hallmark that made it, or another directory",
            )
        missing = [name for name in DIRECTORIES if not (self.root / name).is_dir()]
        if missing:
            raise ConfigurationError(
                f"{self.root} lacks {', '.join(missing)}", code="damaged_state", hint=_RESTORE
            )
        return found


def is_url(place: str) -> bool:
    """Say whether a place is a URL; everything else is a folder."""
    return place.startswith(("http://", "https://"))
