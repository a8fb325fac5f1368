"""Issuers' certificates of a CT log, as objects named by their fingerprint (static-ct-api)."""

from hallmark.adapters.storage.full_disk import refusing_unwritten
from hallmark.errors import NotFound
from hallmark.ports import ObjectStore


class ObjectIssuerStore:
    """Certificates below `issuer/` of an object store (`ctlog.service.IssuerStore`)."""

    def __init__(self, objects: ObjectStore) -> None:
        self._objects = objects

    def put_issuer(self, fingerprint: bytes, certificate: bytes) -> None:
        """Store a certificate durably; one that is there already costs one read."""
        if self.get_issuer(fingerprint) != certificate:
            with refusing_unwritten("an issuer's certificate"):
                self._objects.replace(_path(fingerprint), certificate)

    def get_issuer(self, fingerprint: bytes) -> bytes | None:
        """Find a certificate by its SHA-256."""
        try:
            return self._objects.get(_path(fingerprint))
        except NotFound:
            return None


def _path(fingerprint: bytes) -> str:
    return f"issuer/{fingerprint.hex()}"
