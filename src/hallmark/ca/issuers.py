"""The identity providers whose tokens the authority accepts."""

from collections.abc import Iterable
from typing import Protocol

import msgspec

from hallmark.core.oidc.issuers import IssuerType
from hallmark.core.oidc.jwks import KeySet
from hallmark.core.oidc.token import UnverifiedToken
from hallmark.errors import ConfigurationError, Unauthenticated


class KeysProvider(Protocol):
    """Knows the keys of one issuer.

    `keys` may wait for the network, and may fetch again when it does not know `key_id`; how often it does
    so is its own business, and must not be the token's. Raises `RemoteError` where it cannot say.
    """

    async def keys(self, key_id: str | None) -> KeySet:
        """Give the keys that tokens of the issuer may be signed with now."""
        ...


class FixedKeys:
    """Keys that are known beforehand, for an issuer of the same process."""

    def __init__(self, key_set: KeySet) -> None:
        self._key_set = key_set

    async def keys(self, key_id: str | None) -> KeySet:
        """Give the keys."""
        return self._key_set


class OidcIssuer(msgspec.Struct, frozen=True, kw_only=True):
    """One accepted issuer: its URL as tokens print it, its type, the audience it must name, its keys."""

    url: str
    issuer_type: IssuerType
    audience: str
    keys: KeysProvider


class OidcIssuers:
    """The table of accepted issuers, by URL."""

    def __init__(self, issuers: Iterable[OidcIssuer]) -> None:
        self._by_url: dict[str, OidcIssuer] = {}
        for issuer in issuers:
            if issuer.url in self._by_url:
                raise ConfigurationError(f"issuer {issuer.url!r} is configured twice")
            self._by_url[issuer.url] = issuer
        if not self._by_url:
            raise ConfigurationError("a certificate authority needs at least one identity provider")

    @property
    def all(self) -> tuple[OidcIssuer, ...]:
        """Every accepted issuer."""
        return tuple(self._by_url.values())

    def find(self, token: UnverifiedToken) -> OidcIssuer:
        """Find the issuer that a token says it is of; raises `Unauthenticated`, `unknown_token_issuer`."""
        issuer = self._by_url.get(token.oidc_issuer)
        if issuer is None:
            raise Unauthenticated(
                f"tokens of issuer {token.oidc_issuer[:200]!r} are not accepted here",
                code="unknown_token_issuer",
                hint=f"accepted: {', '.join(self._by_url)}"[:500],
            )
        return issuer
