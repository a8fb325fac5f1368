"""The trust material of an instance, as last fetched through TUF: one file for each pinned root.

The file is replaced whole, so any number of processes may read and write it at once. It is a cache: a damaged
one counts as missing, and where the folder cannot be written nothing is kept. Nothing in it is believed until
`kept_trust` has checked it: the digest in front tells damage, not forgery.
"""

import contextlib
import hashlib
from datetime import datetime
from pathlib import Path
from typing import Final

import msgspec

from hallmark.client.files import make_folder, read_file, write_file
from hallmark.client.folders import cache_folder
from hallmark.errors import HallmarkError

_MAX_BYTES: Final = 32 << 20
_DIGEST_SIZE: Final = 64
TRUSTED_ROOT: Final = "trusted_root.json"
SIGNING_CONFIG: Final = "signing_config.v0.2.json"


class KeptTrust(msgspec.Struct, frozen=True, kw_only=True):
    """What lies in the cache, unverified.

    `metadata` is the repository's own, by file name: the next refresh starts from it, so that a repository
    cannot go back to an older state.
    """

    tuf_url: str
    fetched: datetime
    trusted_root: bytes
    signing_config: bytes
    metadata: dict[str, bytes]


class TrustMaterial(KeptTrust, frozen=True, kw_only=True):
    """What a TUF repository vouches for, verified from the pinned root on, and until when its word holds."""

    expires: datetime


def load_trust(fingerprint: str, folder: Path | None = None) -> KeptTrust | None:
    """Read the material kept for a root, unverified; None where there is none that is whole."""
    path = _path(fingerprint, folder)
    try:
        if not path.is_file():  # reading a pipe in its place would never end
            return None
        data = read_file(path, max_bytes=_MAX_BYTES)
        digest, content = data[:_DIGEST_SIZE], data[_DIGEST_SIZE + 1 :]
        if digest != hashlib.sha256(content).hexdigest().encode():
            return None
        return msgspec.json.decode(content, type=KeptTrust)
    except (HallmarkError, OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return None


def save_trust(fingerprint: str, material: KeptTrust, folder: Path | None = None) -> None:
    """Keep the material for a root, where the folder can be written."""
    path = _path(fingerprint, folder)
    content = msgspec.json.encode(material)
    with contextlib.suppress(HallmarkError):
        make_folder(path.parent)
        write_file(path, hashlib.sha256(content).hexdigest().encode() + b"\n" + content)


def _path(fingerprint: str, folder: Path | None) -> Path:
    return (folder or cache_folder()) / "trust" / f"{fingerprint}.json"
