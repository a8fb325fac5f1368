"""The certificates of a new timestamp authority: a root, and the leaf that signs (RFC 3161 section 2.3)."""

from datetime import datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

BACKDATED: Final = timedelta(hours=1)
"""How long before its making a certificate begins; no timestamp, cut to seconds, may fall before it."""

ROOT_LIFETIME: Final = timedelta(days=3650)
LEAF_LIFETIME: Final = timedelta(days=3650)


def issue_tsa_chain(
    root_key: ec.EllipticCurvePrivateKey,
    leaf_key: ec.EllipticCurvePublicKey,
    *,
    organization: str,
    now: datetime,
    root_serial: int,
    leaf_serial: int,
) -> tuple[bytes, bytes]:
    """Issue a root and a leaf under it; DER, leaf first.

    Both begin at whole seconds one hour before `now` and last ten years. The root may sign nothing but
    timestamping leaves; the leaf's extended key usage is critical and only timeStamping, as clients demand.
    """
    start = now.replace(microsecond=0) - BACKDATED
    root_name = _name(organization, "timestamp authority root")
    root = _issue_root(root_key, root_name, start, root_serial)
    leaf = (
        _builder(_name(organization, "timestamp authority"), root_name, leaf_key, leaf_serial)
        .not_valid_before(start)
        .not_valid_after(start + LEAF_LIFETIME)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(ca=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.TIME_STAMPING]), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(leaf_key), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(root_key.public_key()), critical=False
        )
        .sign(root_key, hashes.SHA256())
    )
    return leaf.public_bytes(Encoding.DER), root.public_bytes(Encoding.DER)


def _issue_root(
    key: ec.EllipticCurvePrivateKey, name: x509.Name, start: datetime, serial: int
) -> x509.Certificate:
    return (
        _builder(name, name, key.public_key(), serial)
        .not_valid_before(start)
        .not_valid_after(start + ROOT_LIFETIME)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(ca=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, serial: int
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(serial)
    )


def _name(organization: str, common_name: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, organization),
            x509.NameAttribute(x509.NameOID.COMMON_NAME, f"{organization} {common_name}"),
        ]
    )


def _key_usage(*, ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not ca,
        key_cert_sign=ca,
        crl_sign=ca,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
