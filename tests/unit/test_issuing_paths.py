"""The way from a CA to its root: every certificate on it must be allowed to stand there."""

from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID
from tests.support import world as w

from hallmark.core.x509.certificate import parse_signing_certificate
from hallmark.core.x509.chain import check_chain_times, find_issuing_path, issuing_paths
from hallmark.errors import InvalidCertificate, MalformedInput

ROOT = w.authority_certificate("root", "root", key="p384-root", issuing_key="p384-root")
LEAF = parse_signing_certificate(w.World().certificate())


def issuing(issuer: str = "root", issuing_key: str = "p384-root", **changes: object) -> bytes:
    return w.authority_certificate("issuing", issuer, key="p256-ca", issuing_key=issuing_key, **changes)


def middle(**changes: object) -> bytes:
    return w.authority_certificate("middle", "root", key="p256-middle", issuing_key="p384-root", **changes)


def refused(*chain: bytes) -> None:
    with pytest.raises(InvalidCertificate) as caught:
        find_issuing_path(LEAF, chain)
    assert caught.value.code == "unknown_ca"


def test_finds_the_way_over_one_or_several_intermediates():
    assert len(find_issuing_path(LEAF, (issuing(), ROOT)).certificates) == 2
    below = issuing("middle", "p256-middle")
    for chain in ((below, middle(), ROOT), (middle(), below, ROOT)):
        assert len(find_issuing_path(LEAF, chain).certificates) == 3


def test_a_root_may_issue_leaves_itself():
    root = w.authority_certificate("issuing", "issuing", key="p256-ca", issuing_key="p256-ca")
    assert len(find_issuing_path(LEAF, (root,)).certificates) == 1


def test_siblings_below_one_root_each_have_their_way():
    assert len(issuing_paths((issuing(), middle(), ROOT))) == 3


def test_only_the_last_certificate_is_an_anchor():
    assert find_issuing_path(LEAF, (issuing(),))  # an anchor need not be self-signed
    refused(issuing(), middle())


