"""Verifies changed bundles of the small world as Alice's, and makes the changes."""

from datetime import timedelta

import msgspec
import pytest

from hallmark.core.bundle import Bundle
from hallmark.core.trusted_root import TrustedRoot
from hallmark.errors import InvalidEntry, InvalidTimestamp
from hallmark.policy.identity import Identity
from hallmark.verify.verifier import Thresholds, Verified, Verifier
from tests.support import world as w

replace = msgspec.structs.replace
ALICE = Identity(identity=w.EMAIL, oidc_issuer=w.OIDC_ISSUER)
YEAR = timedelta(days=365)


def verify(world: w.World, bundle: Bundle, root: TrustedRoot | None = None, **thresholds: int) -> Verified:
    return Verifier(root or world.root, Thresholds(**thresholds)).verify(bundle, w.artifact(), ALICE)


def entry_of(bundle: Bundle) -> object:
    return bundle.tlog_entries[0]


def with_entry(bundle: Bundle, **changes: object) -> Bundle:
    return replace(bundle, tlog_entries=(replace(entry_of(bundle), **changes),))


def with_proof(bundle: Bundle, **changes: object) -> Bundle:
    return with_entry(bundle, inclusion_proof=replace(entry_of(bundle).inclusion_proof, **changes))


def logged(bundle: Bundle, body: bytes) -> Bundle:
    return replace(bundle, tlog_entries=(w.v2_entry(body),))


def no_time(world: w.World, bundle: Bundle, root: TrustedRoot | None = None, **thresholds: int) -> None:
    with pytest.raises(InvalidTimestamp) as caught:
        verify(world, bundle, root, **thresholds)
    assert caught.value.code == "no_time"


def mismatch(world: w.World, bundle: Bundle) -> None:
    with pytest.raises(InvalidEntry) as caught:
        verify(world, bundle)
    assert caught.value.code == "entry_mismatch"
