"""What `hallmark inspect` shows of trusted roots, signing configs and client trust configs."""

from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from hallmark.core.encoding.json_document import decode_members
from hallmark.core.encoding.protojson import format_timestamp
from hallmark.core.signing_config import (
    CLIENT_TRUST_CONFIG_V01,
    MAX_CLIENT_TRUST_CONFIG_BYTES,
    SIGNING_CONFIG_V02,
    Service,
    SigningConfig,
    parse_client_trust_config,
    parse_signing_config,
    unknown_client_trust_config_fields,
    unknown_signing_config_fields,
)
from hallmark.core.trusted_root import (
    MAX_ROOTS,
    MEDIA_TYPES,
    CertificateAuthority,
    TransparencyLog,
    TrustedRoot,
    Validity,
    parse_trusted_root,
    unknown_trusted_root_fields,
)
from hallmark.core.x509.certificate import load_certificate
from hallmark.errors import MalformedInput

_MAX_BYTES: Final = MAX_CLIENT_TRUST_CONFIG_BYTES


def describe_trust(data: bytes) -> dict[str, Any] | None:
    """Give everything in a trust document as JSON values; None for a document of another kind.

    Raises `MalformedInput` for one of these kinds that does not parse.
    """
    if len(data) > _MAX_BYTES or data.strip()[:1] != b"{":
        return None
    lines = [line for line in data.split(b"\n") if line.strip()]
    if 1 < len(lines) <= MAX_ROOTS and all(_members(line) is not None for line in lines):
        found = [_describe_one(line) for line in lines]
        documents = [item for item in found if item is not None]
        return {"kind": "JSON lines", "documents": documents} if len(documents) == len(found) else None
    return _describe_one(data)


def _members(data: bytes) -> Mapping[str, msgspec.Raw] | None:
    try:
        return decode_members(data, what="the file", max_bytes=_MAX_BYTES)
    except MalformedInput:
        return None


def _describe_one(data: bytes) -> dict[str, Any] | None:
    members = _members(data)
    if members is None:
        return None
    named = bytes(members.get("mediaType") or members.get("media_type") or b"")
    kind = _KINDS.get(named.decode("utf-8", "replace").strip('"'))
    if kind is None:
        return None
    name, describe, find_unknown = kind
    unknown = find_unknown(data)
    return {"kind": name, **describe(data), **({"unknownFields": list(unknown)} if unknown else {})}


def _trusted_root(data: bytes) -> dict[str, Any]:
    return _root(parse_trusted_root(data))


def _signing_config(data: bytes) -> dict[str, Any]:
    return _services(parse_signing_config(data))


def _client_trust_config(data: bytes) -> dict[str, Any]:
    found = parse_client_trust_config(data)
    return {"trustedRoot": _root(found.trusted_root), "signingConfig": _services(found.signing_config)}


_Describe = Callable[[bytes], dict[str, Any]]
_FindUnknown = Callable[[bytes], tuple[str, ...]]
_KINDS: Final[Mapping[str, tuple[str, _Describe, _FindUnknown]]] = {
    **dict.fromkeys(MEDIA_TYPES, ("a trusted root", _trusted_root, unknown_trusted_root_fields)),
    SIGNING_CONFIG_V02: ("a signing config", _signing_config, unknown_signing_config_fields),
    CLIENT_TRUST_CONFIG_V01: (
        "a client trust config",
        _client_trust_config,
        unknown_client_trust_config_fields,
    ),
}


def _root(root: TrustedRoot) -> dict[str, Any]:
    facts = {
        "logs": [_log(item) for item in root.tlogs],
        "certificateAuthorities": [_authority(item) for item in root.certificate_authorities],
        "ctLogs": [_log(item) for item in root.ctlogs],
        "timestampAuthorities": [_authority(item) for item in root.timestamp_authorities],
    }
    unread = root.unread_tlogs + root.unread_ctlogs
    return {**facts, **({"logsWithUnknownKeys": unread} if unread else {})}


def _log(log: TransparencyLog) -> dict[str, Any]:
    return {
        "url": log.base_url,
        "logId": log.log_id.hex(),
        "key": log.key.algorithm.name,
        "validFor": _validity(log.valid_for),
    }


def _authority(authority: CertificateAuthority) -> dict[str, Any]:
    certificates = [load_certificate(der) for der in authority.certificates]
    return {
        "url": authority.uri,
        "validFor": _validity(authority.valid_for),
        "certificates": [
            {
                "subject": item.subject.rfc4514_string(),
                "notBefore": format_timestamp(item.not_valid_before_utc),
                "notAfter": format_timestamp(item.not_valid_after_utc),
            }
            for item in certificates
        ],
    }


def _services(config: SigningConfig) -> dict[str, Any]:
    return {
        "certificateAuthorities": [_service(item) for item in config.ca_urls],
        "identityProviders": [_service(item) for item in config.oidc_urls],
        "logs": [_service(item) for item in config.rekor_tlog_urls],
        "logSelector": f"{config.rekor_tlog_config.mode} {config.rekor_tlog_config.count or ''}".strip(),
        "timestampAuthorities": [_service(item) for item in config.tsa_urls],
        "timestampSelector": f"{config.tsa_config.mode} {config.tsa_config.count or ''}".strip(),
    }


def _service(service: Service) -> dict[str, Any]:
    return {
        "url": service.url,
        "apiVersion": service.major_api_version,
        "operator": service.operator,
        "validFor": _validity(service.valid_for),
    }


def _validity(validity: Validity) -> str:
    end = "" if validity.end is None else format_timestamp(validity.end)
    return f"{format_timestamp(validity.start)} to {end or 'now and on'}"
