"""Every row of docs/operate/bad-input.md, against a real instance and the real command line."""

import base64
import functools
import hashlib
import json
import os
import re
import threading
import time
from datetime import UTC, datetime, timedelta
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import urllib3
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key
from joserfc import jwt
from joserfc.jwk import RSAKey
from tests.support.instance import RunningInstance
from tests.support.load import entry_request
from tests.support.rekor import dsse
from tests.support.small_log import SmallLog

from hallmark.adapters.storage.filesystem import FileObjectStore
from hallmark.adapters.storage.sqlite import SqliteHeadStore
from hallmark.trustroot.keys import load_key_files
from hallmark.trustroot.repository import TrustRepository

EMAIL = "alice@example.com"
PAGE = Path(__file__).parents[2] / "docs" / "operate" / "bad-input.md"
http = urllib3.PoolManager(retries=False, timeout=30)


@pytest.fixture(scope="module")
def instance(tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    running = RunningInstance(tmp_path_factory.mktemp("data") / "instance", home)
    yield running
    http.clear()
    assert running.stop() == 0
    assert "Traceback" not in (home / "up.log").read_text()


@pytest.fixture(scope="module")
def signed(instance, tmp_path_factory):
    """A signed file and its bundle."""
    file = tmp_path_factory.mktemp("signed") / "artifact"
    file.write_bytes(b"content")
    instance.run("sign", "--instance", instance.base_url, "--identity-token", instance.token(), str(file))
    return file


def post(url: str, body: bytes | dict, **headers: str):
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return http.request("POST", url, body=data, headers=headers)


def reason(answer) -> str:
    """The reason that an answer's details give."""
    return answer.json()["details"][0]["reason"]


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def spki(key) -> bytes:
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def certificate_request(token: str | None, *, key=None, proof: bytes | None = None) -> dict:
    key = key or ec.generate_private_key(ec.SECP256R1())
    pem = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    if proof is None:
        proof = key.sign(EMAIL.encode(), ec.ECDSA(hashes.SHA256()))
    request = {"publicKeyRequest": {"publicKey": {"content": pem}, "proofOfPossession": b64(proof)}}
    return request if token is None else {**request, "credentials": {"oidcIdentityToken": token}}


def minted(instance, **changes) -> str:
    """A token signed with the key of the instance's own issuer, with some claims changed."""
    key = load_pem_private_key((instance.root / "keys" / "idp.pem").read_bytes(), None)
    published = http.request("GET", f"{instance.base_url}/oidc/keys").json()["keys"][0]
    now = int(time.time())
    claims = {
        "iss": f"{instance.base_url}/oidc",
        "aud": "sigstore",
        "sub": "alice",
        "email": EMAIL,
        "email_verified": True,
        "iat": now,
        "exp": now + 300,
    }
    header = {"alg": "RS256", "kid": published["kid"]}
    return jwt.encode(header, {**claims, **changes}, RSAKey.import_key(key))


def sign_certificate(instance, request: dict | bytes):
    return post(f"{instance.base_url}/api/v2/signingCert", request)


def add_entry(instance, **changes):
    entry = json.loads(entry_request())["hashedRekordRequestV002"]
    return post(f"{instance.base_url}/api/v2/log/entries", {"hashedRekordRequestV002": {**entry, **changes}})


def test_malformed_json(instance):
    for path in ("/api/v2/signingCert", "/api/v1/signingCert", "/api/v2/log/entries"):
        answer = post(f"{instance.base_url}{path}", b"{")
        assert answer.status == 400
        assert answer.json()["code"] == 3
    stamp = post(f"{instance.base_url}/api/v1/timestamp", b"{", **{"Content-Type": "application/json"})
    assert stamp.status == 400
    chain = post(f"{instance.base_url}/ctlog/ct/v1/add-chain", b"{")
    assert chain.status == 400


def test_unknown_fields_are_ignored_by_the_authority_and_refused_by_the_log(instance):
    request = certificate_request(instance.token())
    assert sign_certificate(instance, {**request, "unheardOf": 1}).status == 200
    refused = add_entry(instance, unheardOf=1)
    assert refused.status == 400
    assert "unheardOf" in refused.json()["message"]


def test_missing_token(instance):
    refused = sign_certificate(instance, certificate_request(None))
    assert refused.status == 400
    assert refused.json()["message"] == "There was an error processing the identity token"


@pytest.mark.parametrize(
    "changes",
    [
        {"exp": int(time.time()) - 1},
        {"aud": "somebody-else"},
        {"iss": "https://accounts.example.com"},
        {"email_verified": False},
    ],
    ids=["expired", "audience", "issuer", "unverified"],
)
def test_expired_foreign_or_unverified_token(instance, changes):
    assert sign_certificate(instance, certificate_request(minted(instance))).status == 200
    refused = sign_certificate(instance, certificate_request(minted(instance, **changes)))
    assert refused.status == 400
    assert refused.json()["message"] == "There was an error processing the identity token"
    assert refused.json()["details"][0]["metadata"]["message"]


def test_bad_proof_of_possession(instance):
    other = ec.generate_private_key(ec.SECP256R1()).sign(EMAIL.encode(), ec.ECDSA(hashes.SHA256()))
    refused = sign_certificate(instance, certificate_request(instance.token(), proof=other))
    assert refused.status == 400
    assert refused.json()["message"] == "The signature supplied in the request could not be verified"


@pytest.mark.parametrize("kind", ["small modulus", "small exponent"])
def test_weak_key(instance, kind):
    small = kind == "small modulus"
    weak = rsa.generate_private_key(65537, 1024) if small else rsa.generate_private_key(3, 2048)
    refused = sign_certificate(instance, certificate_request(instance.token(), key=weak, proof=b"x"))
    assert refused.status == 400
    assert refused.json()["message"] == "The public key supplied in the request is insecure"
    verifier = {"publicKey": {"rawBytes": b64(spki(weak))}, "keyDetails": "PKIX_RSA_PKCS1V15_2048_SHA256"}
    entry = add_entry(instance, signature={"content": b64(b"x"), "verifier": verifier})
    assert (entry.status, reason(entry)) == (400, "WEAK_KEY")


def test_body_over_the_limit(instance):
    large = b'{"x": "' + b"y" * (4 << 20) + b'"}'
    for path in ("/api/v2/signingCert", "/api/v2/log/entries"):
        assert post(f"{instance.base_url}{path}", large).status == 400
    query = {"Content-Type": "application/timestamp-query"}
    assert post(f"{instance.base_url}/api/v1/timestamp", b"y" * (2 << 20), **query).status == 400
    assert post(f"{instance.base_url}/ctlog/ct/v1/add-chain", b"y" * (1 << 20)).status == 413


def test_digest_of_the_wrong_length(instance):
    refused = add_entry(instance, digest=b64(b"short"))
    assert (refused.status, refused.json()["message"]) == (400, "invalid hashedrekord request")
    assert reason(refused) == "WRONG_DIGEST_LENGTH"


def test_signature_that_does_not_verify(instance):
    refused = add_entry(instance, digest=b64(hashlib.sha256(b"other").digest()))
    assert (refused.status, reason(refused)) == (400, "INVALID_SIGNATURE")


def foreign_certificate() -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "elsewhere")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(x509.random_serial_number()).not_valid_before(now)
    return (
        builder.not_valid_after(now + timedelta(hours=1))
        .sign(key, hashes.SHA256())
        .public_bytes(Encoding.DER)
    )


