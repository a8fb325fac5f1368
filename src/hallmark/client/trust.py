"""Which trust material counts for a command, found without touching the network.

It comes from files that the user names, from the directory of an instance on this machine, or from what was
kept of an instance whose root the user pinned in a context: `kept_trust` checks that, `trust_update` fetches
what is missing.
"""

from pathlib import Path
from typing import Final

import msgspec

from hallmark.client.contexts import Context, load_contexts
from hallmark.client.files import read_file
from hallmark.client.instances import find_instance
from hallmark.client.trust_cache import TrustMaterial
from hallmark.core.signing_config import (
    MAX_CLIENT_TRUST_CONFIG_BYTES,
    MAX_SIGNING_CONFIG_BYTES,
    ClientTrustConfig,
    SigningConfig,
    parse_client_trust_config,
    parse_signing_config,
)
from hallmark.core.trusted_root import (
    MAX_TRUSTED_ROOT_BYTES,
    TrustedRoot,
    parse_trusted_root,
    parse_trusted_roots,
)
from hallmark.errors import ConfigurationError, MalformedInput, TrustError

_MAX_INSTANCE_BYTES: Final = 64 << 10
_MISSING_HINT: Final = (
    "name a file with --trusted-root, an instance with --instance, or add a context with hallmark context add"
)


class LocalInstance(msgspec.Struct, frozen=True):
    """An instance whose directory is on this machine; its `client` folder holds the trust material."""

    url: str
    directory: Path


TrustSource = LocalInstance | Context


class _InstanceFile(msgspec.Struct, frozen=True):
    base_url: str


def choose_source(instance: str) -> TrustSource | None:
    """Find what stands for `instance`, a URL or a context's name; for "" the current context, if any.

    For a URL, an instance of this machine comes first, then a context of that URL. Raises `TrustError` for an
    instance that nothing vouches for: a URL alone proves nothing.
    """
    contexts = load_contexts()
    if not instance:
        return contexts.get(contexts.current) if contexts.current else None
    if instance in contexts.contexts:
        return contexts.contexts[instance]
    directory = find_instance(instance)
    if directory is not None:
        return LocalInstance(instance.rstrip("/"), directory)
    found = contexts.find(instance)
    if found is not None:
        return found
    if not instance.startswith(("http://", "https://")):
        contexts.get(instance)  # no URL, so a name; raises, for there is none such
    raise TrustError(
        f"nothing vouches for {instance}",
        code="unpinned_instance",
        hint=f"hallmark context add NAME {instance} --root-fingerprint HEX, with what its operator tells you",
    )


def read_instance_url(directory: Path) -> str:
    """Read the base URL of the instance in `directory`; raises `ConfigurationError`."""
    path = directory / "instance.json"
    if not path.is_file():
        raise ConfigurationError(
            f"{directory} is not the directory of an instance: it has no instance.json",
            code="no_instance",
            hint="pass --data DIR, the directory that hallmark up was given",
        )
    try:
        found = msgspec.json.decode(read_file(path, max_bytes=_MAX_INSTANCE_BYTES), type=_InstanceFile)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise ConfigurationError(f"{path} is damaged", code="damaged_instance") from None
    return found.base_url.rstrip("/")


def read_trusted_root(path: Path) -> TrustedRoot:
    """Read a trusted root from a file; raises `TrustError`, so that it is told from a damaged bundle."""
    try:
        return parse_trusted_root(_read(path, MAX_TRUSTED_ROOT_BYTES))
    except MalformedInput as error:
        raise _damaged(path, error) from None


def read_trusted_roots(path: Path) -> tuple[TrustedRoot, ...]:
    """Read every trusted root of a file, see `parse_trusted_roots`; raises `TrustError`."""
    try:
        return parse_trusted_roots(_read(path, MAX_TRUSTED_ROOT_BYTES))
    except MalformedInput as error:
        raise _damaged(path, error) from None


def read_signing_config(path: Path) -> SigningConfig:
    """Read a signing config from a file; raises `TrustError`."""
    try:
        return parse_signing_config(_read(path, MAX_SIGNING_CONFIG_BYTES))
    except MalformedInput as error:
        raise _damaged(path, error) from None


def read_client_trust_config(path: Path) -> ClientTrustConfig:
    """Read a client trust config from a file; raises `TrustError`."""
    try:
        return parse_client_trust_config(_read(path, MAX_CLIENT_TRUST_CONFIG_BYTES))
    except MalformedInput as error:
        raise _damaged(path, error) from None


def parse_material(material: TrustMaterial) -> ClientTrustConfig:
    """Read what a TUF repository vouched for; raises `TrustError`."""
    try:
        return ClientTrustConfig(
            parse_trusted_root(material.trusted_root), parse_signing_config(material.signing_config)
        )
    except MalformedInput as error:
        raise _damaged(material.tuf_url, error) from None


def parse_material_root(material: TrustMaterial) -> TrustedRoot:
    """Read the trusted root alone; raises `TrustError`."""
    try:
        return parse_trusted_root(material.trusted_root)
    except MalformedInput as error:
        raise _damaged(material.tuf_url, error) from None


def local_trusted_root(local: LocalInstance) -> TrustedRoot:
    """Read the trusted root of an instance on this machine; raises `TrustError`."""
    return read_trusted_root(local.directory / "client" / "trusted_root.json")


def local_client_trust_config(local: LocalInstance) -> ClientTrustConfig:
    """Read the trust config of an instance on this machine; raises `TrustError`."""
    return read_client_trust_config(local.directory / "client" / "client_trust_config.json")


def no_trust() -> TrustError:
    """Describe that nothing says what to trust."""
    return TrustError(
        "nothing says what to verify against", code="missing_trust_material", hint=_MISSING_HINT
    )


def _read(path: Path, max_bytes: int) -> bytes:
    try:
        return read_file(path, max_bytes=max_bytes)
    except ConfigurationError as error:
        raise TrustError(error.message, code="missing_trust_material", hint=_MISSING_HINT) from None


def _damaged(source: object, error: MalformedInput) -> TrustError:
    return TrustError(
        f"the trust material in {source} is damaged: {error.message}",
        code="damaged_trust_material",
        hint="get it again from the instance",
    )
