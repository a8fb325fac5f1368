"""What the tests of timestamps share."""

import hashlib

import pytest
from cryptography.hazmat import asn1
from cryptography.x509 import ObjectIdentifier
from cryptography.x509.oid import ExtendedKeyUsageOID

from hallmark.core.cms import AlgorithmIdentifier, Attribute
from hallmark.core.timestamp import (
    SIGNING_CERTIFICATE_V2,
    ESSCertIDv2,
    IssuerSerial,
    SigningCertificateV2,
    verify_timestamp,
)
from hallmark.errors import InvalidTimestamp
from tests.support.tsa_authority import MESSAGE, tlv

TIME_STAMPING = ExtendedKeyUsageOID.TIME_STAMPING
DIGEST = hashlib.sha256(MESSAGE).digest()


def refused(response: bytes, chain: tuple[bytes, ...], code: str, error: type[Exception] = InvalidTimestamp):
    with pytest.raises(error) as caught:
        verify_timestamp(response, MESSAGE, chain)
    assert caught.value.code == code


def replaced(oid, value):
    def change(found):
        kept = [item for item in found if item.type != oid]
        return [*kept, Attribute(type=oid, values=asn1.SetOf([tlv(value)]))]

    return change


def replace_v2(leaf: bytes, hash_name: str = "sha256", issuer_serial: IssuerSerial | None = None):
    oid = {"sha256": None, "sha512": AlgorithmIdentifier(
        algorithm=ObjectIdentifier("2.16.840.1.101.3.4.2.3"), parameters=None)}[hash_name]  # fmt: skip
    identifier = ESSCertIDv2(
        hash_algorithm=oid, cert_hash=hashlib.new(hash_name, leaf).digest(), issuer_serial=issuer_serial
    )
    value = SigningCertificateV2(certs=[identifier], policies=None)
    return replaced(SIGNING_CERTIFICATE_V2, value)
