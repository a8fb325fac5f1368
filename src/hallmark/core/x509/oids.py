"""Object identifiers of Sigstore certificates (Fulcio's OID registry, RFC 6962, RFC 5280).

`FULCIO_EXTENSIONS` is the one table of certificate extensions: the number below 1.3.6.1.4.1.57264.1, the
name in claims-to-extension templates and in output, and whether the value is raw UTF-8 or a DER UTF8String.
"""

from typing import Final

import msgspec
from cryptography.x509 import ObjectIdentifier

FULCIO_ARC: Final = "1.3.6.1.4.1.57264.1"

PRECERTIFICATE_POISON: Final = ObjectIdentifier("1.3.6.1.4.1.11129.2.4.3")
SCT_LIST: Final = ObjectIdentifier("1.3.6.1.4.1.11129.2.4.2")
OTHER_NAME_SAN: Final = ObjectIdentifier(f"{FULCIO_ARC}.7")
ISSUER_V1: Final = ObjectIdentifier(f"{FULCIO_ARC}.1")
ISSUER_V2: Final = ObjectIdentifier(f"{FULCIO_ARC}.8")
TOKEN_SUBJECT: Final = ObjectIdentifier(f"{FULCIO_ARC}.24")
DEFAULT_TSA_POLICY: Final = "1.3.6.1.4.1.57264.2"


class FulcioExtension(msgspec.Struct, frozen=True):
    """One row of the table: `raw` values are UTF-8 bytes without any DER around them."""

    number: int
    name: str
    raw: bool

    @property
    def oid(self) -> ObjectIdentifier:
        """The extension's object identifier."""
        return ObjectIdentifier(f"{FULCIO_ARC}.{self.number}")


FULCIO_EXTENSIONS: Final = (
    FulcioExtension(1, "issuer-v1", True),
    FulcioExtension(2, "github-workflow-trigger", True),
    FulcioExtension(3, "github-workflow-sha", True),
    FulcioExtension(4, "github-workflow-name", True),
    FulcioExtension(5, "github-workflow-repository", True),
    FulcioExtension(6, "github-workflow-ref", True),
    FulcioExtension(8, "issuer", False),
    FulcioExtension(9, "build-signer-uri", False),
    FulcioExtension(10, "build-signer-digest", False),
    FulcioExtension(11, "runner-environment", False),
    FulcioExtension(12, "source-repository-uri", False),
    FulcioExtension(13, "source-repository-digest", False),
    FulcioExtension(14, "source-repository-ref", False),
    FulcioExtension(15, "source-repository-identifier", False),
    FulcioExtension(16, "source-repository-owner-uri", False),
    FulcioExtension(17, "source-repository-owner-identifier", False),
    FulcioExtension(18, "build-config-uri", False),
    FulcioExtension(19, "build-config-digest", False),
    FulcioExtension(20, "build-trigger", False),
    FulcioExtension(21, "run-invocation-uri", False),
    FulcioExtension(22, "source-repository-visibility-at-signing", False),
    FulcioExtension(23, "deployment-environment", False),
    FulcioExtension(24, "subject", False),
)
