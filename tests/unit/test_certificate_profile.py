"""The certificate profile, byte for byte, and that no other path leads to a signature."""

import shutil
import subprocess
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat import asn1
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509 import oid
from tests.support.small_ca import ISSUER, NOW, der, rsa_key, spki

from hallmark.adapters.keys.file import SoftwareKey
from hallmark.core.keys import PublicKey, parse_public_key, wrap_public_key
from hallmark.core.oidc.identity import Principal
from hallmark.core.x509.authority import issuing_certificate, read_authority, root_certificate
from hallmark.core.x509.certificate import parse_signing_certificate
from hallmark.core.x509.lint import lint_certificate
from hallmark.core.x509.oids import PRECERTIFICATE_POISON, SCT_LIST
from hallmark.core.x509.profile import IssuancePlan, plan_issuance
from hallmark.core.x509.sct import Sct, leaf_index_extension, merkle_tree_leaf, parse_sct_list
from hallmark.core.x509.tbs import POISON_VALUE, Extension, TbsCertificate, encode_tbs, remove_poison
from hallmark.errors import (
    ConfigurationError,
    InvalidCertificate,
    InvalidSignature,
    MalformedInput,
    PolicyViolation,
)

ROOT_KEY = ec.generate_private_key(ec.SECP384R1())
ISSUING_KEY = ec.generate_private_key(ec.SECP256R1())
LOG_KEY = ec.generate_private_key(ec.SECP256R1())
USER_KEY = ec.generate_private_key(ec.SECP256R1())
LOG_PUBLIC = parse_public_key(spki(LOG_KEY))
USER_PUBLIC = parse_public_key(spki(USER_KEY))
NAMES = {"organization": "Hallmark tests", "now": NOW}
ROOT = root_certificate(ROOT_KEY, common_name="root", serial=1, **NAMES)
ISSUING = issuing_certificate(
    ISSUING_KEY.public_key(), common_name="issuing", root=ROOT, root_key=ROOT_KEY, serial=2, **NAMES
)
AUTHORITY = read_authority([der(ISSUING), der(ROOT)])
ALICE = Principal(
    oidc_issuer=ISSUER,
    name="alice@example.com",
    san_kind="email",
    san="alice@example.com",
    extensions=((1, ISSUER), (8, ISSUER), (24, "subject-1")),
)
SIGN = SoftwareKey(ISSUING_KEY).sign
SERIAL = 2**158 + 5


def plan(principal: Principal = ALICE, key: PublicKey = USER_PUBLIC, **changes) -> IssuancePlan:
    return plan_issuance(AUTHORITY, principal, key, **{"now": NOW, "serial": SERIAL, **changes})


def promise(made: IssuancePlan, index: int = 7, key=LOG_KEY) -> Sct:
    extensions = leaf_index_extension(index)
    signature = SoftwareKey(key).sign(merkle_tree_leaf(1, made.entry, extensions))
    return Sct(LOG_PUBLIC.key_id, 1, extensions, 4, 3, signature)


def issue(**changes) -> tuple[x509.Certificate, x509.Certificate, IssuancePlan]:
    made = plan(**changes)
    precertificate = made.sign_precertificate(SIGN)
    final = made.sign_certificate(promise(made), LOG_PUBLIC, SIGN)
    return x509.load_der_x509_certificate(precertificate), x509.load_der_x509_certificate(final), made


def test_the_leaf_is_what_the_profile_says():
    _, leaf, _ = issue()
    assert leaf.version is x509.Version.v3
    assert leaf.serial_number == SERIAL
    assert leaf.subject.public_bytes() == b"0\x00"
    assert leaf.issuer == ISSUING.subject
    assert leaf.not_valid_before_utc == NOW.replace(microsecond=0)
    assert leaf.not_valid_after_utc - leaf.not_valid_before_utc == timedelta(minutes=10)
    assert leaf.signature_algorithm_oid == oid.SignatureAlgorithmOID.ECDSA_WITH_SHA256
    assert leaf.public_key() == USER_KEY.public_key()
    leaf.verify_directly_issued_by(ISSUING)
    ISSUING.verify_directly_issued_by(ROOT)


