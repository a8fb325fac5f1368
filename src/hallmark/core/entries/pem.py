"""The PEM in which Rekor v1 keeps verifiers: a public key, or a certificate, perhaps with its chain."""

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from hallmark.core.keys import parse_public_key_pem
from hallmark.errors import MalformedInput

MAX_PEM_BYTES = 256 * 1024
_CERTIFICATE = b"-----BEGIN CERTIFICATE-----"


def pem_to_der(pem: bytes) -> bytes:
    """Read the DER of the key, or of the first certificate; raises `MalformedInput`."""
    if len(pem) > MAX_PEM_BYTES:
        raise MalformedInput(f"the verifier of a log entry has {len(pem)} bytes, more than {MAX_PEM_BYTES}")
    if not pem.lstrip().startswith(_CERTIFICATE):
        return parse_public_key_pem(pem).spki
    try:
        return x509.load_pem_x509_certificate(pem).public_bytes(Encoding.DER)
    except (ValueError, x509.InvalidVersion):
        raise MalformedInput("the verifier of a log entry does not parse") from None
