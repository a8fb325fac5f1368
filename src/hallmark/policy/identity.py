"""Policies over a proven identity: who may have signed.

A policy raises `UntrustedIdentity`, naming what was wanted and what was found; it never returns a verdict.
"""

import re
from typing import Final

import msgspec

from hallmark.core.x509.certificate import CertificateIdentity
from hallmark.errors import ConfigurationError, UntrustedIdentity
from hallmark.verify.verifier import IdentityPolicy

MAX_PATTERN: Final = 1024
MAX_SUBJECT: Final = 4096


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """Exactly this identity, vouched for by exactly this OIDC issuer.

    An empty issuer means a certificate that names none: its CA alone vouches for the identity.
    """

    identity: str
    oidc_issuer: str

    def check(self, identity: CertificateIdentity) -> None:
        """Check a proven identity; raises `UntrustedIdentity`."""
        if (identity.identity, identity.oidc_issuer) != (self.identity, self.oidc_issuer):
            raise _untrusted(identity, f"{self.identity!r} by {_issuer(self.oidc_issuer)}")


class IdentityPattern(msgspec.Struct, frozen=True, kw_only=True):
    """An identity and an OIDC issuer that match two regular expressions, each as a whole.

    A pattern that only had to occur somewhere would match `https://example.com.evil.test` too. A certificate
    without issuer matches the empty pattern alone, not `.*`. Raises `ConfigurationError` for a pattern that
    does not compile or is too long.
    """

    identity: str
    oidc_issuer: str

    def __post_init__(self) -> None:
        _compile(self.identity)
        _compile(self.oidc_issuer)

    def check(self, identity: CertificateIdentity) -> None:
        """Check a proven identity; raises `UntrustedIdentity`."""
        pairs = ((self.identity, identity.identity), (self.oidc_issuer, identity.oidc_issuer))
        if bool(self.oidc_issuer) != bool(identity.oidc_issuer) or not all(
            len(found) <= MAX_SUBJECT and _compile(wanted).fullmatch(found) for wanted, found in pairs
        ):
            raise _untrusted(identity, f"a match of {self.identity!r} by {_issuer(self.oidc_issuer)}")


class AllOf(msgspec.Struct, frozen=True):
    """Every one of several policies; none at all would allow everybody and raises `ConfigurationError`."""

    policies: tuple[IdentityPolicy, ...]

    def __post_init__(self) -> None:
        _check_some(self.policies)

    def check(self, identity: CertificateIdentity) -> None:
        """Check a proven identity; raises the `UntrustedIdentity` of the first policy that is not met."""
        for policy in self.policies:
            policy.check(identity)


class AnyOf(msgspec.Struct, frozen=True):
    """At least one of several policies; raises `ConfigurationError` when made of none."""

    policies: tuple[IdentityPolicy, ...]

    def __post_init__(self) -> None:
        _check_some(self.policies)

    def check(self, identity: CertificateIdentity) -> None:
        """Check a proven identity; raises `UntrustedIdentity` with all that was wanted."""
        reasons: list[str] = []
        for policy in self.policies:
            try:
                return policy.check(identity)
            except UntrustedIdentity as error:
                reasons.append(error.message)
        raise UntrustedIdentity("; ".join(reasons))


class UnsafeAnyIdentity(msgspec.Struct, frozen=True):
    """Anybody. Proves only that somebody with an identity signed; for showing facts, never for trust."""

    def check(self, identity: CertificateIdentity) -> None:
        """Accept every proven identity."""


unsafe_any_identity: Final = UnsafeAnyIdentity()


def _compile(pattern: str) -> re.Pattern[str]:
    if len(pattern) > MAX_PATTERN:
        raise ConfigurationError(f"a pattern of {len(pattern)} characters is longer than {MAX_PATTERN}")
    try:
        return re.compile(pattern)
    except (re.error, RecursionError, OverflowError) as error:
        raise ConfigurationError(f"the pattern {pattern[:80]!r} does not compile: {error}") from None


def _check_some(policies: tuple[IdentityPolicy, ...]) -> None:
    if not policies:
        raise ConfigurationError("a policy made of no policies decides nothing")


def _issuer(oidc_issuer: str) -> str:
    return f"issuer {oidc_issuer!r}" if oidc_issuer else "no issuer"


def _untrusted(found: CertificateIdentity, wanted: str) -> UntrustedIdentity:
    return UntrustedIdentity(
        f"signed by {found.identity!r} by {_issuer(found.oidc_issuer)}, wanted {wanted}",
        hint="check the identity and the issuer that you named",
    )
