"""Integers that strangers choose: of any length, and bounded before they are kept or printed."""

import pytest
from cryptography import x509
from cryptography.hazmat import asn1
from tests.support import world as w
from tests.support.tsa_authority import MESSAGE, Authority

from hallmark.core.timestamp import PKIStatusInfo, parse_timestamp, verify_timestamp
from hallmark.core.x509.certificate import load_certificate
from hallmark.core.x509.serials import MAX_SERIAL_BITS
from hallmark.core.x509.tbs import SignedCertificate, TbsCertificate, encode_tbs
from hallmark.core.x509.tsa_chain import check_tsa_chain
from hallmark.ctlog.acceptance import load_certificate as load_submitted
from hallmark.errors import HallmarkError, InvalidTimestamp, MalformedInput

LARGE = 2 ** (8 * 3000)
"""More digits than Python prints."""

LARGEST = 2**MAX_SERIAL_BITS - 1


def short(value: int) -> str:
    return f"{value:x}"[:12]


@pytest.fixture(scope="module")
def authority():
    return Authority()


def test_python_does_not_print_what_these_tests_send():
    with pytest.raises(ValueError, match="digits"):
        str(LARGE)


@pytest.mark.parametrize("status", [LARGE, -LARGE, -1, 6], ids=short)
def test_a_status_that_the_protocol_does_not_have_is_unknown(authority, status):
    def change(response):
        response.status = PKIStatusInfo(status=status, status_string=None, fail_info=None)

    with pytest.raises(InvalidTimestamp, match="status unknown, not granted"):
        parse_timestamp(authority.forge(change))


@pytest.mark.parametrize("status", [1, 5], ids=short)
def test_a_status_of_the_protocol_is_named(authority, status):
    def change(response):
        response.status = PKIStatusInfo(status=status, status_string=None, fail_info=None)

    with pytest.raises(InvalidTimestamp, match=f"status {status}, not granted"):
        parse_timestamp(authority.forge(change))


def refused(response: bytes) -> None:
    with pytest.raises(MalformedInput) as caught:
        parse_timestamp(response)
    assert len(caught.value.message) < 200


@pytest.mark.parametrize("version", [LARGE, 0, 2, 4], ids=short)
def test_refuses_other_versions_of_the_message(authority, version):
    def change(response):
        response.time_stamp_token.content.version = version

    refused(authority.forge(change))


@pytest.mark.parametrize("version", [LARGE, 0, 2, 3], ids=short)
def test_refuses_other_versions_of_the_signer(authority, version):
    refused(authority.forge(with_signer(lambda signer: setattr(signer, "version", version))))


def with_signer(change_signer):
    def change(response):
        data = response.time_stamp_token.content
        signer = data.signer_infos.as_list()[0]
        change_signer(signer)
        data.signer_infos = asn1.SetOf([signer])

    return change


@pytest.mark.parametrize("version", [LARGE, 0, 2], ids=short)
def test_refuses_other_versions_of_the_token(authority, version):
    refused(authority.forge(info=lambda info: setattr(info, "version", version)))


@pytest.mark.parametrize("serial", [LARGE, LARGEST + 1], ids=short)
def test_refuses_a_timestamp_with_a_large_serial(authority, serial):
    refused(authority.forge(info=lambda info: setattr(info, "serial_number", serial)))


@pytest.mark.parametrize("serial", [LARGE, LARGEST + 1], ids=short)
def test_refuses_a_signer_with_a_large_serial(authority, serial):
    refused(authority.forge(with_signer(lambda signer: setattr(signer.sid, "serial_number", serial))))


def test_takes_serials_up_to_the_bound(authority):
    response = authority.forge(info=lambda info: setattr(info, "serial_number", LARGEST))
    assert verify_timestamp(response, MESSAGE, authority.chain).serial == LARGEST


@pytest.mark.parametrize("nonce", [LARGE, -LARGE], ids=short)
def test_a_nonce_of_any_length_is_read_and_never_printed(authority, nonce):
    response = authority.forge(info=lambda info: setattr(info, "nonce", nonce))
    assert verify_timestamp(response, MESSAGE, authority.chain).nonce == nonce


def with_serial(der: bytes, serial: int) -> bytes:
    """The same certificate with another serial; its signature is the old one."""
    made = asn1.decode_der(SignedCertificate, der)
    tbs = asn1.decode_der(TbsCertificate, x509.load_der_x509_certificate(der).tbs_certificate_bytes)
    tbs.serial_number = serial
    made.tbs = asn1.decode_der(asn1.TLV, encode_tbs(tbs, tbs.extensions))
    return asn1.encode_der(made)


@pytest.mark.parametrize("load", [load_certificate, load_submitted], ids=["verifier", "ct log"])
def test_certificates_have_serials_up_to_the_bound(load):
    der = w.World().certificate()
    assert load(with_serial(der, LARGEST)).serial_number == LARGEST
    for serial in (LARGEST + 1, LARGE):
        with pytest.raises(MalformedInput) as caught:
            load(with_serial(der, serial))
        assert caught.value.code == "serial_too_large"


def test_timestamp_authorities_have_serials_up_to_the_bound(authority):
    for serial, code in ((LARGEST, "tsa_chain_broken"), (LARGEST + 1, "serial_too_large")):
        with pytest.raises(HallmarkError) as caught:
            check_tsa_chain((with_serial(authority.leaf, serial), authority.root))
        assert caught.value.code == code
