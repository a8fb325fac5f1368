"""What a log entry is compared with: who signed what, as the bundle has it."""

from typing import Protocol

import msgspec

from hallmark.core.algorithms import HashAlgorithm
from hallmark.core.dsse import Envelope
from hallmark.core.keys import PublicKey
from hallmark.errors import InvalidEntry


class SignedContent(msgspec.Struct, frozen=True, kw_only=True):
    """A signature with its verifier and its subject.

    `certificate` is the signer's leaf (DER), None for a bare key; `digest` is of the artifact, or of the
    PAE where there is an `envelope`.
    """

    certificate: bytes | None
    public_key: PublicKey
    signature: bytes
    hash_algorithm: HashAlgorithm
    digest: bytes
    envelope: Envelope | None

    @property
    def verifier(self) -> bytes:
        """What an entry names the signer by: the certificate, or the SubjectPublicKeyInfo (DER)."""
        return self.certificate if self.certificate is not None else self.public_key.spki


class LoggedEntry(Protocol):
    """The body of a log entry, of whatever kind."""

    def check(self, content: SignedContent) -> None:
        """Check that the entry is about this very signature; raises `InvalidEntry`.

        Without it, an entry of somebody else's signature would pass as proof (CVE-2022-36056).
        """
        ...


def check_equal(logged: object, signed: object, what: str) -> None:
    """Check one value of an entry against the bundle's; raises `InvalidEntry` naming `what`."""
    if logged != signed:
        raise InvalidEntry(f"the log entry is about another {what} than the bundle", code="entry_mismatch")
