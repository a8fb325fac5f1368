"""Which chains the CT log accepts: in each case one thing is wrong and everything else is right."""

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID
from tests.support import world as w
from tests.support.steps import finish

from hallmark.ctlog.acceptance import MAX_KNOWN_PATHS, MAX_ROOTS, AcceptedRoots, load_certificate
from hallmark.errors import ConfigurationError, HallmarkError, InvalidCertificate, MalformedInput

ROOT = w.authority_certificate("root", "root", key="p384-root", issuing_key="p384-root")
LEAF = load_certificate(w.World().certificate())
SERVER_AUTH = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
ANY_PURPOSE = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE])


def issuing(issuer: str = "root", issuing_key: str = "p384-root", **changes: object) -> bytes:
    return w.authority_certificate("issuing", issuer, key="p256-ca", issuing_key=issuing_key, **changes)


def middle(**changes: object) -> bytes:
    return w.authority_certificate(
        "middle", "root", key="p256-middle", **{"issuing_key": "p384-root", **changes}
    )


def below_middle(**changes: object) -> bytes:
    return issuing("middle", "p256-middle", **changes)


def without_usage(subject: str, issuer: str, key: str, issuing_key: str, *, constraints: bool) -> bytes:
    """An authority's certificate with basic constraints and no key usage, or the other way round."""
    name, above = w.x509_name(subject), w.x509_name(issuer)
    public = w.private_key(key).public_key()
    builder = x509.CertificateBuilder(above, name, public, 5, w.BEGINNING, w.NOW)
    value = (
        x509.BasicConstraints(ca=True, path_length=None) if constraints else w.key_usage(key_cert_sign=True)
    )
    made = builder.add_extension(value, critical=True).sign(w.private_key(issuing_key), hashes.SHA256())
    return made.public_bytes(Encoding.DER)


def accepted(*chain: bytes, root: bytes = ROOT) -> tuple[bytes, ...]:
    return finish(AcceptedRoots([root]).issuer_path(LEAF, chain)).certificates


def refused(*chain: bytes, code: str = "broken_chain", root: bytes = ROOT) -> str:
    with pytest.raises(InvalidCertificate) as caught:
        accepted(*chain, root=root)
    assert caught.value.code == code
    return caught.value.message


def test_accepts_a_chain_with_and_without_its_root():
    for chain in ((issuing(),), (below_middle(), middle())):
        assert accepted(*chain) == (*chain, ROOT)
        assert accepted(*chain, ROOT) == (*chain, ROOT)


def test_refuses_a_forged_intermediate():
    """Its name and its key are the CA's; the root has not signed it."""
    assert "not signed" in refused(issuing(issuing_key="p384-stranger"), ROOT)
    assert "not signed" in refused(issuing("middle", "p256-stranger"), middle(), ROOT)
    refused(issuing(issuing_key="p384-stranger"), code="unknown_root")


def test_refuses_a_link_between_other_names():
    assert "not issued" in refused(issuing("stranger", "p256-middle"), middle(), ROOT)


CASES = {
    "no basic constraints": ({"ca": None}, "broken_chain"),
    "no authority": ({"ca": False}, "broken_chain"),
    "not for certificates": ({"usage": w.key_usage(digital_signature=True)}, "broken_chain"),
    "another purpose": ({"extensions": [(SERVER_AUTH, False)]}, "wrong_purpose"),
    "any purpose": ({"extensions": [(ANY_PURPOSE, False)]}, "wrong_purpose"),
}


@pytest.mark.parametrize("case", CASES)
def test_refuses_an_authority_that_may_not_issue(case):
    changes, code = CASES[case]
    refused(issuing(**changes), ROOT, code=code)
    refused(below_middle(), middle(**changes), ROOT, code=code)


@pytest.mark.parametrize("constraints", [True, False])
def test_refuses_an_authority_without_key_usage_or_constraints(constraints):
    fields = ("issuing", "root", "p256-ca", "p384-root")
    refused(without_usage(*fields, constraints=constraints), ROOT)


def test_a_root_that_may_not_issue_is_refused_too():
    root = w.authority_certificate(
        "root", "root", key="p384-root", issuing_key="p384-root", usage=w.key_usage(digital_signature=True)
    )
    refused(issuing(), root=root)
    refused(issuing(), root, root=root)


def test_a_path_may_be_as_long_as_its_authorities_allow():
    def root(length: int) -> bytes:
        return w.authority_certificate(
            "root", "root", key="p384-root", issuing_key="p384-root", path_length=length
        )

    assert accepted(issuing(path_length=0), ROOT)
    assert accepted(below_middle(), middle(path_length=1), ROOT)
    refused(below_middle(), middle(path_length=0), ROOT)
    assert accepted(issuing(), root=root(1))
    refused(issuing(), root=root(0))
    assert accepted(below_middle(), middle(), root=root(2))
    refused(below_middle(), middle(), root=root(1))