def test_certificate_of_another_authority(instance, signed, tmp_path):
    refused = post(f"{instance.base_url}/ctlog/ct/v1/add-chain", {"chain": [b64(foreign_certificate())]})
    assert refused.status == 400
    bundle = json.loads(Path(f"{signed}.sigstore.json").read_text())
    bundle["verificationMaterial"]["certificate"]["rawBytes"] = b64(foreign_certificate())
    changed = tmp_path / "foreign.json"
    changed.write_text(json.dumps(bundle))
    told = verify_fails(instance, signed, "--bundle", str(changed))
    assert told["exitCode"] == 1


def test_duplicate_entry(instance):
    request = entry_request()
    url = f"{instance.base_url}/api/v2/log/entries"
    first, again = post(url, request), post(url, request)
    index = first.json()["logIndex"]
    assert (first.status, again.status) == (201, 409)
    assert again.headers["x-log-index"] == index
    assert again.json()["message"].endswith(f"with index {index}")
    found = http.request("GET", f"{instance.base_url}{again.headers['location']}").json()
    assert found["canonicalizedBody"] == first.json()["canonicalizedBody"]


def test_full_disk(tmp_path):
    """The database cannot grow: callers are told to come back, and it goes on when there is space again."""
    store = SqliteHeadStore(tmp_path / "log.db", new=True)
    log = SmallLog(store, FileObjectStore(tmp_path / "public")).create()
    log.append(b"before")
    pages = store._db.execute("PRAGMA page_count").fetchone()[0]
    store._db.execute(f"PRAGMA max_page_count={pages}")
    (refused,) = log.append(os.urandom(60_000))
    assert (refused.code, refused.retry_after) == ("storage_full", 30)
    store._db.execute("PRAGMA max_page_count=1000000")
    (answer,) = log.append(b"after")
    assert answer.index == 1
    log.check([b"before", b"after"])
    store.close()


