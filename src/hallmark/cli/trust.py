"""From a command's options to what it trusts."""

from pathlib import Path

import msgspec

from hallmark.client.contexts import Context
from hallmark.client.trust import (
    LocalInstance,
    choose_source,
    local_client_trust_config,
    local_trusted_root,
    no_trust,
    parse_material,
    parse_material_root,
    read_client_trust_config,
    read_trusted_root,
)
from hallmark.core.signing_config import ClientTrustConfig
from hallmark.core.trusted_root import TrustedRoot
from hallmark.errors import ConfigurationError, RemoteError, TrustError


class TrustOptions(msgspec.Struct, frozen=True, kw_only=True):
    """The options of `cli.options.trust_options`."""

    instance: str = ""
    trusted_root: Path | None = None
    trust_config: Path | None = None


def trust_to_verify(options: TrustOptions) -> TrustedRoot:
    """Find the trusted root to verify against; raises `TrustError`.

    The network is used only where the material kept for a context is missing or has expired.
    """
    if options.trusted_root is not None:
        return read_trusted_root(options.trusted_root)
    if options.trust_config is not None:
        return read_client_trust_config(options.trust_config).trusted_root
    source = choose_source(options.instance)
    if source is None:
        raise no_trust()
    return local_trusted_root(source) if isinstance(source, LocalInstance) else _context_root(source)


def trust_to_sign(options: TrustOptions) -> ClientTrustConfig:
    """Find the instance to sign with; raises `TrustError`, `RemoteError` or `ConfigurationError`."""
    if options.trust_config is not None:
        return read_client_trust_config(options.trust_config)
    source = choose_source(options.instance)
    if source is None:
        raise ConfigurationError(
            "nothing says which instance to sign with",
            code="no_instance",
            hint="start one with hallmark up, then pass --instance URL or add it with hallmark context add",
        )
    if isinstance(source, LocalInstance):
        return local_client_trust_config(source)

    from hallmark.client.http import HttpClient
    from hallmark.client.signing import system_clock
    from hallmark.client.trust_update import fresh_trust

    return parse_material(fresh_trust(source, HttpClient(), system_clock()))


def _context_root(context: Context) -> TrustedRoot:
    from datetime import UTC, datetime

    from hallmark.client.kept_trust import stored_trust

    now = datetime.now(UTC)
    material = stored_trust(context, now)
    if material is not None:
        return parse_material_root(material)

    from hallmark.client.http import HttpClient
    from hallmark.client.trust_update import update_trust

    try:
        return parse_material_root(update_trust(context, HttpClient(), now))
    except RemoteError as error:
        raise TrustError(
            f"the trust material of context {context.name!r} is missing or has expired, and {error.message}",
            code="expired_trust_material",
            hint=f"hallmark context update {context.name}, once the instance can be reached",
        ) from None