def test_the_extensions_of_the_leaf_are_these_bytes_in_this_order():
    _, leaf, _ = issue()
    key_id = x509.SubjectKeyIdentifier.from_public_key(USER_KEY.public_key()).digest
    issuer_key_id = x509.SubjectKeyIdentifier.from_public_key(ISSUING_KEY.public_key()).digest
    url, email = ISSUER.encode(), b"alice@example.com"
    expected = [
        ("2.5.29.15", True, bytes.fromhex("03020780")),
        ("2.5.29.37", False, bytes.fromhex("300a06082b06010505070303")),
        ("2.5.29.14", False, b"\x04\x14" + key_id),
        ("2.5.29.35", False, b"\x30\x16\x80\x14" + issuer_key_id),
        ("2.5.29.17", True, b"\x30" + bytes([len(email) + 2]) + b"\x81" + bytes([len(email)]) + email),
        ("1.3.6.1.4.1.57264.1.1", False, url),
        ("1.3.6.1.4.1.57264.1.8", False, b"\x0c" + bytes([len(url)]) + url),
        ("1.3.6.1.4.1.57264.1.24", False, b"\x0c\x09subject-1"),
    ]
    found = [(item.oid.dotted_string, item.critical, item.value.public_bytes()) for item in leaf.extensions]
    assert found[:-1] == expected
    assert found[-1][:2] == (SCT_LIST.dotted_string, False)
    (sct,) = parse_sct_list(found[-1][2])
    assert sct.log_id == LOG_PUBLIC.key_id


def test_precertificate_and_certificate_differ_in_the_last_extension_only():
    precertificate, leaf, made = issue()
    assert [item.oid for item in precertificate.extensions][:-1] == [item.oid for item in leaf.extensions][
        :-1
    ]
    poison = list(precertificate.extensions)[-1]
    assert (poison.oid, poison.critical) == (PRECERTIFICATE_POISON, True)
    assert remove_poison(precertificate.tbs_certificate_bytes) == made.entry.tbs_certificate
    assert leaf.tbs_precertificate_bytes == made.entry.tbs_certificate
    precertificate.verify_directly_issued_by(ISSUING)


def test_our_own_reader_takes_the_leaf():
    _, leaf, _ = issue()
    parsed = parse_signing_certificate(der(leaf))
    assert (parsed.identity.identity, parsed.identity.oidc_issuer) == ("alice@example.com", ISSUER)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
def test_openssl_reads_the_leaf(tmp_path):
    _, leaf, _ = issue()
    path = tmp_path / "leaf.der"
    path.write_bytes(der(leaf))
    command = ["openssl", "x509", "-inform", "DER", "-in", str(path), "-noout", "-text"]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "email:alice@example.com" in text
    assert "Code Signing" in text
    assert "CT Precertificate SCTs" in text
    assert "Subject: \n" in text.replace("Subject:\n", "Subject: \n")


@pytest.mark.parametrize(
    "key",
    [
        ec.generate_private_key(ec.SECP384R1()),
        ec.generate_private_key(ec.SECP521R1()),
        rsa_key(),
        ed25519.Ed25519PrivateKey.generate(),
    ],
    ids=["p384", "p521", "rsa", "ed25519"],
)
def test_certifies_every_kind_of_key(key):
    _, leaf, _ = issue(key=wrap_public_key(key.public_key()))
    assert leaf.public_key() == key.public_key()


def test_certifies_a_uri():
    uri = "https://example.com/workflow@refs/heads/main"
    _, leaf, _ = issue(principal=msgspec.structs.replace(ALICE, san_kind="uri", san=uri))
    name = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    assert list(name.value) == [x509.UniformResourceIdentifier(uri)]


