"""Certificates of issuers that a CT log's entries refer to, one file each, named by fingerprint."""

import os
import secrets
from pathlib import Path


class DirectoryIssuers:
    """Issuers' certificates in a directory, `<sha256 in hex>`; a web server can serve it as it is."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._directory = directory

    def put_issuer(self, fingerprint: bytes, certificate: bytes) -> None:
        """Store a certificate; when this returns, it is on the disk."""
        path = self._directory / fingerprint.hex()
        if path.exists():
            return
        draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        with draft.open("wb") as file:
            file.write(certificate)
            file.flush()
            os.fsync(file.fileno())
        draft.rename(path)
        _sync_directory(self._directory)

    def get_issuer(self, fingerprint: bytes) -> bytes | None:
        """Find a certificate."""
        try:
            return (self._directory / fingerprint.hex()).read_bytes()
        except FileNotFoundError:
            return None


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
