"""Steps 1 and 6: when the signature existed, according to timestamp authorities and Rekor v1 logs."""

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
    """Every time that a trusted source vouches for, one for each source at most.

    A timestamp that does not hold counts for nothing, but a false promise of a trusted log is refused:
    raises `InvalidEntry`.
    """
    times: dict[object, EstablishedTime] = {}
    for response in bundle.timestamps:
        for authority in trusted_root.timestamp_authorities:
            found = _timestamp(response, bundle.signature, authority)
            if found is not None:
                times.setdefault(authority.certificates, found)
    for entry in bundle.tlog_entries:
        found = _integrated_time(entry, trusted_root)
        if found is not None:
            times.setdefault(entry.log_id, found)
    return tuple(times.values())


def check_times(bundle: Bundle, times: tuple[EstablishedTime, ...], required: int) -> None:
    """Check that enough sources vouch for a time; raises `InvalidTimestamp` with code `no_time`."""
    if len(times) < required:
        raise InvalidTimestamp(
            f"{len(times)} trusted sources of time vouch for the signature, {required} are needed "
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
    return EstablishedTime(time, "timestamp_authority", authority.uri or authority.common_name)


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
            return EstablishedTime(time, "log", log.base_url)
    raise InvalidEntry(f"the key of log {logs[0].base_url} does not count at {time}", code="outside_validity")


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
            f"the inclusion promise of {log.base_url} does not verify", code="invalid_promise"
        ) from None
