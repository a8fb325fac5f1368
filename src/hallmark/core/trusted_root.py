"""Trusted roots (protobuf-specs `dev.sigstore.trustroot.v1.TrustedRoot`): whom to trust, and when.

Whoever gives a trusted root is believed; how it reached us (TUF, a file) is somebody else's concern.
"""

from datetime import UTC, datetime
from typing import Final
from urllib.parse import urlsplit

import msgspec
from cryptography import x509

from hallmark.core.algorithms import ALGORITHMS, ALGORITHMS_BY_NUMBER, HASH_NUMBERS, LEGACY_RSA, PKCS1
from hallmark.core.encoding.json_document import check_media_type
from hallmark.core.encoding.message import Enum, Message, TimeRange, decode_message, unknown_fields
from hallmark.core.encoding.protojson import (
    format_bytes,
    format_timestamp,
    parse_bytes,
    parse_enum,
    parse_timestamp,
)
from hallmark.core.keys import PublicKey, parse_pkcs1_public_key, parse_public_key
from hallmark.core.transparency_log_entry import LOG_ID_SIZE, LogIdMessage
from hallmark.errors import MalformedInput

TRUSTED_ROOT_V01: Final = "application/vnd.dev.sigstore.trustedroot+json;version=0.1"
MEDIA_TYPES: Final = (
    TRUSTED_ROOT_V01,
    "application/vnd.dev.sigstore.trustedroot.v0.1+json",
    "application/vnd.dev.sigstore.trustedroot.v0.2+json",
)
MAX_TRUSTED_ROOT_BYTES: Final = 4 * 1024 * 1024
MAX_INSTANCES: Final = 256
MAX_ROOTS: Final = 16
MAX_CHAIN: Final = 10

_SHA256_NAMES: Final = ("", "SHA2_256")
_LOG_KEYS: Final = ALGORITHMS.keys() - {"PKIX_ED25519_PH"}  # notes and SCTs are signed, not their digests
_KEY_DETAILS: Final = {number: row.key_details for number, row in ALGORITHMS_BY_NUMBER.items()} | LEGACY_RSA
_BEGINNING: Final = datetime.min.replace(tzinfo=UTC)


class Validity(msgspec.Struct, frozen=True):
    """From when and until when something is trusted; both ends belong to it, no end means still."""

    start: datetime
    end: datetime | None = None

    def contains(self, moment: datetime) -> bool:
        """Say whether `moment` lies within."""
        return self.start <= moment and (self.end is None or moment <= self.end)


class TransparencyLog(msgspec.Struct, frozen=True, kw_only=True):
    """A log (Rekor or CT) and its key. `log_id` is what entries and SCTs name it by."""

    base_url: str
    key: PublicKey
    key_details: str
    log_id: bytes
    valid_for: Validity
    operator: str = ""

    @property
    def name(self) -> str:
        """What people are told of the log: its URL, or its id where the trusted root has none."""
        return self.base_url or self.log_id.hex()


class CertificateAuthority(msgspec.Struct, frozen=True, kw_only=True):
    """A CA or a timestamp authority; `certificates` are DER.

    A CA lists its intermediates, then its root; a timestamp authority its leaf, intermediates, then its root.
    """

    organization: str
    common_name: str
    uri: str
    certificates: tuple[bytes, ...]
    valid_for: Validity
    operator: str = ""


class TrustedRoot(msgspec.Struct, frozen=True, kw_only=True):
    """Everything a verifier trusts.

    `unread_tlogs` and `unread_ctlogs` count the logs that were left out because this program cannot read
    their keys: the instance has them all the same, and their evidence is still demanded.
    """

    tlogs: tuple[TransparencyLog, ...] = ()
    certificate_authorities: tuple[CertificateAuthority, ...] = ()
    ctlogs: tuple[TransparencyLog, ...] = ()
    timestamp_authorities: tuple[CertificateAuthority, ...] = ()
    unread_tlogs: int = 0
    unread_ctlogs: int = 0

    def to_json(self) -> bytes:
        """Print the trusted root with the media type that every client reads."""
        return msgspec.json.encode(trusted_root_to_message(self))


class _PublicKey(Message, frozen=True):
    raw_bytes: str | None = ""
    key_details: Enum = ""
    valid_for: TimeRange | None = None


class _Log(Message, frozen=True, kw_only=True):
    base_url: str | None = ""
    hash_algorithm: Enum = ""
    public_key: _PublicKey | None = None
    log_id: LogIdMessage | None = None
    operator: str | msgspec.UnsetType | None = msgspec.UNSET