@pytest.mark.parametrize(
    "changes",
    [
        {"ca": None},
        {"ca": False},
        {"usage": w.key_usage(digital_signature=True)},
        {"extensions": [(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False)]},
        {
            "extensions": [
                (
                    x509.NameConstraints(
                        permitted_subtrees=[x509.RFC822Name("example.com")], excluded_subtrees=None
                    ),
                    True,
                )
            ]
        },
        {"extensions": [(x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3"), b"\x05\x00"), True)]},
        {"issuing_key": "p384-stranger"},
        {"issuer": "stranger"},
    ],
)
def test_refuses_an_intermediate_that_may_not_issue(changes):
    refused(issuing(**changes), ROOT)


def test_refuses_a_path_longer_than_allowed():
    below = issuing("middle", "p256-middle")
    assert find_issuing_path(LEAF, (below, middle(path_length=1), ROOT))
    refused(below, middle(path_length=0), ROOT)
    root = w.authority_certificate("root", "root", key="p384-root", issuing_key="p384-root", path_length=0)
    refused(issuing(), root)


def without(subject: str, issuer: str, key: str, issuing_key: str, kept: x509.ExtensionType) -> bytes:
    """An authority's certificate with one extension only."""
    public = w.private_key(key).public_key()
    names = w.x509_name(issuer), w.x509_name(subject)
    builder = x509.CertificateBuilder(*names, public, 5, w.BEGINNING, w.NOW + timedelta(days=99))
    made = builder.add_extension(kept, critical=True).sign(w.private_key(issuing_key), hashes.SHA256())
    return made.public_bytes(Encoding.DER)


CONSTRAINTS = x509.BasicConstraints(ca=True, path_length=None)


def test_an_intermediate_says_what_its_key_is_for_and_a_root_need_not():
    refused(without("issuing", "root", "p256-ca", "p384-root", CONSTRAINTS), ROOT)
    refused(without("issuing", "root", "p256-ca", "p384-root", w.key_usage(key_cert_sign=True)), ROOT)
    root = without("root", "root", "p384-root", "p384-root", CONSTRAINTS)
    assert find_issuing_path(LEAF, (issuing(), root))


def test_a_root_that_says_so_may_not_sign_certificates():
    root = w.authority_certificate(
        "root", "root", key="p384-root", issuing_key="p384-root", usage=w.key_usage(digital_signature=True)
    )
    refused(issuing(), root)


def test_refuses_name_constraints_that_are_not_critical_too():
    names = x509.NameConstraints(permitted_subtrees=[x509.RFC822Name("example.com")], excluded_subtrees=None)
    refused(issuing(extensions=[(names, False)]), ROOT)


def test_refuses_an_authority_with_a_weak_key():
    """Everything about it holds, and anybody could sign with the key."""
    weak = ed25519.Ed25519PublicKey.from_public_bytes(bytes([1]) + bytes(31))
    names = w.x509_name("root"), w.x509_name("issuing")
    builder = x509.CertificateBuilder(*names, weak, 5, w.BEGINNING, w.NOW + timedelta(days=99))
    for value in (CONSTRAINTS, w.key_usage(key_cert_sign=True)):
        builder = builder.add_extension(value, critical=True)
    der = builder.sign(w.private_key("p384-root"), hashes.SHA256()).public_bytes(Encoding.DER)
    assert len(issuing_paths((der, ROOT))) == 1  # the root's own


def test_refuses_an_intermediate_that_is_signed_with_a_weak_hash():
    names = w.x509_name("root"), w.x509_name("issuing")
    key = w.private_key("p256-ca").public_key()
    builder = x509.CertificateBuilder(*names, key, 5, w.BEGINNING, w.NOW + timedelta(days=99))
    for value in (CONSTRAINTS, w.key_usage(key_cert_sign=True)):
        builder = builder.add_extension(value, critical=True)
    for algorithm, found in ((hashes.SHA256(), 2), (hashes.SHA224(), 1)):
        der = builder.sign(w.private_key("p384-root"), algorithm).public_bytes(Encoding.DER)
        assert len(issuing_paths((der, ROOT))) == found


def test_any_extended_key_usage_allows_code_signing():
    purposes = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE])
    assert find_issuing_path(LEAF, (issuing(extensions=[(purposes, False)]), ROOT))


def test_certificates_that_issue_each_other_end():
    one = w.authority_certificate("issuing", "middle", key="p256-ca", issuing_key="p256-middle")
    two = w.authority_certificate("middle", "issuing", key="p256-middle", issuing_key="p256-ca")
    refused(one, two, ROOT)
    above = w.authority_certificate("above", "middle", key="p256-above", issuing_key="p256-middle")
    below = w.authority_certificate("middle", "above", key="p256-middle", issuing_key="p256-above")
    refused(issuing("middle", "p256-middle"), below, above, ROOT)


def test_the_path_counts_while_all_of_it_does():
    path = find_issuing_path(LEAF, (issuing(not_after=w.NOW + timedelta(hours=1)), ROOT))
    assert path.not_after == w.NOW + timedelta(hours=1)
    check_chain_times(LEAF, path, [w.NOW, LEAF.not_before, LEAF.not_after])
    for time in (LEAF.not_before - timedelta(seconds=1), LEAF.not_after + timedelta(microseconds=1)):
        with pytest.raises(InvalidCertificate):
            check_chain_times(LEAF, path, [time])


def test_the_window_of_a_path_is_what_its_certificates_have_in_common():
    early, late = w.NOW - timedelta(hours=2), w.NOW + timedelta(hours=2)
    for chain in (
        (issuing(not_before=early), ROOT),
        (issuing(not_after=late), ROOT),
        (issuing("middle", "p256-middle"), middle(not_before=early, not_after=late), ROOT),
    ):
        path = find_issuing_path(LEAF, chain)
        begins = [item.not_valid_before_utc for item in path.certificates]
        ends = [item.not_valid_after_utc for item in path.certificates]
        assert (path.not_before, path.not_after) == (max(begins), min(ends))
        assert len(set(begins)) + len(set(ends)) > 2


def test_both_ends_of_a_paths_window_belong_to_it():
    """The path's window is narrower than the leaf's, so it alone decides."""
    begin, end = LEAF.not_before + timedelta(seconds=60), LEAF.not_after - timedelta(seconds=60)
    path = find_issuing_path(LEAF, (issuing(not_before=begin, not_after=end), ROOT))
    check_chain_times(LEAF, path, [begin, end])
    for time in (begin - timedelta(microseconds=1), end + timedelta(microseconds=1)):
        with pytest.raises(InvalidCertificate, match="CA's certificates") as caught:
            check_chain_times(LEAF, path, [w.NOW, time])
        assert caught.value.code == "outside_validity"


def test_both_ends_of_a_leafs_window_belong_to_it():
    path = find_issuing_path(LEAF, (issuing(), ROOT))
    check_chain_times(LEAF, path, [LEAF.not_before, LEAF.not_after])
    for time in (LEAF.not_before - timedelta(microseconds=1), LEAF.not_after + timedelta(microseconds=1)):
        with pytest.raises(InvalidCertificate, match="the signing certificate counts"):
            check_chain_times(LEAF, path, [w.NOW, time])


def test_refuses_certificates_that_do_not_parse():
    with pytest.raises(MalformedInput):
        issuing_paths((b"not a certificate",))
