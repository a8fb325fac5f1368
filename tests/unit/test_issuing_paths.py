"""The way from a CA to its root: every certificate on it must be allowed to stand there."""

from datetime import timedelta

import pytest
from cryptography import x509
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


def test_any_extended_key_usage_allows_code_signing():
    purposes = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE])
    assert find_issuing_path(LEAF, (issuing(extensions=[(purposes, False)]), ROOT))


def test_certificates_that_issue_each_other_end():
    one = w.authority_certificate("issuing", "middle", key="p256-ca", issuing_key="p256-middle")
    two = w.authority_certificate("middle", "issuing", key="p256-middle", issuing_key="p256-ca")
    refused(one, two, ROOT)


def test_the_path_counts_while_all_of_it_does():
    path = find_issuing_path(LEAF, (issuing(not_after=w.NOW + timedelta(hours=1)), ROOT))
    assert path.not_after == w.NOW + timedelta(hours=1)
    check_chain_times(LEAF, path, [w.NOW, LEAF.not_before, LEAF.not_after])
    for time in (LEAF.not_before - timedelta(seconds=1), LEAF.not_after + timedelta(microseconds=1)):
        with pytest.raises(InvalidCertificate):
            check_chain_times(LEAF, path, [time])


def test_refuses_certificates_that_do_not_parse():
    with pytest.raises(MalformedInput):
        issuing_paths((b"not a certificate",))
