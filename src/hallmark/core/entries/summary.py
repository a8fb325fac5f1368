"""What the entries of a log say, in a few columns: for tables and searches. Nothing of it is verified."""

import hashlib
from datetime import datetime
from typing import Final

import msgspec
from cryptography.x509 import Certificate

from hallmark.core.algorithms import SHA2_256
from hallmark.core.entries.dsse import DsseV002
from hallmark.core.entries.hashedrekord import HashedRekordV002
from hallmark.core.entries.kinds import parse_entry_body
from hallmark.core.x509.certificate import load_certificate, read_extensions, read_identity
from hallmark.core.x509.sct import PrecertEntry
from hallmark.core.x509.tile_entry import TileEntry
from hallmark.errors import HallmarkError

CERTIFICATE: Final = "certificate"
PUBLIC_KEY: Final = "public_key"


class SignerSummary(msgspec.Struct, frozen=True, kw_only=True):
    """Whom a certificate names, and since when and until when it is valid; None where it does not say.

    `certificate_sha256` is the hex fingerprint of what the entry holds. A CT log holds a precertificate,
    whose fingerprint is another: `tbs_sha256`, of what the issuer signs without SCTs and poison, is the same.
    """

    identity: str | None = None
    identity_kind: str | None = None
    oidc_issuer: str | None = None
    issuing_ca: str | None = None
    not_before: datetime | None = None
    not_after: datetime | None = None
    certificate_sha256: str | None = None
    tbs_sha256: str | None = None


class EntrySummary(msgspec.Struct, frozen=True, kw_only=True):
    """One entry; `digest` is what was signed, hex. Values that the entry does not have are None."""

    kind: str | None = None
    version: str | None = None
    hash_algorithm: str | None = None
    digest: str | None = None
    key_details: str | None = None
    verifier: str | None = None
    signer: SignerSummary = SignerSummary()


class _Header(msgspec.Struct, frozen=True, rename="camel"):
    kind: str
    api_version: str


_HEADER: Final = msgspec.json.Decoder(_Header)


def summarise_body(body: bytes) -> EntrySummary:
    """Summarise the body of a signature log's entry; of a kind that is not known, no more than its kind."""
    try:
        header = _HEADER.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return EntrySummary()
    kind, version = header.kind[:100], header.api_version[:100]
    try:
        entry = parse_entry_body(kind, version, body)
    except HallmarkError:
        return EntrySummary(kind=kind, version=version)
    if isinstance(entry, HashedRekordV002):
        return _hashedrekord(entry, kind, version)
    if isinstance(entry, DsseV002):
        return _dsse(entry, kind, version)
    return EntrySummary(kind=kind, version=version)


def _hashedrekord(entry: HashedRekordV002, kind: str, version: str) -> EntrySummary:
    return EntrySummary(
        kind=kind,
        version=version,
        hash_algorithm=entry.hash_algorithm.name,
        digest=entry.digest.hex(),
        key_details=entry.algorithm.key_details,
        verifier=CERTIFICATE if entry.is_certificate else PUBLIC_KEY,
        signer=summarise_certificate(entry.verifier) if entry.is_certificate else SignerSummary(),
    )


def _dsse(entry: DsseV002, kind: str, version: str) -> EntrySummary:
    """The digest is the payload's; of several signatures, the first counts."""
    first = entry.signatures[0]
    return EntrySummary(
        kind=kind,
        version=version,
        hash_algorithm=SHA2_256.name,
        digest=entry.payload_digest.hex(),
        key_details=first.algorithm.key_details,
        verifier=CERTIFICATE if first.is_certificate else PUBLIC_KEY,
        signer=summarise_certificate(first.verifier) if first.is_certificate else SignerSummary(),
    )


def summarise_tile_entry(entry: TileEntry) -> EntrySummary:
    """Summarise an entry of a CT log."""
    return EntrySummary(
        kind="precertificate" if isinstance(entry.entry, PrecertEntry) else CERTIFICATE,
        verifier=CERTIFICATE,
        signer=_with_tbs(summarise_certificate(entry.certificate), entry),
    )


def _with_tbs(signer: SignerSummary, entry: TileEntry) -> SignerSummary:
    if not isinstance(entry.entry, PrecertEntry):
        return signer
    return msgspec.structs.replace(signer, tbs_sha256=_hex_sha256(entry.entry.tbs_certificate))


def _hex_sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _signed_part(certificate: Certificate) -> bytes:
    """What the issuer signed, without SCTs: as the CT log that gave them has it."""
    try:
        return certificate.tbs_precertificate_bytes
    except ValueError:  # it has none
        return certificate.tbs_certificate_bytes


def summarise_certificate(der: bytes) -> SignerSummary:
    """Summarise a certificate or a precertificate; one that names no signer has no identity here."""
    try:
        certificate = load_certificate(der)
        validity = SignerSummary(
            issuing_ca=certificate.issuer.rfc4514_string(),
            not_before=certificate.not_valid_before_utc,
            not_after=certificate.not_valid_after_utc,
            certificate_sha256=_hex_sha256(der),
            tbs_sha256=_hex_sha256(_signed_part(certificate)),
        )
    except (HallmarkError, ValueError):
        return SignerSummary()
    try:
        identity = read_identity(read_extensions(certificate))
    except HallmarkError:
        return validity
    return msgspec.structs.replace(
        validity,
        identity=identity.identity,
        identity_kind=identity.kind,
        oidc_issuer=identity.oidc_issuer,
    )
