"""Signing requests (PKCS #10): what proves that their sender has the key."""

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from tests.support.small_ca import EMAIL, ISSUER

from hallmark.ca.possession import MAX_CSR_BYTES, SigningRequestCsr, prove_possession
from hallmark.core.oidc.identity import Principal
from hallmark.errors import HallmarkError

KEY = ec.generate_private_key(ec.SECP256R1())
WHO = Principal(oidc_issuer=ISSUER, name=EMAIL, san_kind="email", san=EMAIL, extensions=())
ALLOWED = frozenset({"ecdsa-sha2-256-nistp256"})
ECDSA_WITH_SHA256 = bytes.fromhex("06082a8648ce3d040302")


def request() -> x509.CertificateSigningRequest:
    return x509.CertificateSigningRequestBuilder(x509.Name([])).sign(KEY, hashes.SHA256())


def prove(pem: bytes):
    return prove_possession(SigningRequestCsr(pem), WHO, ALLOWED)


def refused(pem: bytes) -> str:
    with pytest.raises(HallmarkError) as caught:
        prove(pem)
    return caught.value.code


def test_a_request_proves_its_key():
    assert (
        prove(request().public_bytes(Encoding.PEM)).key.public_numbers() == KEY.public_key().public_numbers()
    )


@pytest.mark.parametrize("more", [0, 1])
def test_a_request_has_up_to_64_kibibytes(more):
    pem = request().public_bytes(Encoding.PEM).rjust(MAX_CSR_BYTES + more, b"\n")
    if more:
        assert refused(pem) == "malformed_csr"
    else:
        assert prove(pem)


def test_a_request_signed_with_an_unknown_algorithm_proves_nothing():
    der = request().public_bytes(Encoding.DER)
    assert ECDSA_WITH_SHA256 in der
    changed = der.replace(ECDSA_WITH_SHA256, bytes.fromhex("06082a8648ce3d04037f"))
    pem = x509.load_der_x509_csr(changed).public_bytes(Encoding.PEM)
    assert refused(pem) == "invalid_proof_of_possession"


def test_a_request_changed_after_it_was_signed_proves_nothing():
    changed = bytearray(request().public_bytes(Encoding.DER))
    changed[-1] ^= 1
    pem = x509.load_der_x509_csr(bytes(changed)).public_bytes(Encoding.PEM)
    assert refused(pem) == "invalid_proof_of_possession"
