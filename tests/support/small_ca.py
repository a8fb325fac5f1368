"""A certificate authority, its CT log and its identity provider, in memory, with a clock of their own."""

import asyncio
import base64
import hashlib
import json
from datetime import UTC, datetime, timedelta
from functools import cache
from urllib.parse import urlencode

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from joserfc import jwt
from joserfc.jwk import RSAKey
from starlette.applications import Starlette

from hallmark.adapters.keys.file import SoftwareKey
from hallmark.adapters.storage.grants import SqliteGrants
from hallmark.adapters.storage.issuers import ObjectIssuerStore
from hallmark.adapters.storage.memory import MemoryHeadStore, MemoryObjectStore
from hallmark.ca.http import routes as ca_routes
from hallmark.ca.issuers import FixedKeys, OidcIssuer, OidcIssuers
from hallmark.ca.service import CertificateAuthority
from hallmark.core.keys import parse_public_key
from hallmark.core.oidc.issuers import find_issuer_type
from hallmark.core.x509.authority import issuing_certificate, root_certificate
from hallmark.ctlog.http import routes as ctlog_routes
from hallmark.ctlog.service import CtLog
from hallmark.ctlog.signer import CtLogSigner
from hallmark.idp.config import IdpConfig
from hallmark.idp.http import routes as idp_routes
from hallmark.idp.service import IdentityProvider
from hallmark.tiledlog.log import create_log
from hallmark.tiledlog.reader import LogReader
from hallmark.tiledlog.sequencer import Sequencer
from hallmark.wiring.logs import STATIC_CT

BASE_URL = "http://127.0.0.1:8080"
ISSUER = f"{BASE_URL}/oidc"
ORIGIN = "127.0.0.1:8080/ctlog"
EMAIL = "alice@example.com"
SECRET = "the secret of the command line"
NOW = datetime(2026, 3, 1, 12, 0, 0, 250_000, tzinfo=UTC)


class Answer(msgspec.Struct, frozen=True):
    status: int
    headers: dict[str, str]
    body: bytes

    def json(self):
        return json.loads(self.body)

    def text(self) -> str:
        return self.body.decode()


@cache
def rsa_key(bits: int = 2048, exponent: int = 65537) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(exponent, bits)


def der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.DER)


def spki(key) -> bytes:
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def pem(key) -> str:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def b64(value: bytes) -> str:
    return base64.b64encode(value).decode()


def b64url(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).decode().rstrip("=")


def prove(key, message: str) -> bytes:
    """Sign as a client does that asks for a certificate."""
    data = message.encode()
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return key.sign(data)
    if isinstance(key, rsa.RSAPrivateKey):
        return key.sign(data, padding.PKCS1v15(), hashes.SHA256())
    by_size = {256: hashes.SHA256(), 384: hashes.SHA384(), 521: hashes.SHA512()}
    return key.sign(data, ec.ECDSA(by_size.get(key.curve.key_size, hashes.SHA256())))


