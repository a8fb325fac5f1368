"""Signing configs v0.2 (protobuf-specs `dev.sigstore.trustroot.v1.SigningConfig`) and client trust configs.

A signing config says which services to sign with; a client trust config is one file with a trusted root and
a signing config.
"""

from collections.abc import Collection
from datetime import datetime
from typing import Final

import msgspec

from hallmark.core.encoding.json_document import check_media_type
from hallmark.core.encoding.message import (
    Enum,
    Int,
    Message,
    TimeRange,
    decode_message,
    unknown_fields,
)
from hallmark.core.encoding.protojson import parse_enum, parse_int32
from hallmark.core.trusted_root import (
    MAX_INSTANCES,
    TrustedRoot,
    TrustedRootMessage,
    Validity,
    parse_validity,
    trusted_root_from_message,
    trusted_root_to_message,
    validity_to_message,
)
from hallmark.errors import MalformedInput, TrustError

SIGNING_CONFIG_V02: Final = "application/vnd.dev.sigstore.signingconfig.v0.2+json"
CLIENT_TRUST_CONFIG_V01: Final = "application/vnd.dev.sigstore.clienttrustconfig.v0.1+json"
MAX_SIGNING_CONFIG_BYTES: Final = 1024 * 1024
MAX_CLIENT_TRUST_CONFIG_BYTES: Final = 5 * 1024 * 1024

_UNDEFINED: Final = "SERVICE_SELECTOR_UNDEFINED"
_MODES: Final = {0: _UNDEFINED, 1: "ALL", 2: "ANY", 3: "EXACT"}  # `ServiceSelector`
_MAX_COUNT: Final = 32
_MAX_URL: Final = 2048


class Service(msgspec.Struct, frozen=True, kw_only=True):
    """One service: where it is, which API it speaks, and when it may be used."""

    url: str
    major_api_version: int
    valid_for: Validity
    operator: str


class Selector(msgspec.Struct, frozen=True):
    """How many services to use: `ALL`, `ANY` (one) or `EXACT` with a count; nothing can select undefined."""

    mode: str
    count: int = 0


UNDEFINED: Final = Selector(_UNDEFINED)
ANY: Final = Selector("ANY")
ALL: Final = Selector("ALL")


class SigningConfig(msgspec.Struct, frozen=True, kw_only=True):
    """The services to sign with. An empty tuple says that the kind of service is not used."""

    ca_urls: tuple[Service, ...] = ()
    oidc_urls: tuple[Service, ...] = ()
    rekor_tlog_urls: tuple[Service, ...] = ()
    rekor_tlog_config: Selector = UNDEFINED
    tsa_urls: tuple[Service, ...] = ()
    tsa_config: Selector = UNDEFINED

    def to_json(self) -> bytes:
        """Print the signing config in version 0.2."""
        return msgspec.json.encode(_to_message(self))


class ClientTrustConfig(msgspec.Struct, frozen=True):
    """A trusted root and a signing config in one file."""

    trusted_root: TrustedRoot
    signing_config: SigningConfig

    def to_json(self) -> bytes:
        """Print the client trust config."""
        return msgspec.json.encode(
            _ClientTrustConfig(
                media_type=CLIENT_TRUST_CONFIG_V01,
                trusted_root=trusted_root_to_message(self.trusted_root),
                signing_config=_to_message(self.signing_config),
            )
        )


def select(
    services: tuple[Service, ...], supported_versions: Collection[int], selector: Selector, now: datetime
) -> tuple[Service, ...]:
    """Choose the services to use; an empty list chooses none.

    Of those valid now, only the highest API version that is supported counts, and of each operator only the
    service that started last; their order is kept. Raises `TrustError` with code `no_service` when too few
    are left, or when the config does not say how to select.
    """
    if not services:
        return ()
    if selector.mode == _UNDEFINED:
        raise TrustError("the signing config does not say how to select its services", code="no_service")
    usable = [
        item
        for item in services
        if item.major_api_version in supported_versions and item.valid_for.contains(now)
    ]
    highest = max((item.major_api_version for item in usable), default=0)
    candidates = _newest_by_operator([item for item in usable if item.major_api_version == highest])
    wanted = {"ALL": len(candidates), "ANY": 1}.get(selector.mode, selector.count)
    if not candidates or len(candidates) < wanted:
        raise TrustError(
            f"the signing config has {len(candidates)} usable services, {max(wanted, 1)} are needed: "
            + ", ".join(item.url for item in services),
            code="no_service",
            hint="fetch the signing config again, or update this client",
        )
    return candidates[:wanted]


def _newest_by_operator(services: list[Service]) -> tuple[Service, ...]:
    newest: dict[str, Service] = {}
    for item in services:
        known = newest.get(item.operator)
        if known is None or known.valid_for.start < item.valid_for.start:
            newest[item.operator] = item
    return tuple(item for item in services if newest[item.operator] is item)


class _Service(Message, frozen=True):
    url: str | None = ""
    major_api_version: Int = 0
    valid_for: TimeRange | None = None
    operator: str | None = ""


class _Selector(Message, frozen=True):
    selector: Enum = _UNDEFINED
    count: Int | msgspec.UnsetType = msgspec.UNSET