def fails(instance, *arguments: str) -> dict:
    done = instance.run(*arguments, "--json", check=False)
    assert "Traceback" not in done.stderr
    told = json.loads(done.stdout)
    told = told.get("error") or told["files"][0]["error"]
    assert done.returncode == told["exitCode"] != 0
    assert told["hint"]
    return told


def verify_fails(instance, file: Path, *options: str) -> dict:
    return fails(
        instance,
        "verify",
        str(file),
        "--identity",
        EMAIL,
        "--issuer",
        f"{instance.base_url}/oidc",
        "--trusted-root",
        str(instance.client / "trusted_root.json"),
        *options,
    )


def test_file_missing_or_a_directory(instance, tmp_path):
    assert verify_fails(instance, tmp_path / "missing")["exitCode"] == 2
    assert verify_fails(instance, tmp_path)["exitCode"] == 2


def test_no_bundle_beside_the_file(instance, tmp_path):
    (tmp_path / "unsigned").write_text("x")
    assert verify_fails(instance, tmp_path / "unsigned")["exitCode"] == 3


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"mediaType": "other"}', b"\xff\xfe"])
def test_damaged_bundle(instance, signed, tmp_path, damage):
    bundle = tmp_path / "damaged.json"
    bundle.write_bytes(damage)
    assert verify_fails(instance, signed, "--bundle", str(bundle))["exitCode"] == 2


def test_bundle_of_another_file(instance, signed, tmp_path):
    other = tmp_path / "other"
    other.write_text("other content")
    told = verify_fails(instance, other, "--bundle", f"{signed}.sigstore.json")
    assert told["exitCode"] == 1


@pytest.fixture
def stale_instance(instance, tmp_path):
    """A TUF repository that nobody has renewed for years, behind a description of an instance."""
    keys = load_key_files(instance.root / "keys" / "tuf")
    long_ago = datetime.now(UTC) - timedelta(days=800)
    repository = TrustRepository.create(tmp_path / "tuf", {"trusted_root.json": b"{}"}, keys, long_ago)
    (tmp_path / "root.json").write_bytes(repository.newest_root())
    handler = functools.partial(QuietHandler, directory=str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", tmp_path / "root.json"
        server.shutdown()
        thread.join()


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *_arguments):
        pass


def test_expired_trust_material(instance, signed, stale_instance):
    url, root = stale_instance
    added = instance.run(
        "context", "add", "stale", url, "--root", str(root), "--tuf", f"{url}/tuf", "--json", check=False
    )
    issuer = f"{instance.base_url}/oidc"
    told = json.loads(added.stdout).get("error") or fails(
        instance, "verify", str(signed), "--identity", EMAIL, "--issuer", issuer, "--instance", "stale"
    )
    assert told["exitCode"] == 5
    assert "expired" in told["message"]
    assert told["hint"]


def test_envelope_with_a_signature_too_many(instance):
    request = dsse("PKIX_ECDSA_P256_SHA_256", "PKIX_ED25519")
    request["dsseRequestV002"]["verifiers"].pop()
    answer = post(f"{instance.base_url}/api/v2/log/entries", request)
    assert (answer.status, answer.json()["message"]) == (400, "invalid dsse request")
    assert reason(answer) == "INVALID_SIGNATURE"


def test_method_that_the_log_does_not_have(instance):
    answer = http.request("PUT", f"{instance.base_url}/api/v2/log/entries", body=entry_request())
    assert answer.status == 501
    assert answer.json() == {"code": 12, "message": "Method Not Allowed", "details": []}


def test_every_row_of_the_page_names_a_test_that_exists():
    rows = re.findall(r"^\|[^|]+\|[^|]+\| `(test_[a-z_]+)` \|$", PAGE.read_text(), re.MULTILINE)
    here = {name for name in globals() if name.startswith("test_")}
    there = "".join(path.read_text() for path in Path(__file__).parents[1].rglob("test_*.py"))
    assert len(rows) >= 20
    assert [name for name in rows if name not in here and f"def {name}(" not in there] == []