def test_code_signing_among_other_purposes_is_enough():
    both = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CODE_SIGNING])
    assert accepted(issuing(extensions=[(both, False)]), ROOT)


def test_two_roots_of_one_name_are_told_apart_by_their_keys():
    other = w.authority_certificate("root", "root", key="p384-other", issuing_key="p384-other")
    found = finish(AcceptedRoots([other, ROOT]).issuer_path(LEAF, (issuing(),)))
    assert found.certificates[-1] == ROOT


def test_the_leaf_is_checked_against_a_path_that_is_known():
    roots = AcceptedRoots([ROOT])
    chain = (issuing(),)
    finish(roots.issuer_path(LEAF, chain))
    forged = load_certificate(w.World().certificate(issuing_key="p256-stranger"))
    with pytest.raises(InvalidCertificate):
        finish(roots.issuer_path(forged, chain))


def test_known_paths_are_bounded(monkeypatch):
    roots = AcceptedRoots([ROOT])
    monkeypatch.setattr("hallmark.ctlog.acceptance.MAX_KNOWN_PATHS", 2)
    for serial in range(4):
        finish(roots.issuer_path(LEAF, (issuing(),)))
        assert len(roots._paths) == min(serial + 1, 2)
    assert MAX_KNOWN_PATHS == 256


def test_a_log_has_one_to_sixty_four_roots():
    assert len(AcceptedRoots([ROOT] * MAX_ROOTS).certificates) == MAX_ROOTS
    for roots in ([], [ROOT] * (MAX_ROOTS + 1)):
        with pytest.raises(ConfigurationError):
            AcceptedRoots(roots)


def test_refuses_what_is_no_certificate():
    for chain in ((b"x",), (issuing(), b"x"), (issuing()[:-1],)):
        with pytest.raises(MalformedInput):
            accepted(*chain)


def test_refuses_an_authority_signed_with_a_hash_that_the_registry_lacks():
    name = w.x509_name("issuing")
    builder = x509.CertificateBuilder(w.x509_name("root"), name, w.private_key("p256-ca").public_key(), 5)
    builder = builder.not_valid_before(w.BEGINNING).not_valid_after(w.NOW)
    for value in (x509.BasicConstraints(ca=True, path_length=None), w.key_usage(key_cert_sign=True)):
        builder = builder.add_extension(value, critical=True)
    made = builder.sign(w.private_key("p384-root"), hashes.SHA224()).public_bytes(Encoding.DER)
    with pytest.raises(HallmarkError):
        accepted(made, ROOT)


def test_refuses_an_authority_whose_key_the_registry_lacks():
    """Everything about the chain holds, and its last link is signed with a curve that nobody asked for."""
    for curve, good in ((ec.SECP256R1(), True), (ec.BrainpoolP256R1(), False)):
        key = ec.generate_private_key(curve)
        chain = [
            made_by(name, issuer, public, signer)
            for name, issuer, public, signer in (
                ("issuing", "middle", w.private_key("p256-ca").public_key(), key),
                ("middle", "root", key.public_key(), w.private_key("p384-root")),
            )
        ]
        if good:
            assert accepted(*chain) == (*chain, ROOT)
        else:
            assert "key is not supported" in refused(*chain)


def made_by(name: str, issuer: str, public, signer) -> bytes:
    names = w.x509_name(issuer), w.x509_name(name)
    builder = x509.CertificateBuilder(*names, public, 5, w.BEGINNING, w.NOW)
    for value in (x509.BasicConstraints(ca=True, path_length=None), w.key_usage(key_cert_sign=True)):
        builder = builder.add_extension(value, critical=True)
    return builder.sign(signer, hashes.SHA256()).public_bytes(Encoding.DER)


def test_nothing_below_a_certificate_that_no_root_has_signed_is_parsed():
    stranger = w.authority_certificate("s", "root", key="p256-stranger", issuing_key="p256-stranger")
    refused(b"not even a certificate", stranger, code="unknown_root")
    with pytest.raises(MalformedInput):
        accepted(b"not even a certificate", middle())


def test_each_certificate_above_the_leaf_is_a_step():
    chain = (below_middle(), middle(), ROOT)
    steps = list(AcceptedRoots([ROOT]).issuer_path(LEAF, chain))
    assert len(steps) == len(chain) - 1
    assert not list(AcceptedRoots([ROOT]).issuer_path(LEAF, (issuing(),)))
