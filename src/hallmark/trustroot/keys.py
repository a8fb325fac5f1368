"""The signing keys of the TUF roles: PEM files that their owner alone can read.

`root.pem`, `targets.pem`, `snapshot.pem` and `timestamp.pem`; a key that takes over later is
`<role>-2.pem` and so on. Which of them counts is written in the root metadata, not in the folder, so a
half-done change of keys shows nowhere. `root.pem` may be kept elsewhere; then nothing here renews the root.
"""

import re
from pathlib import Path
from typing import Final

import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from securesystemslib.signer import CryptoSigner

from hallmark.durable_files import write_durably
from hallmark.errors import ConfigurationError

ROLES: Final = ("root", "targets", "snapshot", "timestamp")

_MAX_KEY_BYTES: Final = 16 * 1024
_FILE_NAME: Final = re.compile(r"(root|targets|snapshot|timestamp)(?:-([1-9][0-9]{0,5}))?\.pem")


class TufKeys(msgspec.Struct, frozen=True):
    """The private keys of each role, oldest first."""

    by_role: dict[str, tuple[CryptoSigner, ...]]

    def newest(self, role: str) -> CryptoSigner:
        """Find the key that signs for `role` from its next change of keys on."""
        signers = self.by_role.get(role)
        if not signers:
            raise ConfigurationError(f"there is no key for the TUF role {role}", code="tuf_key_missing")
        return signers[-1]

    def signers(self, role: str, key_ids: list[str]) -> list[CryptoSigner]:
        """Find the keys of `role` that the root metadata lists."""
        return [item for item in self.by_role.get(role, ()) if item.public_key.keyid in key_ids]


def create_key_files(folder: Path) -> TufKeys:
    """Make a key for each role that has none, and load them all."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    present = _find_files(folder)
    for role in ROLES:
        if role not in present:
            _write_new_key(folder / f"{role}.pem")
    return load_key_files(folder)


def add_key_file(folder: Path, role: str) -> TufKeys:
    """Make the next key of `role`, and load them all; it counts once the repository has published it."""
    number = max((number for number, _ in _find_files(folder).get(role, [])), default=0)
    _write_new_key(folder / f"{role}-{number + 1}.pem")
    return load_key_files(folder)


def load_key_files(folder: Path) -> TufKeys:
    """Load the keys of a folder.

    Raises `ConfigurationError` for a file that others can read, or that holds no key.
    """
    found = _find_files(folder)
    return TufKeys({role: tuple(_load(path) for _, path in sorted(files)) for role, files in found.items()})


def _find_files(folder: Path) -> dict[str, list[tuple[int, Path]]]:
    found: dict[str, list[tuple[int, Path]]] = {}
    for path in folder.iterdir():
        match = _FILE_NAME.fullmatch(path.name)
        if match:
            found.setdefault(match[1], []).append((int(match[2] or 1), path))
    return found


def _write_new_key(path: Path) -> None:
    key = ed25519.Ed25519PrivateKey.generate()
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    write_durably(path, pem, mode=0o600)


def _load(path: Path) -> CryptoSigner:
    if path.stat().st_mode & 0o077:
        raise ConfigurationError(
            f"the key {path} can be read by others", code="key_permissions", hint=f"chmod 600 {path}"
        )
    with path.open("rb") as file:
        pem = file.read(_MAX_KEY_BYTES)
    try:
        key = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ConfigurationError(f"{path} is not a PEM private key", code="malformed_key") from None
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return CryptoSigner(key)
    if isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.name == "secp256r1":
        return CryptoSigner(key)
    raise ConfigurationError(f"{path} is neither an Ed25519 nor a P-256 key", code="malformed_key")