def test_times_after_2049_are_generalized():
    now = datetime(2051, 1, 1, tzinfo=UTC)
    root = root_certificate(ROOT_KEY, common_name="r", organization="o", now=now, serial=1)
    made = plan_issuance(read_authority([der(root)]), ALICE, USER_PUBLIC, now=now, serial=1)
    certificate = x509.load_der_x509_certificate(made.sign_precertificate(SoftwareKey(ROOT_KEY).sign))
    assert certificate.not_valid_before_utc == now


def test_a_plan_serves_once_and_in_order():
    made = plan()
    with pytest.raises(RuntimeError):
        made.sign_certificate(promise(made), LOG_PUBLIC, SIGN)
    made.sign_precertificate(SIGN)
    with pytest.raises(RuntimeError):
        made.sign_precertificate(SIGN)
    made.sign_certificate(promise(made), LOG_PUBLIC, SIGN)
    with pytest.raises(RuntimeError):
        made.sign_certificate(promise(made), LOG_PUBLIC, SIGN)


def test_refuses_an_sct_of_another_log_or_another_certificate():
    stranger = ec.generate_private_key(ec.SECP256R1())
    for forge in (lambda made: promise(made, key=stranger), lambda _: promise(plan(serial=9))):
        made = plan()
        made.sign_precertificate(SIGN)
        with pytest.raises(InvalidCertificate):
            made.sign_certificate(forge(made), LOG_PUBLIC, SIGN)


@pytest.mark.parametrize("moment", [NOW - timedelta(hours=2), NOW + timedelta(days=1096, hours=-1)])
def test_refuses_to_outlive_the_authority(moment):
    with pytest.raises(PolicyViolation) as caught:
        plan(now=moment)
    assert caught.value.code == "authority_not_valid"


@pytest.mark.parametrize("serial", [0, -1, 2**159])
def test_refuses_a_serial_out_of_range(serial):
    with pytest.raises(ValueError, match="159"):
        plan(serial=serial)


def test_what_the_authority_signs_is_what_the_log_has_seen():
    made = plan()
    made.sign_precertificate(SIGN)
    made._extensions = made._extensions[:-1]
    with pytest.raises(InvalidCertificate, match="not the one that the CT log has seen"):
        made.sign_certificate(promise(made), LOG_PUBLIC, SIGN)


def test_a_certificate_with_a_signature_by_another_key_does_not_leave():
    made = plan()
    made.sign_precertificate(SIGN)
    with pytest.raises(InvalidSignature):
        made.sign_certificate(promise(made), LOG_PUBLIC, SoftwareKey(USER_KEY).sign)


def test_a_plan_that_the_lint_refuses_is_none():
    """The key is right, and its encoding is not the one that comes back."""
    point = USER_KEY.public_key().public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
    encoded = bytes.fromhex("3039301306072a8648ce3d020106082a8648ce3d030107032200") + point
    with pytest.raises(InvalidCertificate) as caught:
        plan(key=PublicKey(USER_PUBLIC.key, encoded, USER_PUBLIC.algorithm))
    assert caught.value.code == "lint"


def test_a_certificate_may_begin_and_end_with_its_authority():
    begin, end = ISSUING.not_valid_before_utc, ISSUING.not_valid_after_utc
    for moment in (begin, end - timedelta(minutes=10)):
        plan(now=moment)
    for moment in (begin - timedelta(seconds=1), end - timedelta(minutes=10) + timedelta(seconds=1)):
        with pytest.raises(PolicyViolation):
            plan(now=moment)


@pytest.mark.parametrize("serial", [1, 2**159 - 1])
def test_takes_a_serial_at_both_bounds(serial):
    assert plan(serial=serial).serial == serial


