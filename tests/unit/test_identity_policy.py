"""Policies decide over proven identities."""

import pytest
from msgspec.structs import replace

from hallmark.core.x509.certificate import CertificateIdentity
from hallmark.errors import ConfigurationError, UntrustedIdentity
from hallmark.policy.identity import (
    MAX_PATTERN,
    MAX_SUBJECT,
    AllOf,
    AnyOf,
    Identity,
    IdentityPattern,
    unsafe_any_identity,
)

ALICE = CertificateIdentity(
    identity="alice@example.com", kind="email", oidc_issuer="https://issuer.test", extensions={}
)
IS_ALICE = Identity(identity="alice@example.com", oidc_issuer="https://issuer.test")
IS_BOB = Identity(identity="bob@example.com", oidc_issuer="https://issuer.test")


def pattern(identity: str, oidc_issuer: str = ".*") -> IdentityPattern:
    return IdentityPattern(identity=identity, oidc_issuer=oidc_issuer)


@pytest.mark.parametrize(
    "policy",
    [
        IS_ALICE,
        pattern(r"[a-z]+@example\.com"),
        pattern("alice@example.com", r"https://issuer\.test"),
        AllOf((IS_ALICE, pattern(".*"))),
        AnyOf((IS_BOB, IS_ALICE)),
        unsafe_any_identity,
    ],
)
def test_accepts_the_named_identity(policy):
    policy.check(ALICE)


@pytest.mark.parametrize(
    "policy",
    [
        IS_BOB,
        Identity(identity="Alice@example.com", oidc_issuer="https://issuer.test"),
        Identity(identity="alice@example.com", oidc_issuer="https://issuer.test/"),
        Identity(identity="", oidc_issuer=""),
        pattern("alice"),
        pattern("@example.com"),
        pattern(".*", "issuer"),
        pattern("bob|alice@example.co"),
        AllOf((IS_ALICE, IS_BOB)),
        AnyOf((IS_BOB, pattern("nobody"))),
    ],
)
def test_refuses_everybody_else_and_says_who_it_was(policy):
    with pytest.raises(UntrustedIdentity, match="alice@example"):
        policy.check(ALICE)


def test_names_what_was_wanted():
    with pytest.raises(UntrustedIdentity, match=r"bob@example\.com.*nobody"):
        AnyOf((IS_BOB, pattern("nobody"))).check(ALICE)


@pytest.mark.parametrize("kind", [AllOf, AnyOf])
def test_refuses_a_policy_of_no_policies(kind):
    with pytest.raises(ConfigurationError):
        kind(())


@pytest.mark.parametrize("bad", ["(", "a" * 1025, "a{99999999999}"])
def test_refuses_a_pattern_that_cannot_be_used(bad):
    with pytest.raises(ConfigurationError):
        pattern(bad)
    with pytest.raises(ConfigurationError):
        pattern(".*", bad)


def test_a_pattern_and_what_it_matches_have_bounds():
    pattern(".*" + "a?" * (MAX_PATTERN // 2 - 1))
    with pytest.raises(ConfigurationError, match=f"{MAX_PATTERN + 1} characters"):
        pattern("a" * (MAX_PATTERN + 1))
    for field in ("identity", "oidc_issuer"):
        pattern(".*").check(replace(ALICE, **{field: "a" * MAX_SUBJECT}))
        with pytest.raises(UntrustedIdentity):
            pattern(".*").check(replace(ALICE, **{field: "a" * (MAX_SUBJECT + 1)}))


def test_an_identity_of_absurd_length_matches_nothing():
    endless = CertificateIdentity(identity="a" * 5000, kind="email", oidc_issuer="x", extensions={})
    with pytest.raises(UntrustedIdentity):
        pattern(".*").check(endless)


RELEASES = CertificateIdentity(identity="https://releases.test", kind="uri", oidc_issuer="", extensions={})


@pytest.mark.parametrize(
    "policy", [Identity(identity="https://releases.test", oidc_issuer=""), pattern("https://releases.*", "")]
)
def test_accepts_a_certificate_without_issuer_where_none_is_wanted(policy):
    policy.check(RELEASES)
    with pytest.raises(UntrustedIdentity, match=r"wanted .* no issuer"):
        policy.check(ALICE)


@pytest.mark.parametrize(
    "policy",
    [
        Identity(identity="https://releases.test", oidc_issuer="https://issuer.test"),
        pattern("https://releases.*", ".*"),
        pattern(".*", "(https://issuer.test)?"),
    ],
)
def test_a_pattern_of_issuers_does_not_match_a_certificate_without_one(policy):
    with pytest.raises(UntrustedIdentity, match="by no issuer"):
        policy.check(RELEASES)