class SmallCa:
    """Everything that stands between a login and a certificate. `now` is the clock of all of it."""

    def __init__(self, tmp_path, *, now: datetime = NOW) -> None:
        self.now = now
        self.root_key = ec.generate_private_key(ec.SECP384R1())
        self.issuing_key = ec.generate_private_key(ec.SECP256R1())
        self.log_key = ec.generate_private_key(ec.SECP256R1())
        self.ctlog_key = parse_public_key(spki(self.log_key))
        self.chain = self._chain()
        self.store, self.objects = MemoryHeadStore(), MemoryObjectStore()
        self.ctlog_signer = CtLogSigner(ORIGIN, SoftwareKey(self.log_key))
        create_log(self.store, self.ctlog_signer, time=int(now.timestamp() * 1000))
        self.failures: list[BaseException] = []
        self.sequencer = Sequencer(self.store, self.ctlog_signer, self.clock, on_failure=self.failures.append)
        self.sequencer.start()
        self.reader = LogReader(self.store, self.objects, STATIC_CT)
        self.ctlog = self._ctlog()
        self.grants = SqliteGrants(tmp_path / "grants.sqlite")
        self.idp = IdentityProvider(
            config=IdpConfig(base_url=BASE_URL, token_secret_sha256=hashlib.sha256(SECRET.encode()).digest()),
            key=rsa_key(),
            grants=self.grants,
            clock=self.clock,
        )
        self.ca = self.authority()
        self.parts = {
            "/ctlog": ctlog_routes(self.ctlog),
            "/oidc": idp_routes(self.idp),
            "": ca_routes(self.ca),
        }

    def close(self) -> None:
        self.sequencer.stop()
        self.grants.close()
        assert not self.failures

    def clock(self) -> datetime:
        return self.now

    def pass_time(self, **duration: float) -> None:
        self.now += timedelta(**duration)

    def authority(self, **changes) -> CertificateAuthority:
        issuer = OidcIssuer(
            url=ISSUER,
            issuer_type=find_issuer_type("email"),
            audience="sigstore",
            keys=FixedKeys(self.idp.key_set),
        )
        settings = {
            "issuing_key": SoftwareKey(self.issuing_key),
            "issuing_chain": self.chain,
            "ctlog": self.ctlog,
            "ctlog_key": self.ctlog_key,
            "issuers": OidcIssuers([issuer]),
            "clock": self.clock,
        }
        return CertificateAuthority(**{**settings, **changes})

    def token(self, key: rsa.RSAPrivateKey | None = None, header: dict | None = None, **changes) -> str:
        """Make a token of the development issuer; `changes` replace claims, None removes one."""
        now = int(self.now.timestamp())
        claims = {
            "iss": ISSUER,
            "sub": "subject-1",
            "aud": "sigstore",
            "exp": now + 60,
            "iat": now,
            "email": EMAIL,
            "email_verified": True,
            **changes,
        }
        claims = {name: value for name, value in claims.items() if value is not None}
        return jwt.encode(header or {"alg": "RS256"}, claims, RSAKey.import_key(key or rsa_key()))

    def request(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        headers: dict[str, str] | None = None,
        query: str = "",
    ) -> Answer:
        """Send one request to the instance's routes, in process."""
        prefix = next(prefix for prefix in self.parts if path.startswith(prefix))
        app = Starlette(routes=self.parts[prefix])
        return asyncio.run(_call(app, method, path.removeprefix(prefix), body, headers or {}, query))

    def post_form(self, path: str, fields: dict[str, str], **headers: str) -> Answer:
        sent = {"host": "127.0.0.1:8080", **headers}
        return self.request("POST", path, urlencode(fields).encode(), sent)

    def sign(self, request: dict, token: str | None = None, path: str = "/api/v2/signingCert") -> Answer:
        """Ask for a certificate."""
        headers = {} if token is None else {"authorization": f"Bearer {token}"}
        return self.request("POST", path, json.dumps(request).encode(), headers)

    def _chain(self) -> tuple[bytes, bytes]:
        names = {"organization": "Hallmark tests", "now": self.now}
        root = root_certificate(self.root_key, common_name="root", serial=1, **names)
        issuing = issuing_certificate(
            self.issuing_key.public_key(),
            common_name="issuing",
            root=root,
            root_key=self.root_key,
            serial=2,
            **names,
        )
        return der(issuing), der(root)

    def _ctlog(self) -> CtLog:
        return CtLog(
            log=self.sequencer,
            key=SoftwareKey(self.log_key),
            roots=[self.chain[-1]],
            issuers=ObjectIssuerStore(self.objects),
        )


def key_request(key, message: str = EMAIL, *, public: str | None = None) -> dict:
    """Build the body that asks with a public key and a proof of possession."""
    return {
        "publicKeyRequest": {
            "publicKey": {"algorithm": "ECDSA", "content": public or pem(key)},
            "proofOfPossession": b64(prove(key, message)),
        }
    }


def csr_request(key, hash_algorithm=None) -> dict:
    """Build the body that asks with a signing request, as sigstore-python does."""
    algorithm = hash_algorithm or (None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256())
    csr = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.EMAIL_ADDRESS, "mallory@example.com")]))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, algorithm)
    )
    return {"certificateSigningRequest": b64(csr.public_bytes(Encoding.PEM))}


def certificates_of(answer: Answer) -> list[x509.Certificate]:
    """Read the chain out of an answer of version 2."""
    assert answer.status == 200, answer.body
    chain = answer.json()["signedCertificateEmbeddedSct"]["chain"]["certificates"]
    return [x509.load_pem_x509_certificate(item.encode()) for item in chain]


async def _call(app, method, path, body, headers, query) -> Answer:
    incoming = [{"type": "http.request", "body": body, "more_body": False}]
    sent = []

    async def receive():
        return incoming.pop(0) if incoming else {"type": "http.disconnect"}

    async def send(message):
        sent.append(message)

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "scheme": "http",
        "server": ("127.0.0.1", 8080),
        "client": ("127.0.0.1", 1),
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": query.encode(),
        "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
    }
    await app(scope, receive, send)
    found = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return Answer(sent[0]["status"], found, b"".join(item.get("body", b"") for item in sent[1:]))
