"""Private keys in PEM files that only their owner can read (`ports.KeyPair`)."""

import os
from pathlib import Path
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from hallmark.core.keys import key_algorithm
from hallmark.durable_files import naming
from hallmark.errors import ConfigurationError, MalformedInput

PrivateKey = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey

_CURVE_HASHES: Final[dict[str, hashes.HashAlgorithm]] = {
    "secp256r1": hashes.SHA256(),
    "secp384r1": hashes.SHA384(),
    "secp521r1": hashes.SHA512(),
}


class SoftwareKey:
    """A private key in memory (`ports.KeyPair`)."""

    def __init__(self, key: PrivateKey) -> None:
        self.private_key = key
        public = key.public_key()
        self._spki = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        self._ecdsa = None
        if isinstance(key, ec.EllipticCurvePrivateKey):
            self._ecdsa = ec.ECDSA(_CURVE_HASHES[key.curve.name])

    @property
    def spki(self) -> bytes:
        """The DER SubjectPublicKeyInfo of the key."""
        return self._spki

    def sign(self, message: bytes) -> bytes:
        """Sign a message with the key's own hash."""
        key = self.private_key
        if isinstance(key, ed25519.Ed25519PrivateKey):
            return key.sign(message)
        if isinstance(key, rsa.RSAPrivateKey):
            return key.sign(message, padding.PKCS1v15(), hashes.SHA256())
        if self._ecdsa is None:
            raise ValueError("an ECDSA key without its hash")
        return key.sign(message, self._ecdsa)


def write_key(path: Path, key: PrivateKey | MLDSA44PrivateKey) -> None:
    """Write a new key file, readable by its owner alone from its first byte on, and durable."""
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with naming(path), os.fdopen(descriptor, "wb") as file:
        file.write(pem)
        file.flush()
        os.fsync(file.fileno())


def read_key(path: Path) -> SoftwareKey:
    """Read a key file; raises `ConfigurationError` where it is missing, damaged or open to others."""
    key = load_private_key(path)
    if not isinstance(key, PrivateKey):
        raise ConfigurationError(
            f"the key in {path} is of a kind that is not supported", code="damaged_state"
        )
    try:
        key_algorithm(key.public_key())
    except MalformedInput as error:
        raise ConfigurationError(f"the key in {path}: {error.message}", code="damaged_state") from None
    return SoftwareKey(key)


def load_private_key(path: Path) -> object:
    """Read a key file of any kind; raises `ConfigurationError` as `read_key` does."""
    try:
        if path.stat().st_mode & 0o077:
            raise ConfigurationError(
                f"the key file {path} can be read by others",
                code="key_file_mode",
                hint=f"chmod 600 {path}",
            )
        return load_pem_private_key(path.read_bytes(), None)
    except OSError as error:
        raise ConfigurationError(
            f"the key file {path} cannot be read: {error.strerror}", code="damaged_state", hint=_RESTORE
        ) from None
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ConfigurationError(
            f"the key file {path} holds no private key", code="damaged_state", hint=_RESTORE
        ) from None


_RESTORE: Final = "restore the directory from a copy; without its keys an instance cannot go on"
