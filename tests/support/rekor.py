"""A Rekor v2 log in memory, and requests to it that are true unless a test changes one thing."""

import base64
import hashlib
import json
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Self

from Crypto.Hash import SHA512
from Crypto.PublicKey import ECC
from Crypto.Signature import eddsa
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from cryptography.x509.oid import NameOID

from hallmark.adapters.storage.memory import MemoryHeadStore, MemoryObjectStore
from hallmark.core.dsse import pae
from hallmark.tiledlog.sequencer import QueueLimits
from hallmark.tlog import http as tlog_http
from hallmark.tlog.config import TlogConfig
from hallmark.tlog.metrics import FAMILIES, TlogMetrics
from hallmark.tlog.service import TlogService
from hallmark.web.metrics import Meter
from tests.support.small_log import SmallLog

ENTRIES = "/api/v2/log/entries"
PAYLOAD_TYPE = "application/vnd.in-toto+json"
_CURVES = {"P256": ec.SECP256R1(), "P384": ec.SECP384R1(), "P521": ec.SECP521R1()}
_HASHES = {"SHA256": hashes.SHA256(), "SHA384": hashes.SHA384(), "SHA512": hashes.SHA512()}


class RekorLog:
    """One log with its service and routes; `sequencer` runs while the log is used as a context."""

    def __init__(self, config: TlogConfig | None = None, limits: QueueLimits | None = None) -> None:
        self.log = SmallLog(MemoryHeadStore(), MemoryObjectStore(), limits=limits).create()
        self.sequencer = self.log.sequencer()
        self.service = TlogService(
            self.sequencer,
            self.log.reader,
            log_id=self.log.signer.log_id,
            config=config or TlogConfig(),
        )
        self.meter = Meter(FAMILIES)
        self.metrics = TlogMetrics(self.meter)
        self.routes = tlog_http.routes(self.service, self.metrics)

    def __enter__(self) -> Self:
        self.sequencer.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self.sequencer.stop()


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


@cache
def private_key(key_details: str, number: int):
    _, kind, *rest = key_details.split("_")
    if kind == "ECDSA":
        return ec.generate_private_key(_CURVES[rest[0]])
    if kind == "RSA":
        return rsa.generate_private_key(public_exponent=65537, key_size=int(rest[1]))
    return ed25519.Ed25519PrivateKey.generate()


def spki(key_details: str, number: int = 0) -> bytes:
    key = private_key(key_details, number).public_key()
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def sign(key_details: str, message: bytes, number: int = 0) -> bytes:
    key = private_key(key_details, number)
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return key.sign(message, ec.ECDSA(hash_of(key_details)))
    if isinstance(key, rsa.RSAPrivateKey):
        return key.sign(message, padding.PKCS1v15(), hash_of(key_details))
    if key_details == "PKIX_ED25519":
        return key.sign(message)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return eddsa.new(ECC.import_key(pem), "rfc8032").sign(SHA512.new(message))


def hash_of(key_details: str) -> hashes.HashAlgorithm:
    if "ED25519" in key_details:
        return hashes.SHA512()
    return _HASHES["SHA" + key_details.rpartition("SHA")[2].lstrip("_")]


def digest(key_details: str, message: bytes) -> bytes:
    return hashlib.new(hash_of(key_details).name, message).digest()


def verifier(key_details: str, number: int = 0) -> dict:
    return {"publicKey": {"rawBytes": b64(spki(key_details, number))}, "keyDetails": key_details}


def large_certificate(key_details: str) -> bytes:
    """A certificate that fits no entry."""
    key = private_key(key_details, 0)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "large")])
    start = datetime(2026, 1, 1, tzinfo=UTC)
    large = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3"), bytes(50_000))
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, start, start + timedelta(days=1))
    built = builder.add_extension(large, critical=False).sign(key, hash_of(key_details))
    return built.public_bytes(Encoding.DER)


def hashedrekord(key_details: str = "PKIX_ECDSA_P256_SHA_256", message: bytes = b"message") -> dict:
    """A true request for a hashedrekord."""
    return {
        "hashedRekordRequestV002": {
            "digest": b64(digest(key_details, message)),
            "signature": {"content": b64(sign(key_details, message)), "verifier": verifier(key_details)},
        }
    }


def dsse(*signers: str, payload: bytes = b"{}", payload_type: str = PAYLOAD_TYPE) -> dict:
    """A true request for a dsse, signed once with each of these kinds of key."""
    signers = signers or ("PKIX_ECDSA_P256_SHA_256",)
    message = pae(payload_type, payload)
    return {
        "dsseRequestV002": {
            "envelope": {
                "payload": b64(payload),
                "payloadType": payload_type,
                "signatures": [
                    {"sig": b64(sign(kind, message, number)), "keyid": ""}
                    for number, kind in enumerate(signers)
                ],
            },
            "verifiers": [verifier(kind, number) for number, kind in enumerate(signers)],
        }
    }


def to_body(request: dict) -> bytes:
    return json.dumps(request).encode()


def changed(request: dict, *path: str | int, value: object = None) -> dict:
    """A copy of the request in which the value at `path` is another, or gone for `...`."""
    copy = json.loads(json.dumps(request))
    here = copy
    for step in path[:-1]:
        here = here[step]
    if value is ...:
        del here[path[-1]]
    else:
        here[path[-1]] = value
    return copy
