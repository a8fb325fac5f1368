"""What a verification proved, by whom, when, and which evidence proved it."""

from datetime import datetime
from typing import Any

import msgspec

from hallmark.core.algorithms import HashAlgorithm
from hallmark.core.encoding.protojson import format_timestamp
from hallmark.core.statement import Statement
from hallmark.core.x509.certificate import CertificateIdentity


class EstablishedTime(msgspec.Struct, frozen=True):
    """A time at which the signature existed; `source` is `timestamp_authority` or `log`, `name` which one.

    `source_id` tells sources apart: SHA-256 of the authority's certificate, or the log's id.
    """

    time: datetime
    source: str
    name: str
    source_id: bytes


class VerifiedEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A log entry that stands in a trusted log; an entry proved by a promise alone has no tree size.

    `log_index` is the one that the log vouches for: in its promise, or else in the tree. `log` is the URL by
    which the trusted root knows the log; `origin` is that of the checkpoint, empty where there is none.
    `witnesses` names those of the policy that cosigned the checkpoint, where witnesses were demanded.
    """

    log_id: bytes
    log_index: int
    kind: str
    version: str
    log: str
    origin: str
    tree_size: int
    witnesses: tuple[str, ...] = ()


class Verified(msgspec.Struct, frozen=True, kw_only=True):
    """A bundle that is true. `signer` is the certificate's identity, or the key's id (SHA-256 of its SPKI).

    `hash_algorithm` and `digest` are the artifact's; `statement` is there for attestations.
    """

    signer: CertificateIdentity | str
    times: tuple[EstablishedTime, ...]
    entries: tuple[VerifiedEntry, ...]
    sct_log_ids: tuple[bytes, ...]
    hash_algorithm: HashAlgorithm
    digest: bytes
    statement: Statement | None = None

    @property
    def identity(self) -> str:
        """The certificate's identity; empty when a key signed."""
        return self.signer.identity if isinstance(self.signer, CertificateIdentity) else ""

    @property
    def oidc_issuer(self) -> str:
        """The issuer of the signer's token; empty when a key signed."""
        return self.signer.oidc_issuer if isinstance(self.signer, CertificateIdentity) else ""

    @property
    def extensions(self) -> dict[str, str]:
        """The certificate's other claims by name; empty when a key signed."""
        return dict(self.signer.extensions) if isinstance(self.signer, CertificateIdentity) else {}

    def to_dict(self) -> dict[str, Any]:
        """Give everything as plain JSON values."""
        return {
            "signer": self._signer(),
            "artifact": {"algorithm": self.hash_algorithm.name, "digest": self.digest.hex()},
            "times": [
                {"time": format_timestamp(item.time), "source": item.source, "name": item.name}
                for item in self.times
            ],
            "logEntries": [_entry(item) for item in self.entries],
            "sctLogIds": [item.hex() for item in self.sct_log_ids],
            "statement": self.statement.to_builtins() if self.statement else None,
        }

    def _signer(self) -> dict[str, Any]:
        if isinstance(self.signer, str):
            return {"keyId": self.signer}
        return {
            "identity": self.signer.identity,
            "kind": self.signer.kind,
            "oidcIssuer": self.signer.oidc_issuer,
            "extensions": dict(self.signer.extensions),
        }


def _entry(entry: VerifiedEntry) -> dict[str, Any]:
    return {
        "logId": entry.log_id.hex(),
        "logIndex": entry.log_index,
        "kind": entry.kind,
        "version": entry.version,
        "log": entry.log,
        "origin": entry.origin,
        "treeSize": entry.tree_size,
        "witnesses": list(entry.witnesses),
    }