class _RawBytes(Message, frozen=True):
    raw_bytes: str | None = ""


class _Chain(Message, frozen=True):
    certificates: tuple[_RawBytes, ...] | None = ()


class _DistinguishedName(Message, frozen=True):
    organization: str | None = ""
    common_name: str | None = ""


class _Authority(Message, frozen=True, kw_only=True):
    subject: _DistinguishedName | None = None
    uri: str | None = ""
    cert_chain: _Chain | None = None
    valid_for: TimeRange | None = None
    operator: str | msgspec.UnsetType | None = msgspec.UNSET


class TrustedRootMessage(Message, frozen=True):
    """The JSON of a trusted root, field by field."""

    media_type: str
    tlogs: tuple[_Log, ...] | None = ()
    certificate_authorities: tuple[_Authority, ...] | None = ()
    ctlogs: tuple[_Log, ...] | None = ()
    timestamp_authorities: tuple[_Authority, ...] | None = ()


def parse_trusted_root(data: bytes) -> TrustedRoot:
    """Read a trusted root; raises `MalformedInput`.

    Logs with keys or hashes that this program does not know are left out: newer roots must stay readable.
    """
    found = decode_message(
        TrustedRootMessage, data, what="the trusted root", max_bytes=MAX_TRUSTED_ROOT_BYTES
    )
    return trusted_root_from_message(found)


def unknown_trusted_root_fields(data: bytes) -> tuple[str, ...]:
    """Name the fields of a trusted root's JSON that `parse_trusted_root` skips; raises `MalformedInput`."""
    return unknown_fields(TrustedRootMessage, data, what="the trusted root", max_bytes=MAX_TRUSTED_ROOT_BYTES)


def parse_trusted_roots(data: bytes) -> tuple[TrustedRoot, ...]:
    """Read a file with one trusted root, or with several as JSON lines; raises `MalformedInput`."""
    lines = [line for line in data.split(b"\n") if line.strip()]
    each_is_one = bool(lines) and all(line.strip()[-1:] == b"}" and line[:1] == b"{" for line in lines)
    if not each_is_one:
        return (parse_trusted_root(data),)
    if len(lines) > MAX_ROOTS:
        raise MalformedInput(f"the file holds more than {MAX_ROOTS} trusted roots", code="too_large")
    return tuple(map(parse_trusted_root, lines))


def trusted_root_from_message(found: TrustedRootMessage) -> TrustedRoot:
    """Build a trusted root from its JSON message; raises `MalformedInput`."""
    check_media_type(found.media_type, MEDIA_TYPES, what="the trusted root")
    for group in (found.tlogs, found.certificate_authorities, found.ctlogs, found.timestamp_authorities):
        if len(group or ()) > MAX_INSTANCES:
            raise MalformedInput(f"the trusted root lists more than {MAX_INSTANCES} instances of one kind")
    tlogs, ctlogs = _parse_logs(found.tlogs or ()), _parse_logs(found.ctlogs or ())
    return TrustedRoot(
        tlogs=tlogs,
        certificate_authorities=tuple(map(_parse_authority, found.certificate_authorities or ())),
        ctlogs=ctlogs,
        timestamp_authorities=tuple(map(_parse_authority, found.timestamp_authorities or ())),
        unread_tlogs=len(found.tlogs or ()) - len(tlogs),
        unread_ctlogs=len(found.ctlogs or ()) - len(ctlogs),
    )


def _parse_logs(found: tuple[_Log, ...]) -> tuple[TransparencyLog, ...]:
    logs = [_parse_log(item) for item in found]
    return tuple(item for item in logs if item is not None)


def _parse_log(found: _Log) -> TransparencyLog | None:
    url = found.base_url or ""
    key = found.public_key or _PublicKey()
    key_details = parse_enum(key.key_details or "", _KEY_DETAILS, what="keyDetails")
    hash_algorithm = parse_enum(found.hash_algorithm or "", HASH_NUMBERS, what="hashAlgorithm")
    valid_for = _parse_log_validity(key.valid_for, url)
    _check_url(url)
    known = key_details in _LOG_KEYS or key_details in LEGACY_RSA.values()
    if not known or hash_algorithm not in _SHA256_NAMES:
        return None
    log_id = parse_bytes((found.log_id and found.log_id.key_id) or "", what=f"the log id of {url!r}")
    if len(log_id) != LOG_ID_SIZE:
        raise MalformedInput(f"the log id of {url!r} has {len(log_id)} bytes, not {LOG_ID_SIZE}")
    parsed = _parse_key(parse_bytes(key.raw_bytes or "", what=f"the key of {url!r}"), key_details)
    return TransparencyLog(
        base_url=url,
        key=parsed,
        key_details=parsed.algorithm.key_details,
        log_id=log_id,
        valid_for=valid_for,
        operator=found.operator or "",
    )


