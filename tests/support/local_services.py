"""The services of a little Sigstore in memory, over HTTP on loopback; a test may replace every answer."""

import base64
import json
from collections.abc import Callable
from datetime import timedelta
from typing import Self

import msgspec
from cryptography.x509 import load_pem_x509_csr

from hallmark.client.identity_token import IdentityToken
from hallmark.core.algorithms import SHA2_256
from hallmark.core.entries.hashedrekord import hashedrekord_v002_body
from hallmark.core.signing_config import ALL, ClientTrustConfig, Service, SigningConfig
from hallmark.core.timestamp import parse_request
from hallmark.core.timestamp_response import build_response, token_signer
from hallmark.core.trusted_root import Validity
from tests.support import world as w
from tests.support.loopback import Asked, LoopbackServer, Reply

TOKEN = IdentityToken(
    raw="header.payload.signature",
    unverified_oidc_issuer=w.OIDC_ISSUER,
    unverified_identity=w.EMAIL,
    unverified_audiences=("sigstore",),
    unverified_nonce="",
    expires=w.NOW + timedelta(minutes=30),
)

Answer = Callable[[Asked], Reply]


class LocalServices:
    """CA below `/ca`, logs below `/log...` and `/v1...`, authorities of time below `/tsa...`.

    `replaced` gives other answers to what begins with a path. Use it as a context manager.
    """

    def __init__(self, world: w.World) -> None:
        self.world = world
        self.replaced: dict[str, Answer] = {}
        self.certificate: dict[str, object] = {}
        self._server = LoopbackServer(self._answer)

    def __enter__(self) -> Self:
        self._server.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.__exit__(*error)

    @property
    def asked(self) -> list[str]:
        """The first part of each path that was asked for, in order."""
        return [asked.path.split("/")[1] for asked in self._server.asked]

    def trust(self, *, logs=("log",), times=("tsa",), ca: bool = True, version: int = 2) -> ClientTrustConfig:
        """Name these services; logs of an API version, and all of them to be used."""
        config = SigningConfig(
            ca_urls=(self._service("ca", 1),) if ca else (),
            rekor_tlog_urls=tuple(self._service(name, version) for name in logs),
            rekor_tlog_config=ALL,
            tsa_urls=tuple(self._service(name, 1) for name in times),
            tsa_config=ALL,
        )
        others = tuple(w.v2_log(host=_host(name)) for name in logs if name not in {"log", "v1"})
        root = msgspec.structs.replace(self.world.root, tlogs=(*self.world.root.tlogs, *others))
        return ClientTrustConfig(root, config)

    def _service(self, name: str, version: int) -> Service:
        url = f"{self._server.url}/{name}"
        return Service(url=url, major_api_version=version, valid_for=Validity(w.BEGINNING), operator=name)

    def _answer(self, asked: Asked) -> Reply:
        name = asked.path.split("/")[1]
        if name in self.replaced:
            return self.replaced[name](asked)
        answers = {"ca": self.issue, "log": self.log, "v1": self.log_v1, "tsa": self.stamp}
        return next(answer for start, answer in answers.items() if name.startswith(start))(asked)

    def issue(self, asked: Asked) -> Reply:
        csr = load_pem_x509_csr(base64.b64decode(json.loads(asked.body)["certificateSigningRequest"]))
        leaf = self.world.certificate(public=csr.public_key(), **self.certificate)
        chain = [w.certificate_pem(item).decode() for item in (leaf, *self.world.ca_chain)]
        return Reply(
            200, json.dumps({"signedCertificateEmbeddedSct": {"chain": {"certificates": chain}}}).encode()
        )

    def log(self, asked: Asked, **changes: object) -> Reply:
        request = json.loads(asked.body)["hashedRekordRequestV002"]
        signature = request["signature"]
        body = hashedrekord_v002_body(
            base64.b64decode(request["digest"]),
            SHA2_256,
            base64.b64decode(signature["content"]),
            signature["verifier"]["keyDetails"],
            certificate=base64.b64decode(signature["verifier"]["x509Certificate"]["rawBytes"]),
        )
        host = _host(asked.path.split("/")[1])
        return Reply(201, w.v2_entry(body, host=host, **changes).to_json())

    def log_v1(self, asked: Asked) -> Reply:
        spec = json.loads(asked.body)["spec"]
        digest = bytes.fromhex(spec["data"]["hash"]["value"])
        signature = base64.b64decode(spec["signature"]["content"])
        pem = base64.b64decode(spec["signature"]["publicKey"]["content"])
        return Reply(201, v1_answer(w.v1_entry(w.hashedrekord_v001_body(digest, signature, pem))))

    def stamp(self, asked: Asked) -> Reply:
        signer = token_signer(
            self.world.tsa_chain, lambda data: w.sign("p256-tsa", data), hash_algorithm=SHA2_256
        )
        request = parse_request(asked.body)
        policy = "1.3.6.1.4.1.57264.2"
        return Reply(200, build_response(request, signer, time=w.NOW, serial=1, policy=policy))


def _host(log: str) -> str:
    return w.HOST if log == "log" else f"{log}.test"


def v1_answer(entry) -> bytes:
    """Print an entry as a log of version 1 answers with it."""
    proof = entry.inclusion_proof
    answer = {
        "body": base64.b64encode(entry.canonicalized_body).decode(),
        "integratedTime": entry.integrated_time,
        "logID": entry.log_id.hex(),
        "logIndex": entry.log_index,
        "verification": {
            "signedEntryTimestamp": base64.b64encode(entry.inclusion_promise).decode(),
            "inclusionProof": {
                "logIndex": proof.log_index,
                "rootHash": proof.root_hash.hex(),
                "treeSize": proof.tree_size,
                "hashes": [item.hex() for item in proof.hashes],
                "checkpoint": proof.checkpoint.decode(),
            },
        },
    }
    return json.dumps({"ab" * 40: answer}).encode()