class _SigningConfig(Message, frozen=True):
    media_type: str
    ca_urls: tuple[_Service, ...] | None = ()
    oidc_urls: tuple[_Service, ...] | None = ()
    rekor_tlog_urls: tuple[_Service, ...] | None = ()
    rekor_tlog_config: _Selector | msgspec.UnsetType | None = msgspec.UNSET
    tsa_urls: tuple[_Service, ...] | None = ()
    tsa_config: _Selector | msgspec.UnsetType | None = msgspec.UNSET


class _ClientTrustConfig(Message, frozen=True):
    media_type: str
    trusted_root: TrustedRootMessage
    signing_config: _SigningConfig


def parse_signing_config(data: bytes) -> SigningConfig:
    """Read a signing config v0.2; raises `MalformedInput`."""
    found = decode_message(
        _SigningConfig, data, what="the signing config", max_bytes=MAX_SIGNING_CONFIG_BYTES
    )
    return _from_message(found)


def parse_client_trust_config(data: bytes) -> ClientTrustConfig:
    """Read a client trust config; raises `MalformedInput`."""
    what = "the client trust config"
    found = decode_message(_ClientTrustConfig, data, what=what, max_bytes=MAX_CLIENT_TRUST_CONFIG_BYTES)
    check_media_type(found.media_type, (CLIENT_TRUST_CONFIG_V01,), what=what)
    return ClientTrustConfig(
        trusted_root_from_message(found.trusted_root), _from_message(found.signing_config)
    )


def unknown_signing_config_fields(data: bytes) -> tuple[str, ...]:
    """Name the fields of a signing config's JSON that are skipped; raises `MalformedInput`."""
    return unknown_fields(_SigningConfig, data, what="the signing config", max_bytes=MAX_SIGNING_CONFIG_BYTES)


def unknown_client_trust_config_fields(data: bytes) -> tuple[str, ...]:
    """Name the fields of a client trust config's JSON that are skipped; raises `MalformedInput`."""
    what = "the client trust config"
    return unknown_fields(_ClientTrustConfig, data, what=what, max_bytes=MAX_CLIENT_TRUST_CONFIG_BYTES)


def _from_message(found: _SigningConfig) -> SigningConfig:
    check_media_type(found.media_type, (SIGNING_CONFIG_V02,), what="the signing config")
    return SigningConfig(
        ca_urls=_parse_services(found.ca_urls),
        oidc_urls=_parse_services(found.oidc_urls),
        rekor_tlog_urls=_parse_services(found.rekor_tlog_urls),
        rekor_tlog_config=_parse_selector(found.rekor_tlog_config),
        tsa_urls=_parse_services(found.tsa_urls),
        tsa_config=_parse_selector(found.tsa_config),
    )


def _parse_services(found: tuple[_Service, ...] | None) -> tuple[Service, ...]:
    services = found or ()
    if len(services) > MAX_INSTANCES:
        raise MalformedInput(f"the signing config lists more than {MAX_INSTANCES} services of one kind")
    return tuple(_parse_service(item) for item in services)


def _parse_service(found: _Service) -> Service:
    url = found.url or ""
    if not url.startswith(("http://", "https://")) or len(url) > _MAX_URL:
        raise MalformedInput(f"the signing config has no http or https URL: {url[:100]!r}")
    version = parse_int32(found.major_api_version or 0, what="majorApiVersion")
    if version < 0:
        raise MalformedInput(f"the API version of {url!r} is negative")
    return Service(
        url=url,
        major_api_version=version,
        valid_for=parse_validity(found.valid_for),
        operator=found.operator or "",
    )


def _parse_selector(found: _Selector | msgspec.UnsetType | None) -> Selector:
    if not isinstance(found, _Selector):
        return UNDEFINED
    mode = parse_enum(found.selector or _UNDEFINED, _MODES, what="selector")
    count = parse_int32(found.count, what="count") if found.count else 0
    if mode not in _MODES.values():
        raise MalformedInput(f"unknown service selector {mode[:40]!r}")
    if mode != "EXACT":
        return Selector(mode)
    if not 1 <= count <= _MAX_COUNT:
        raise MalformedInput(f"the selector EXACT has the count {count}")
    return Selector(mode, count)


def _to_message(config: SigningConfig) -> _SigningConfig:
    return _SigningConfig(
        media_type=SIGNING_CONFIG_V02,
        ca_urls=_services_to_message(config.ca_urls),
        oidc_urls=_services_to_message(config.oidc_urls),
        rekor_tlog_urls=_services_to_message(config.rekor_tlog_urls),
        rekor_tlog_config=_selector_to_message(config.rekor_tlog_config),
        tsa_urls=_services_to_message(config.tsa_urls),
        tsa_config=_selector_to_message(config.tsa_config),
    )


def _services_to_message(services: tuple[Service, ...]) -> tuple[_Service, ...]:
    return tuple(
        _Service(
            url=item.url,
            major_api_version=item.major_api_version,
            valid_for=validity_to_message(item.valid_for),
            operator=item.operator,
        )
        for item in services
    )


def _selector_to_message(selector: Selector) -> _Selector | msgspec.UnsetType:
    if selector.mode == _UNDEFINED:
        return msgspec.UNSET
    return _Selector(selector=selector.mode, count=selector.count or msgspec.UNSET)
