"""Timestamp authorities for tests: honest ones, and tokens forged in one detail and signed again."""

import hashlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import cache

from cryptography import x509
from cryptography.hazmat import asn1
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from hallmark.core.algorithms import SHA2_256, SHA2_384, SHA2_512, HashAlgorithm
from hallmark.core.cms import MESSAGE_DIGEST, Attribute
from hallmark.core.timestamp import TimeStampResp, TSTInfo, build_request, parse_request
from hallmark.core.timestamp_response import build_response, token_signer

NOW = datetime(2026, 3, 1, 12, 0, 0, 250_000, tzinfo=UTC)
MESSAGE = b"the signature of an artifact"
POLICY = "1.3.6.1.4.1.57264.2"
HASHES = {item.name: item for item in (SHA2_256, SHA2_384, SHA2_512)}
_CRYPTOGRAPHY_HASHES = {"sha256": hashes.SHA256(), "sha384": hashes.SHA384(), "sha512": hashes.SHA512()}

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


@cache
def private_key(kind: str) -> PrivateKey:
    if kind == "rsa":
        return rsa.generate_private_key(65537, 2048)
    curves = {"p256": ec.SECP256R1(), "p384": ec.SECP384R1(), "p521": ec.SECP521R1()}
    return ec.generate_private_key(curves[kind.split("-", maxsplit=1)[0]])


def name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, common_name)])


def certificate(
    *,
    subject: str,
    issuer: str,
    key: PrivateKey,
    issuing_key: PrivateKey,
    ca: bool,
    serial: int = 7,
    eku: list[x509.ObjectIdentifier] | None = None,
    eku_critical: bool = True,
    path_length: int | None = None,
    not_before: datetime = NOW - timedelta(days=1),
    not_after: datetime = NOW + timedelta(days=1),
    extra: list[tuple[x509.ExtensionType, bool]] | None = None,
) -> bytes:
    builder = (
        x509.CertificateBuilder()
        .subject_name(name(subject))
        .issuer_name(name(issuer))
        .public_key(key.public_key())
        .serial_number(serial)
        .not_valid_before(not_before)
        .not_valid_after(not_after)
        .add_extension(x509.BasicConstraints(ca=ca, path_length=path_length), critical=True)
    )
    if eku is not None:
        builder = builder.add_extension(x509.ExtendedKeyUsage(eku), critical=eku_critical)
    for extension, critical in extra or []:
        builder = builder.add_extension(extension, critical=critical)
    return builder.sign(issuing_key, hashes.SHA256()).public_bytes(Encoding.DER)


class Authority:
    """A root and a leaf; keyword arguments change the leaf."""

    def __init__(self, kind: str = "p256", hash_name: str = "sha256", **leaf: object) -> None:
        self.key = private_key(kind)
        self.root_key = private_key("p256-root")
        self.hash = HASHES[hash_name]
        fields = {"ca": False, "eku": [ExtendedKeyUsageOID.TIME_STAMPING], "subject": "tsa", **leaf}
        self.leaf = certificate(issuer="root", key=self.key, issuing_key=self.root_key, **fields)
        self.root = certificate(
            subject="root",
            issuer="root",
            key=self.root_key,
            issuing_key=self.root_key,
            ca=True,
            serial=1,
            not_before=NOW - timedelta(days=10),
            not_after=NOW + timedelta(days=10),
        )
        self.chain = (self.leaf, self.root)

    def sign(self, data: bytes) -> bytes:
        algorithm = _CRYPTOGRAPHY_HASHES[self.hash.name]
        if isinstance(self.key, rsa.RSAPrivateKey):
            return self.key.sign(data, padding.PKCS1v15(), algorithm)
        return self.key.sign(data, ec.ECDSA(algorithm))

    def stamp(
        self,
        message: bytes = MESSAGE,
        *,
        imprint: HashAlgorithm = SHA2_256,
        nonce: int | None = None,
        cert_req: bool = False,
        include_chain: bool = False,
        time: datetime = NOW,
        serial: int = 2**159 + 1,
    ) -> bytes:
        query = build_request(
            hashlib.new(imprint.name, message).digest(),
            hash_algorithm=imprint,
            nonce=nonce,
            cert_req=cert_req,
        )
        signer = token_signer(self.chain, self.sign, hash_algorithm=self.hash, include_chain=include_chain)
        return build_response(parse_request(query), signer, time=time, serial=serial, policy=POLICY)

    def forge(
        self,
        change: Callable[[TimeStampResp], None] = lambda _: None,
        *,
        info: Callable[[TSTInfo], None] | None = None,
        attributes: Callable[[list[Attribute]], list[Attribute]] = lambda found: found,
        message: bytes = MESSAGE,
    ) -> bytes:
        """Change one thing in a good response and sign what came out with the authority's own key."""
        response = asn1.decode_der(TimeStampResp, self.stamp(message))
        data = response.time_stamp_token.content
        signer = data.signer_infos.as_list()[0]
        found = signer.signed_attrs.as_list()
        if info is not None:
            content = asn1.decode_der(TSTInfo, data.encap_content_info.e_content)
            info(content)
            data.encap_content_info.e_content = asn1.encode_der(content)
            digest = self.hash.digest(data.encap_content_info.e_content)
            found = [item for item in found if item.type != MESSAGE_DIGEST]
            found.append(Attribute(type=MESSAGE_DIGEST, values=asn1.SetOf([tlv(digest)])))
        signer.signed_attrs = asn1.SetOf(attributes(found))
        signer.signature = self.sign(asn1.encode_der(signer.signed_attrs))
        data.signer_infos = asn1.SetOf([signer])
        change(response)
        return asn1.encode_der(response)


def tlv(value: object) -> asn1.TLV:
    return asn1.decode_der(asn1.TLV, asn1.encode_der(value))
