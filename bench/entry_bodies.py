"""Request bodies for load: entries that no log has seen, certificates, timestamps."""

import base64
import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

CERTIFICATES = 64


def write_entries(path: Path, count: int) -> None:
    """Write `count` entry requests, one a line: unique digests and signatures, certificates of usual size."""
    signers = [_signer() for _ in range(CERTIFICATES)]
    prehashed = ec.ECDSA(Prehashed(hashes.SHA256()))
    with path.open("w") as file:
        for number in range(count):
            key, certificate = signers[number % CERTIFICATES]
            digest = os.urandom(32)
            verifier = {"x509Certificate": {"rawBytes": certificate}, "keyDetails": "PKIX_ECDSA_P256_SHA_256"}
            signature = {"content": _b64(key.sign(digest, prehashed)), "verifier": verifier}
            entry = {"hashedRekordRequestV002": {"digest": _b64(digest), "signature": signature}}
            file.write(json.dumps(entry, separators=(",", ":")) + "\n")


def _signer() -> tuple[ec.EllipticCurvePrivateKey, str]:
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    scts = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.11129.2.4.2"), os.urandom(130))
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "bench")]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + timedelta(minutes=10))
        .add_extension(x509.SubjectAlternativeName([x509.RFC822Name("bench@example.com")]), critical=True)
        .add_extension(scts, critical=False)
        .sign(key, hashes.SHA256())
    )
    return key, _b64(certificate.public_bytes(Encoding.DER))


def certificate_request(token: str, email: str) -> bytes:
    """A request for a certificate, with its proof of possession; it may be sent any number of times."""
    key = ec.generate_private_key(ec.SECP256R1())
    pem = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    proof = key.sign(email.encode(), ec.ECDSA(hashes.SHA256()))
    request = {"publicKey": {"algorithm": "ECDSA", "content": pem}, "proofOfPossession": _b64(proof)}
    return json.dumps({"credentials": {"oidcIdentityToken": token}, "publicKeyRequest": request}).encode()


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode()
