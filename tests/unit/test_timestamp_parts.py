"""The optional parts of requests and tokens stand where other readers look for them."""

import subprocess
from typing import Literal

from cryptography.hazmat import asn1
from cryptography.x509 import ObjectIdentifier
from tests.support.timestamps import DIGEST
from tests.support.tsa_authority import MESSAGE, NOW, POLICY, Authority, name

from hallmark.core.timestamp import (
    Accuracy,
    AnyValue,
    Extension,
    TimeStampReq,
    TSTInfo,
    build_request,
    parse_request,
    parse_timestamp,
    verify_timestamp,
)
from hallmark.core.timestamp_response import build_response, token_signer

EXTENSION = Extension(extn_id=ObjectIdentifier("1.2.3.4"), critical=None, extn_value=b"\x05\x00")


def read_by_openssl(tmp_path, kind: Literal["query", "reply"], der: bytes) -> str:
    (tmp_path / "der").write_bytes(der)
    command = ["openssl", "ts", f"-{kind}", "-in", "der", "-text"]
    return subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True).stdout


def test_a_request_may_have_extensions(tmp_path):
    request = asn1.decode_der(TimeStampReq, build_request(DIGEST))
    request.extensions = [EXTENSION]
    der = asn1.encode_der(request)
    assert parse_request(der).has_extensions
    assert "1.2.3.4" in read_by_openssl(tmp_path, "query", der)


def test_asks_for_the_certificate_only_when_told_to(tmp_path):
    assert not parse_request(build_request(DIGEST)).cert_req
    assert "Certificate required: no" in read_by_openssl(tmp_path, "query", build_request(DIGEST))
    wanted = build_request(DIGEST, cert_req=True)
    assert "Certificate required: yes" in read_by_openssl(tmp_path, "query", wanted)


def test_a_token_says_who_stamped_and_how_exactly(tmp_path):
    text = read_by_openssl(tmp_path, "reply", Authority().stamp())
    assert "Accuracy: 0x01 seconds, unspecified millis, unspecified micros" in text
    assert "TSA: DirName:" in text


def test_a_client_that_asks_for_certificates_gets_the_leaf():
    authority = Authority()
    signer = token_signer(authority.chain, authority.sign, hash_algorithm=authority.hash)
    request = parse_request(build_request(DIGEST, cert_req=True))
    response = build_response(request, signer, time=NOW, serial=1, policy=POLICY)
    assert parse_timestamp(response).signed.certificate_count == 1


def every_part(info: TSTInfo) -> None:
    info.accuracy = Accuracy(seconds=1, millis=2, micros=3)
    info.ordering = True
    info.nonce = 7
    der = name("the tsa").public_bytes()
    info.tsa = AnyValue(value=asn1.decode_der(asn1.TLV, b"\xa4%c%b" % (len(der), der)))  # directoryName
    info.extensions = [EXTENSION]


def test_a_token_may_have_every_part(tmp_path):
    authority = Authority()
    response = authority.forge(info=every_part)
    text = read_by_openssl(tmp_path, "reply", response)
    for part in (
        "Accuracy: 0x01 seconds, 0x02 millis, 0x03 micros",
        "Ordering: yes",
        "Nonce: 0x07",
        "the tsa",
        "1.2.3.4",
    ):
        assert part in text
    assert verify_timestamp(response, MESSAGE, authority.chain).nonce == 7
