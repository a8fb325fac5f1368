"""Certificate chains in the instance's directory: PEM, the certificate in use first, the root last."""

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from hallmark.errors import ConfigurationError
from hallmark.wiring.layout import Layout


def pem_of_chain(chain: tuple[bytes, ...]) -> str:
    """Print a chain."""
    certificates = (x509.load_der_x509_certificate(der) for der in chain)
    return "".join(item.public_bytes(Encoding.PEM).decode("ascii") for item in certificates)


def read_chain(layout: Layout, service: str) -> tuple[bytes, ...]:
    """Read the chain of the `ca` or the `tsa`, DER; raises `ConfigurationError` (`damaged_state`)."""
    path = layout.chain(service)
    try:
        certificates = x509.load_pem_x509_certificates(path.read_bytes())
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f"{path} holds no certificate chain: {error}",
            code="damaged_state",
            hint="restore the directory from a copy",
        ) from None
    return tuple(item.public_bytes(Encoding.DER) for item in certificates)
