"""Several trusted roots: one that vouches for all of a bundle is enough, and its own demands hold."""

import pytest
from tests.support import world as w
from tests.support.verifying import ALICE, replace

from hallmark.errors import InvalidCertificate, InvalidEntry, InvalidTimestamp, UntrustedIdentity
from hallmark.policy.identity import Identity
from hallmark.verify.several_roots import verify_with_any
from hallmark.verify.verifier import Verified, Verifier

WORLD, OTHER = w.World(), w.World()
WITHOUT_CA = replace(WORLD.root, certificate_authorities=())
WITHOUT_TIME = replace(WORLD.root, timestamp_authorities=())


def verify(bundle, *roots, policy=ALICE) -> Verified:
    verifiers = [Verifier(root) for root in roots]
    return verify_with_any(verifiers, lambda verifier: verifier.verify(bundle, w.artifact(), policy))


def refused(kind: type[Exception], bundle, *roots, policy=ALICE) -> None:
    for ordered in (roots, roots[::-1]):
        with pytest.raises(kind):
            verify(bundle, *ordered, policy=policy)


def test_one_root_that_vouches_is_enough():
    bundle = WORLD.bundle()
    for roots in ((WORLD.root, WITHOUT_CA), (WITHOUT_CA, WORLD.root), (WITHOUT_TIME, WITHOUT_CA, WORLD.root)):
        assert verify(bundle, *roots).identity == w.EMAIL


def test_what_one_instance_lacks_is_not_waived_for_another():
    unlogged = replace(WORLD.bundle(), tlog_entries=())
    other_ca = replace(OTHER.root, tlogs=(), ctlogs=(), certificate_authorities=())
    refused(InvalidEntry, unlogged, WORLD.root, other_ca)


def test_the_root_that_knows_the_signer_says_what_is_wrong():
    bundle = WORLD.bundle()
    bob = Identity(identity="bob@example.com", oidc_issuer=w.OIDC_ISSUER)
    refused(UntrustedIdentity, bundle, WITHOUT_CA, WORLD.root, policy=bob)
    refused(UntrustedIdentity, bundle, WITHOUT_TIME, WORLD.root, policy=bob)


def test_where_no_root_knows_the_signer_the_first_says_so():
    with pytest.raises(InvalidCertificate):
        verify(WORLD.bundle(), WITHOUT_CA, WITHOUT_TIME)
    with pytest.raises(InvalidTimestamp):
        verify(WORLD.bundle(), WITHOUT_TIME, WITHOUT_CA)


def test_there_must_be_something_to_verify_with():
    with pytest.raises(ValueError, match="nothing to verify with"):
        verify(WORLD.bundle())