@pytest.mark.parametrize("year", [2049, 2050])
def test_years_from_2050_on_are_generalized(year):
    now = datetime(year, 6, 1, tzinfo=UTC)
    root = root_certificate(ROOT_KEY, common_name="r", organization="o", now=now, serial=1)
    made = plan_issuance(read_authority([der(root)]), ALICE, USER_PUBLIC, now=now, serial=1)
    form = b"\x17\x0d490601" if year == 2049 else b"\x18\x0f20500601"
    assert form in made.entry.tbs_certificate


def test_the_lint_sees_another_name_key_time_or_extension():
    made = plan()
    certificate = made.sign_precertificate(SIGN)
    unpoisoned = plan()
    _, leaf, _ = issue()
    stranger = wrap_public_key(ec.generate_private_key(ec.SECP256R1()).public_key())
    times = {"not_before": NOW.replace(microsecond=0), "lifetime": timedelta(minutes=10)}
    for wrong in (certificate, der(leaf), der(ISSUING), b"", unpoisoned.entry.tbs_certificate):
        with pytest.raises(InvalidCertificate):
            lint_certificate(wrong, AUTHORITY, ALICE, USER_PUBLIC, **times)
    with pytest.raises(InvalidCertificate):
        lint_certificate(der(leaf), AUTHORITY, ALICE, stranger, **times)


def test_the_authorities_are_what_the_profile_says():
    for certificate, path_length in ((ROOT, None), (ISSUING, 0)):
        extensions = certificate.extensions
        constraints = extensions.get_extension_for_class(x509.BasicConstraints)
        usage = extensions.get_extension_for_class(x509.KeyUsage)
        assert constraints.critical
        assert constraints.value == x509.BasicConstraints(ca=True, path_length=path_length)
        assert usage.critical
        assert usage.value.key_cert_sign
        assert usage.value.crl_sign
        assert not usage.value.digital_signature
        assert certificate.not_valid_before_utc == NOW.replace(microsecond=0) - timedelta(hours=1)
        assert certificate.not_valid_after_utc.microsecond == 0
    purposes = ISSUING.extensions.get_extension_for_class(x509.ExtendedKeyUsage)
    assert list(purposes.value) == [oid.ExtendedKeyUsageOID.CODE_SIGNING]
    with pytest.raises(x509.ExtensionNotFound):
        ROOT.extensions.get_extension_for_class(x509.ExtendedKeyUsage)
    assert ISSUING.signature_algorithm_oid == oid.SignatureAlgorithmOID.ECDSA_WITH_SHA384


def test_refuses_a_chain_that_cannot_issue():
    _, leaf, _ = issue()
    chains = [
        [],
        [b"nonsense"],
        [der(ROOT), der(ISSUING)],
        [der(ISSUING)],
        [der(leaf), der(ISSUING), der(ROOT)],
        [der(ROOT)] * 9,
    ]
    for chain in chains:
        with pytest.raises(ConfigurationError) as caught:
            read_authority(chain)
        assert caught.value.code == "unusable_authority"


def test_poison_is_one_critical_null():
    tbs = asn1.decode_der(TbsCertificate, plan().entry.tbs_certificate)
    right = Extension(oid=PRECERTIFICATE_POISON, critical=True, value=POISON_VALUE)
    assert remove_poison(encode_tbs(tbs, [*tbs.extensions, right])) == plan().entry.tbs_certificate
    for wrong in (
        [Extension(oid=PRECERTIFICATE_POISON, critical=False, value=POISON_VALUE)],
        [Extension(oid=PRECERTIFICATE_POISON, critical=True, value=b"\x04\x00")],
        [right, right],
        [],
    ):
        with pytest.raises(MalformedInput) as caught:
            remove_poison(encode_tbs(tbs, [*tbs.extensions, *wrong]))
        assert caught.value.code == "not_a_precertificate"


def test_only_a_precertificate_has_poison_to_remove():
    _, leaf, _ = issue()
    for tbs in (leaf.tbs_certificate_bytes, b"", b"0\x00", leaf.tbs_certificate_bytes + b"\x00"):
        with pytest.raises(MalformedInput):
            remove_poison(tbs)