def _check_url(url: str) -> None:
    try:
        urlsplit(url)
    except ValueError:
        raise MalformedInput(f"the trusted root has a log with no URL: {url[:100]!r}") from None


def _parse_key(raw: bytes, key_details: str) -> PublicKey:
    """Read the key of a log; one under an old name is known by the name of its size from here on."""
    key = parse_pkcs1_public_key(raw) if key_details == PKCS1 else parse_public_key(raw)
    if key_details in LEGACY_RSA.values() and key.algorithm.key_type == "rsa":
        return key
    algorithm = ALGORITHMS.get(key_details)
    if algorithm is None:
        raise MalformedInput(f"the trusted root calls a {key.algorithm.name} key {key_details}")
    if (key.algorithm.key_type, key.algorithm.parameter) != (algorithm.key_type, algorithm.parameter):
        raise MalformedInput(f"the trusted root calls a {key.algorithm.name} key {key_details}")
    return msgspec.structs.replace(key, algorithm=algorithm)


def _parse_log_validity(found: TimeRange | None, url: str) -> Validity:
    if found is None or not found.start:
        # Without a start, a key would count for all the time before the log existed.
        raise MalformedInput(f"the key of log {url!r} has no start of validity", code="missing_validity")
    return parse_validity(found)


def parse_validity(found: TimeRange | None) -> Validity:
    """Read a time range; without a start it begins with the calendar."""
    start, end = (found.start, found.end) if found else (None, None)
    return Validity(
        parse_timestamp(start, what="validFor.start") if start else _BEGINNING,
        parse_timestamp(end, what="validFor.end") if end else None,
    )


def validity_to_message(validity: Validity) -> TimeRange:
    """Build the JSON message of a time range."""
    end = validity.end
    return TimeRange(
        start=format_timestamp(validity.start), end=msgspec.UNSET if end is None else format_timestamp(end)
    )


def _parse_authority(found: _Authority) -> CertificateAuthority:
    subject = found.subject or _DistinguishedName()
    uri = found.uri or ""
    chain = (found.cert_chain and found.cert_chain.certificates) or ()
    if not 1 <= len(chain) <= MAX_CHAIN:
        raise MalformedInput(f"the chain of authority {uri!r} has {len(chain)} certificates")
    return CertificateAuthority(
        organization=subject.organization or "",
        common_name=subject.common_name or "",
        uri=uri,
        certificates=tuple(_parse_certificate(item, uri) for item in chain),
        valid_for=parse_validity(found.valid_for),
        operator=found.operator or "",
    )


def _parse_certificate(found: _RawBytes, uri: str) -> bytes:
    der = parse_bytes(found.raw_bytes or "", what=f"a certificate of authority {uri!r}")
    try:
        x509.load_der_x509_certificate(der)
    except (ValueError, x509.InvalidVersion):
        raise MalformedInput(f"a certificate of authority {uri!r} does not parse") from None
    return der


def trusted_root_to_message(root: TrustedRoot) -> TrustedRootMessage:
    """Build the JSON message of a trusted root."""
    return TrustedRootMessage(
        media_type=TRUSTED_ROOT_V01,
        tlogs=tuple(map(_log_to_message, root.tlogs)),
        certificate_authorities=tuple(map(_authority_to_message, root.certificate_authorities)),
        ctlogs=tuple(map(_log_to_message, root.ctlogs)),
        timestamp_authorities=tuple(map(_authority_to_message, root.timestamp_authorities)),
    )


def _log_to_message(log: TransparencyLog) -> _Log:
    return _Log(
        base_url=log.base_url,
        hash_algorithm="SHA2_256",
        public_key=_PublicKey(
            raw_bytes=format_bytes(log.key.spki),
            key_details=log.key_details,
            valid_for=validity_to_message(log.valid_for),
        ),
        log_id=LogIdMessage(key_id=format_bytes(log.log_id)),
        operator=log.operator or msgspec.UNSET,
    )


def _authority_to_message(authority: CertificateAuthority) -> _Authority:
    return _Authority(
        subject=_DistinguishedName(organization=authority.organization, common_name=authority.common_name),
        uri=authority.uri,
        cert_chain=_Chain(
            certificates=tuple(_RawBytes(raw_bytes=format_bytes(der)) for der in authority.certificates)
        ),
        valid_for=validity_to_message(authority.valid_for),
        operator=authority.operator or msgspec.UNSET,
    )
