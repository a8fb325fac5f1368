"""Proof of possession: that whoever asks for a certificate holds the private key."""

from typing import Final

import msgspec
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from hallmark.core.keys import PublicKey, parse_public_key, parse_public_key_pem, wrap_public_key
from hallmark.core.oidc.identity import Principal
from hallmark.errors import InvalidSignature, MalformedInput, PolicyViolation

MAX_CSR_BYTES: Final = 64 * 1024


class KeyAndProof(msgspec.Struct, frozen=True):
    """A public key, PEM or DER, and a signature over the principal's name."""

    public_key: bytes
    proof: bytes


class SigningRequestCsr(msgspec.Struct, frozen=True):
    """A PKCS #10 request, PEM. Its key and its signature count; subject and attributes are ignored."""

    pem: bytes


SubjectKey = KeyAndProof | SigningRequestCsr


def prove_possession(subject: SubjectKey, principal: Principal, allowed: frozenset[str]) -> PublicKey:
    """Check the proof and return the key that was proved.

    Raises `MalformedInput` (`malformed_key`, `malformed_csr`, `weak_key`), `InvalidSignature`
    (`invalid_proof_of_possession`) or `PolicyViolation` (`algorithm_not_permitted`), in this order.
    """
    if isinstance(subject, SigningRequestCsr):
        key = _verify_csr(subject.pem)
    else:
        key = _verify_proof(subject, principal)
    if key.algorithm.name not in allowed:
        raise PolicyViolation(
            f"signing algorithm not permitted: {key.algorithm.name}", code="algorithm_not_permitted"
        )
    return key


def _verify_proof(subject: KeyAndProof, principal: Principal) -> PublicKey:
    pem = subject.public_key.lstrip().startswith(b"-----BEGIN")
    key = (parse_public_key_pem if pem else parse_public_key)(subject.public_key)
    try:
        key.verify(subject.proof, principal.name.encode())
    except InvalidSignature:
        raise InvalidSignature(
            f"the proof of possession is not a signature over {principal.name!r} by the key",
            code="invalid_proof_of_possession",
        ) from None
    return key


def _verify_csr(pem: bytes) -> PublicKey:
    if len(pem) > MAX_CSR_BYTES:
        raise MalformedInput(f"a signing request of {len(pem)} bytes is too large", code="malformed_csr")
    try:
        csr = x509.load_pem_x509_csr(pem)
        public_key = csr.public_key()
    except (ValueError, UnsupportedAlgorithm, x509.InvalidVersion):
        raise MalformedInput("the signing request is not a PEM PKCS #10", code="malformed_csr") from None
    key = wrap_public_key(public_key)
    try:
        valid = csr.is_signature_valid and _is_default_scheme(csr, key)
    except (ValueError, UnsupportedAlgorithm):
        valid = False
    if not valid:
        raise InvalidSignature(
            "the signing request is not signed by its own key with that key's algorithm",
            code="invalid_proof_of_possession",
        )
    return key


def _is_default_scheme(csr: x509.CertificateSigningRequest, key: PublicKey) -> bool:
    """Say whether hash and padding are those of the key's algorithm in the registry."""
    signed_with = csr.signature_hash_algorithm
    expected = key.algorithm.hash.name if key.algorithm.hash else None
    if (signed_with.name if signed_with else None) != expected:
        return False
    return not isinstance(key.key, rsa.RSAPublicKey) or isinstance(
        csr.signature_algorithm_parameters, padding.PKCS1v15
    )
