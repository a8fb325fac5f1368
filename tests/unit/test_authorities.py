"""The chain of an issuing CA: what clients would refuse is refused at the start."""

from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID
from tests.support import world as w
from tests.support.small_ca import der

from hallmark.core.x509.authority import (
    BACKDATING,
    ISSUING_LIFETIME,
    MAX_CHAIN,
    ROOT_LIFETIME,
    issuing_certificate,
    read_authority,
    root_certificate,
)
from hallmark.errors import ConfigurationError

CA = x509.BasicConstraints(ca=True, path_length=None)
USAGE = w.key_usage(key_cert_sign=True)
PURPOSE = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING])
ROOT_NAME, ROOT_KEY = "root", "p384-root"


def authority(
    name: str = "issuing",
    issuer: str = ROOT_NAME,
    *,
    key: str = "p256-ca",
    issuing_key: str = ROOT_KEY,
    constraints: x509.BasicConstraints | None = CA,
    critical: bool = True,
    usage: x509.KeyUsage | None = USAGE,
    purpose: x509.ExtendedKeyUsage | None = PURPOSE,
    key_identifier: bool = True,
) -> bytes:
    public = w.private_key(key).public_key()
    names = w.x509_name(issuer), w.x509_name(name)
    builder = x509.CertificateBuilder(*names, public, 5, w.BEGINNING, w.NOW + timedelta(days=99))
    for value, is_critical in ((constraints, critical), (usage, True), (purpose, False)):
        if value is not None:
            builder = builder.add_extension(value, critical=is_critical)
    if key_identifier:
        builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
    return builder.sign(w.private_key(issuing_key), hashes.SHA256()).public_bytes(Encoding.DER)


ROOT = authority(ROOT_NAME, key=ROOT_KEY, purpose=None)


def limited(length: int) -> x509.BasicConstraints:
    return x509.BasicConstraints(ca=True, path_length=length)


def refused(*chain: bytes) -> str:
    with pytest.raises(ConfigurationError) as caught:
        read_authority(chain)
    assert caught.value.code == "unusable_authority"
    return caught.value.message


def test_takes_an_authority_below_a_root():
    chain = (authority(), ROOT)
    assert read_authority(chain).chain == chain


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        (
            {"constraints": x509.BasicConstraints(ca=False, path_length=None)},
            "not a CA certificate",
        ),
        ({"critical": False}, "not a CA certificate"),
        ({"usage": w.key_usage(digital_signature=True)}, "not a CA certificate"),
        ({"purpose": x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])}, "not for code signing"),
        ({"constraints": None}, "lacks"),
        ({"usage": None}, "lacks"),
        ({"key_identifier": False}, "lacks"),
        ({"issuing_key": "p384-stranger"}, "is not issued by"),
        ({"issuer": "stranger"}, "is not issued by"),
        ({"key": "rsa-ca"}, "clients want an ECDSA key"),
        ({"key": "ed25519-ca"}, "clients want an ECDSA key"),
    ],
)
def test_refuses_an_authority_in_which_one_thing_is_wrong(changes, why):
    assert why in refused(authority(**changes), ROOT)


def test_a_root_is_checked_too():
    root = authority(ROOT_NAME, key=ROOT_KEY, usage=w.key_usage(crl_sign=True))
    assert "not a CA certificate" in refused(authority(), root)
    assert "is not issued by" in refused(authority())


def test_an_authority_may_be_limited_to_what_is_below_it():
    root = authority(ROOT_NAME, key=ROOT_KEY, constraints=limited(1))
    assert read_authority([authority(constraints=limited(0)), root])
    root = authority(ROOT_NAME, key=ROOT_KEY, constraints=limited(0))
    assert "allows 0 authorities" in refused(authority(), root)


@pytest.mark.parametrize("length", [0, 1, MAX_CHAIN, MAX_CHAIN + 1])
def test_a_chain_has_bounds(length):
    names = [*(f"p256-{place}" for place in range(length - 1)), ROOT_KEY]
    chain = [
        authority(name, issuer, key=name, issuing_key=issuer)
        for name, issuer in zip(names, [*names[1:], ROOT_KEY], strict=True)
    ]
    if 0 < length <= MAX_CHAIN:
        assert read_authority(chain).chain == tuple(chain)
    else:
        assert "certificates, not 1 to" in refused(*chain[:length])


def test_refuses_what_is_no_certificate():
    refused(b"x")


def test_an_authority_that_is_made_here_says_what_it_may():
    keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(2)]
    fields = {"organization": "Hallmark tests", "now": w.NOW}
    root = root_certificate(keys[0], common_name="root", serial=1, **fields)
    made = issuing_certificate(
        keys[1].public_key(), common_name="issuing", root=root, root_key=keys[0], serial=2, **fields
    )
    assert read_authority([der(made), der(root)])
    assert {item.oid._name: item.critical for item in made.extensions} == {
        "keyUsage": True,
        "basicConstraints": True,
        "subjectKeyIdentifier": False,
        "authorityKeyIdentifier": False,
        "extendedKeyUsage": False,
    }
    begin = w.NOW - BACKDATING
    for certificate, lifetime in ((root, ROOT_LIFETIME), (made, ISSUING_LIFETIME)):
        assert (certificate.not_valid_before_utc, certificate.not_valid_after_utc) == (
            begin,
            begin + lifetime,
        )
    for certificate, length in ((root, None), (made, 0)):
        found = certificate.extensions
        assert found.get_extension_for_class(x509.BasicConstraints).value == x509.BasicConstraints(
            True, length
        )
        usage = found.get_extension_for_class(x509.KeyUsage).value
        assert usage == w.key_usage(key_cert_sign=True, crl_sign=True)
