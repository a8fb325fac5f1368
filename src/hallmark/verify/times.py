"""Steps 1 and 6: when the signature existed, according to timestamp authorities and Rekor v1 logs."""

import hashlib
from datetime import UTC, datetime
from typing import Final

from hallmark.core.bundle import Bundle
from hallmark.core.encoding.canonical_json import canonical_json
from hallmark.core.encoding.protojson import format_bytes
from hallmark.core.timestamp import verify_timestamp
from hallmark.core.transparency_log_entry import TransparencyLogEntry
from hallmark.core.trusted_root import CertificateAuthority, TransparencyLog, TrustedRoot
from hallmark.errors import InvalidEntry, InvalidSignature, InvalidTimestamp, MalformedInput
from hallmark.verify.verified import EstablishedTime

_MAX_TIME: Final = 253_402_300_799  # the last second of the year 9999


def established_times(bundle: Bundle, trusted_root: TrustedRoot) -> tuple[EstablishedTime, ...]:
    """Every time that a trusted source vouches for, the earliest first.

    All of them must suit the certificates, so the order in the bundle does not matter. A timestamp that does
    not hold is left out, but a false promise of a trusted log is refused: raises `InvalidEntry`.
    """
    times = {
        found
        for response in set(bundle.timestamps)
        for authority in trusted_root.timestamp_authorities
        if (found := _timestamp(response, bundle.signature, authority)) is not None
    }
    for entry in bundle.tlog_entries:
        found = _integrated_time(entry, trusted_root)
        if found is not None:
            times.add(found)
    return tuple(sorted(times, key=lambda item: (item.time, item.source_id)))


def check_times(bundle: Bundle, times: tuple[EstablishedTime, ...], required: int) -> None:
    """Check that enough sources vouch for a time; raises `InvalidTimestamp` with code `no_time`.

    Several times of one source are the word of one.
    """
    sources = {item.source_id for item in times}
    if len(sources) < required:
        raise InvalidTimestamp(
            f"{len(sources)} trusted sources of time vouch for the signature, {required} are needed "
            f"(the bundle has {len(bundle.timestamps)} timestamps)",
            code="no_time",
        )


def _timestamp(response: bytes, signature: bytes, authority: CertificateAuthority) -> EstablishedTime | None:
    try:
        time = verify_timestamp(response, signature, authority.certificates).time
    except (InvalidTimestamp, MalformedInput):
        return None  # of another authority, or broken; either way it proves nothing
    if not authority.valid_for.contains(time):
        return None
    return EstablishedTime(
        time=time,
        source="timestamp_authority",
        name=authority.uri or authority.common_name,
        source_id=hashlib.sha256(authority.certificates[0]).digest(),
    )


def _integrated_time(entry: TransparencyLogEntry, trusted_root: TrustedRoot) -> EstablishedTime | None:
    if entry.inclusion_promise is None:
        return None  # without the log's signature the time is anybody's claim
    logs = [log for log in trusted_root.tlogs if log.log_id == entry.log_id]
    if not logs:
        return None
    if not 0 < entry.integrated_time <= _MAX_TIME:
        raise InvalidEntry("the inclusion promise states no time", code="invalid_promise")
    time = datetime.fromtimestamp(entry.integrated_time, UTC)
    for log in logs:
        if log.valid_for.contains(time):
            _verify_promise(entry, entry.inclusion_promise, log)
            return EstablishedTime(time=time, source="log", name=log.name, source_id=log.log_id)
    raise InvalidEntry(f"the key of log {logs[0].name} is not valid at {time}", code="outside_validity")


def _verify_promise(entry: TransparencyLogEntry, promise: bytes, log: TransparencyLog) -> None:
    """Check a signed entry timestamp: the log's signature over the canonical JSON of what it promised."""
    payload = canonical_json(
        {
            "body": format_bytes(entry.canonicalized_body),
            "integratedTime": entry.integrated_time,
            "logID": entry.log_id.hex(),
            "logIndex": entry.log_index,
        }
    )
    try:
        log.key.verify(promise, payload)
    except InvalidSignature:
        raise InvalidEntry(
            f"the inclusion promise of {log.name} does not verify", code="invalid_promise"
        ) from None
