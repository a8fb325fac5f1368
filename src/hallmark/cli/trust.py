"""From a command's options to what it trusts."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from hallmark.client.contexts import Context
from hallmark.client.renewing import RootMaterial
from hallmark.client.trust import (
    LocalInstance,
    choose_source,
    local_client_trust_config,
    local_trusted_root,
    no_trust,
    parse_material,
    parse_material_root,
    read_client_trust_config,
    read_trusted_roots,
)
from hallmark.client.trust_cache import TrustMaterial
from hallmark.core.signing_config import ClientTrustConfig
from hallmark.errors import ConfigurationError, HallmarkError, RemoteError, TrustError

_Fetched = TypeVar("_Fetched")

RENEWAL_SECONDS: Final = 5.0  # a verdict may wait for the network as long as a person does


class TrustOptions(msgspec.Struct, frozen=True, kw_only=True):
    """The options of `cli.options.trust_options`."""

    instance: str = ""
    trusted_root: Path | None = None
    trust_config: Path | None = None
    offline: bool = False


class SigningMaterial(msgspec.Struct, frozen=True, kw_only=True):
    """The instance to sign with, and how to read or fetch what it is now: None for a file.

    `fetched_now` says that nothing newer was to be had when this command began.
    """

    config: ClientTrustConfig
    renew: Callable[[], ClientTrustConfig] | None = None
    update_command: str = ""
    fetched_now: bool = True

    @property
    def roots(self) -> RootMaterial:
        """What to verify against, renewed as `trust_to_verify` does."""
        roots, renew = (self.config.trusted_root,), self.renew
        if renew is None or self.fetched_now:
            return RootMaterial(roots, update_command=self.update_command)
        return RootMaterial(
            roots, lambda: RootMaterial((renew().trusted_root,)), update_command=self.update_command
        )


def trust_to_verify(options: TrustOptions) -> RootMaterial:
    """Find the trusted roots to verify against; raises `TrustError`.

    Here the network is used only where the material kept for a context is missing or has expired, and with
    `offline` never.
    """
    if options.trusted_root is not None:
        return RootMaterial(read_trusted_roots(options.trusted_root))
    if options.trust_config is not None:
        return RootMaterial((read_client_trust_config(options.trust_config).trusted_root,))
    source = choose_source(options.instance)
    if source is None:
        raise no_trust()
    if isinstance(source, LocalInstance):
        return RootMaterial((local_trusted_root(source),))
    return _context_root(source, offline=options.offline)


def trust_to_sign(options: TrustOptions) -> SigningMaterial:
    """Find the instance to sign with; raises `TrustError`, `RemoteError` or `ConfigurationError`."""
    if options.trust_config is not None:
        return SigningMaterial(config=read_client_trust_config(options.trust_config))
    source = choose_source(options.instance)
    if source is None:
        raise ConfigurationError(
            "nothing says which instance to sign with",
            code="no_instance",
            hint="start one with hallmark up, then pass --instance URL or add it with hallmark context add",
        )
    if isinstance(source, LocalInstance):
        read = partial(local_client_trust_config, source)
        return SigningMaterial(config=read(), renew=read)
    return context_material(source)


def context_material(context: Context) -> SigningMaterial:
    """Get the trust material of a context, an hour old at most; an error says where the clock is wrong."""
    from hallmark.cli.clock import explain_clock
    from hallmark.client.http import HttpClient
    from hallmark.client.signing import system_clock
    from hallmark.client.trust_update import fresh_trust

    http = HttpClient()
    now = system_clock()
    try:
        material = fresh_trust(context, http, now)
        config = parse_material(material)
    except HallmarkError as error:
        raise explain_clock(error, context.url, http) from None
    return SigningMaterial(
        config=config,
        renew=partial(_renew_config, context),
        update_command=_update_command(context),
        fetched_now=material.fetched >= now,
    )


def _context_root(context: Context, *, offline: bool) -> RootMaterial:
    from datetime import UTC, datetime

    from hallmark.client.kept_trust import stored_trust

    command = _update_command(context)
    material = stored_trust(context, datetime.now(UTC))
    if material is not None:
        return RootMaterial(
            (parse_material_root(material),), lambda: _renew(context, offline=offline), update_command=command
        )
    try:
        return _fetch(context, offline=offline)
    except RemoteError as error:
        raise TrustError(
            f"the trust material of context {context.name!r} is missing or has expired, and {error.message}",
            code="expired_trust_material",
            hint=f"{command}, once the instance can be reached",
        ) from None


def _update_command(context: Context) -> str:
    return f"hallmark context update {context.name}"


def _fetch(context: Context, *, offline: bool) -> RootMaterial:
    if offline:
        raise RemoteError("the network may not be used (--offline)")
    return RootMaterial((parse_material_root(_fetch_material(context)),))


def _fetch_material(context: Context) -> TrustMaterial:
    from datetime import UTC, datetime

    from hallmark.cli.clock import explain_clock
    from hallmark.client.http import HttpClient
    from hallmark.client.trust_update import update_trust

    http = HttpClient()
    try:
        return update_trust(context, http, datetime.now(UTC))
    except HallmarkError as error:
        raise explain_clock(error, context.url, http) from None


def _renew(context: Context, *, offline: bool) -> RootMaterial:
    return _bounded(context, lambda: _fetch(context, offline=offline))


def _renew_config(context: Context) -> ClientTrustConfig:
    return _bounded(context, lambda: parse_material(_fetch_material(context)))


def _bounded(context: Context, fetch: Callable[[], _Fetched]) -> _Fetched:
    """On a thread of its own: a name server that does not answer is bounded by nothing else."""
    from hallmark.cli.bounded import run_bounded

    return run_bounded(
        fetch,
        seconds=RENEWAL_SECONDS,
        late=RemoteError(f"{context.tuf_url} did not give it within {RENEWAL_SECONDS:g} s"),
    )
