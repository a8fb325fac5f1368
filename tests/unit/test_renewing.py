"""Newer trust material is asked for once, and only where it could change the verdict."""

import msgspec
import pytest
from tests.support.world import EMAIL, OIDC_ISSUER, artifact

from hallmark.client.renewing import RenewingVerifiers, RootMaterial, could_change
from hallmark.core.trusted_root import TrustedRoot
from hallmark.errors import InvalidCertificate, InvalidProof, RemoteError, TrustError, VerificationError
from hallmark.policy.identity import Identity
from hallmark.verify.verifier import Verifier

WHO = Identity(identity=EMAIL, oidc_issuer=OIDC_ISSUER)


class Renewals:
    """Gives newer material, or an error, and counts."""

    def __init__(self, answer: TrustedRoot | Exception) -> None:
        self.answer, self.asked = answer, 0

    def __call__(self) -> RootMaterial:
        self.asked += 1
        if isinstance(self.answer, Exception):
            raise self.answer
        return RootMaterial((self.answer,))


def verifiers(root: TrustedRoot, renewals: Renewals | None) -> RenewingVerifiers:
    material = RootMaterial((root,), renewals, "hallmark context update")
    return RenewingVerifiers(material, lambda roots: tuple(map(Verifier, roots)))


def verify(renewing: RenewingVerifiers, bundle, who=WHO):
    return renewing.verify(bundle, lambda verifier: verifier.verify(bundle, artifact(), who))


@pytest.fixture
def stale(world):
    """What a client knew before the CA changed its key."""
    return msgspec.structs.replace(world.root, certificate_authorities=())


def test_material_that_knows_the_signer_is_not_renewed(world):
    renewals = Renewals(RemoteError("no"))
    assert verify(verifiers(world.root, renewals), world.bundle()).identity
    assert renewals.asked == 0


def test_newer_material_decides(world, stale):
    renewals = Renewals(world.root)
    renewing = verifiers(stale, renewals)
    for _ in range(2):
        assert verify(renewing, world.bundle()).identity
    assert renewals.asked == 1


def test_newer_material_that_does_not_know_it_either_is_final(world, stale):
    renewals = Renewals(stale)
    renewing = verifiers(stale, renewals)
    for _ in range(2):
        with pytest.raises(VerificationError):
            verify(renewing, world.bundle())
    assert renewals.asked == 1


def test_without_newer_material_there_is_no_verdict_and_one_attempt(world, stale):
    renewals = Renewals(RemoteError("the service is away"))
    renewing = verifiers(stale, renewals)
    for _ in range(2):
        with pytest.raises(TrustError, match="the service is away") as caught:
            verify(renewing, world.bundle())
        assert caught.value.code == "stale_trust_material"
        assert "hallmark context update" in caught.value.hint
    assert renewals.asked == 1


def test_files_are_never_renewed(world, stale):
    with pytest.raises(VerificationError):
        verify(verifiers(stale, None), world.bundle())
    material = RootMaterial((stale,))
    assert material.renewed() is material


def test_what_no_material_could_change_is_decided_at_once(world):
    renewals = Renewals(world.root)
    with pytest.raises(VerificationError):
        verify(verifiers(world.root, renewals), world.bundle(), Identity(identity="b@c.d", oidc_issuer="x"))
    assert renewals.asked == 0


@pytest.mark.parametrize("code", ["unknown_ca", "missing_sct", "outside_validity"])
def test_an_unknown_key_could_become_known(world, code):
    assert could_change(InvalidCertificate("x", code=code), world.bundle())
    assert not could_change(InvalidCertificate("x", code="lint"), world.bundle())


def test_a_bundle_without_an_entry_or_a_time_gains_none(world):
    whole = world.bundle()
    for code, needed in (("no_entry", {"tlog_entries"}), ("no_time", {"tlog_entries", "timestamps"})):
        error = InvalidProof("x", code=code)
        assert could_change(error, whole)
        for kept in ("tlog_entries", "timestamps"):
            gone = ({"tlog_entries", "timestamps"} - {kept}).pop()
            alone = msgspec.structs.replace(whole, **{gone: ()})
            assert could_change(error, alone) == (kept in needed)
