import base64
import hashlib
import json
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat import asn1
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID
from tests.support.asgi_call import Answer, call
from tests.support.tsa_authority import MESSAGE, NOW, POLICY, Authority, certificate, private_key

from hallmark.core.algorithms import SHA2_256
from hallmark.core.timestamp import (
    TimeStampReq,
    build_request,
    message_imprint,
    parse_timestamp,
    verify_timestamp,
)
from hallmark.errors import ConfigurationError
from hallmark.tsa.config import TsaConfig
from hallmark.tsa.http import routes
from hallmark.tsa.service import TimestampAuthority

DIGEST = hashlib.sha256(MESSAGE).digest()
QUERY = {"Content-Type": "application/timestamp-query"}
JSON = {"Content-Type": "application/json"}
PATH = "/api/v1/timestamp"


class Key:
    def __init__(self, authority: Authority) -> None:
        self.sign = authority.sign
        self.spki = authority.key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def service_of(authority: Authority, *, now=NOW, **config: object) -> TimestampAuthority:
    return TimestampAuthority(TsaConfig(**config), authority.chain, Key(authority), lambda: now)


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture(scope="module")
def service(authority) -> TimestampAuthority:
    return service_of(authority)


def post(service: TimestampAuthority, body: bytes, headers: dict[str, str] = QUERY, **options) -> Answer:
    return call(routes(service), "POST", PATH, body, headers, **options)


def json_body(**fields: object) -> bytes:
    return json.dumps(
        {"artifactHash": base64.b64encode(DIGEST).decode(), "hashAlgorithm": "sha256", **fields}
    ).encode()


def der_request(policy: str | None = None, extensions=None) -> bytes:
    return asn1.encode_der(
        TimeStampReq(
            version=1,
            message_imprint=message_imprint(SHA2_256, DIGEST),
            req_policy=x509.ObjectIdentifier(policy) if policy else None,
            nonce=None,
            cert_req=None,
            extensions=extensions,
        )
    )


def problem(answer: Answer) -> tuple[int, int, str]:
    body = json.loads(answer.body)
    return answer.status, body["code"], body["message"]


# Granted


def test_stamps_a_der_request(service, authority):
    answer = post(service, build_request(DIGEST, nonce=99))
    assert (answer.status, answer.headers["content-type"]) == (200, "application/timestamp-reply")
    assert answer.headers["cache-control"].startswith("no-cache, no-store")
    verified = verify_timestamp(answer.body, MESSAGE, authority.chain)
    assert (verified.nonce, verified.policy, verified.time) == (99, POLICY, NOW.replace(microsecond=0))


@pytest.mark.parametrize("algorithm", ["sha256", "SHA384", "Sha512"])
def test_stamps_a_json_request(service, authority, algorithm):
    digest = base64.b64encode(hashlib.new(algorithm.lower(), MESSAGE).digest()).decode()
    fields = {"nonce": 2**200, "certificates": True, "unknown": [1], "tsaPolicyOID": POLICY}
    body = json_body(artifactHash=digest, hashAlgorithm=algorithm, **fields)
    answer = post(service, body, {"Content-Type": "Application/JSON; charset=utf-8"})
    assert answer.status == 200
    assert verify_timestamp(answer.body, MESSAGE, authority.chain).nonce == 2**200
    assert parse_timestamp(answer.body).signed.certificate_count == 1


def test_answers_201_when_told_to(authority):
    assert post(service_of(authority, success_status=201), build_request(DIGEST)).status == 201


def test_includes_the_chain_when_told_to(authority):
    answer = post(service_of(authority, include_chain=True), build_request(DIGEST, cert_req=True))
    assert parse_timestamp(answer.body).signed.certificate_count == 2


def test_reads_a_body_in_pieces(service):
    assert post(service, build_request(DIGEST), chunk=3).status == 200


@pytest.mark.parametrize("accept", ["*/*", "application/timestamp-reply", "text/html, application/*;q=0.5"])
def test_takes_clients_that_accept_the_reply(service, accept):
    assert post(service, build_request(DIGEST), {**QUERY, "Accept": accept}).status == 200


def test_serials_differ(service):
    serials = {parse_timestamp(post(service, build_request(DIGEST)).body).serial for _ in range(20)}
    assert len(serials) == 20
    assert all(0 < serial < 2**160 for serial in serials)


def test_serves_its_chain(service, authority):
    answer = call(routes(service), "GET", f"{PATH}/certchain")
    assert answer.headers["content-type"] == "application/pem-certificate-chain"
    assert answer.headers["cache-control"] == "max-age=86400, immutable"
    found = x509.load_pem_x509_certificates(answer.body)
    assert tuple(item.public_bytes(Encoding.DER) for item in found) == authority.chain


def test_answers_a_ping(service):
    assert call(routes(service), "GET", "/ping").body == b"."


# Refused


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (json_body(hashAlgorithm="sha1"), "Weak hash algorithm in timestamp request"),
        (json_body(hashAlgorithm="md5"), "Error generating timestamp response"),
        (json_body(hashAlgorithm="sha384"), "Message digest has incorrect length for specified algorithm"),
        (json_body(artifactHash="%%%"), "Error generating timestamp response"),
        (
            json_body(tsaPolicyOID="1.2.3"),
            "unaccepted policy: requested TSA policy is not supported by the TSA",
        ),
        (json_body(tsaPolicyOID="1." * 200 + "1"), "OID should be comprised of at most 128 components"),
        (json_body(tsaPolicyOID="one.two"), "OID should be comprised of at most 128 components"),
        (json_body(nonce="5"), "Error generating timestamp response"),
        (json_body(nonce=10**1000), "timestamp request is too large"),
        (b"{}", "Error generating timestamp response"),
        (b"not json", "Error generating timestamp response"),
        (b'{"artifactHash":"\xff"}', "Error generating timestamp response"),
        (b"[" * 1000, "Error generating timestamp response"),
    ],
)
def test_refuses_a_json_request(service, body, message):
    assert problem(post(service, body, JSON)) == (400, 400, message)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (build_request(DIGEST) + b"\0", "Error generating timestamp response"),
        (b"junk", "Error generating timestamp response"),
        (bytes(20_000), "Error generating timestamp response"),
        (der_request("1.2.3"), "unaccepted policy: requested TSA policy is not supported by the TSA"),
        (
            der_request(extensions=[]),
            "unaccepted extension: requested extensions are not supported by the TSA",
        ),
    ],
)
def test_refuses_a_der_request(service, body, message):
    assert problem(post(service, body)) == (400, 400, message)


def test_refuses_other_media_types(service):
    answer = post(service, build_request(DIGEST), {"Content-Type": "text/plain"})
    assert problem(answer)[:2] == (415, 415)
    assert 'unsupported media type "text/plain"' in problem(answer)[2]
    assert problem(post(service, build_request(DIGEST), {}))[0] == 415


def test_refuses_an_empty_body(service):
    assert problem(post(service, b"")) == (422, 602, "request in body is required")


def test_refuses_clients_that_do_not_accept_the_reply(service):
    assert problem(post(service, build_request(DIGEST), {**QUERY, "Accept": "text/html"}))[0] == 406


def test_refuses_other_methods(service):
    answer = call(routes(service), "GET", PATH)
    assert answer.status == 405
    assert answer.headers["allow"] == "POST"


def test_stamps_nothing_once_its_chain_has_ended(authority):
    times = [NOW]
    key = Key(authority)
    service = TimestampAuthority(TsaConfig(), authority.chain, key, lambda: times[-1])
    times.append(NOW + timedelta(days=2))
    status, code, message = problem(post(service, build_request(DIGEST)))
    assert (status, code) == (500, 500)
    assert message.startswith("Error generating timestamp response")


def test_hides_why_a_signer_failed(authority):
    class Broken(Key):
        def __init__(self) -> None:
            super().__init__(authority)
            self.sign = self.fail

        def fail(self, _message):
            raise OSError("the secret device")

    service = TimestampAuthority(TsaConfig(), authority.chain, Broken(), lambda: NOW)
    answer = post(service, build_request(DIGEST))
    assert answer.status == 500
    assert b"secret" not in answer.body


# Configurations refused at start


@pytest.mark.parametrize(
    "leaf",
    [
        {"ca": True},
        {"eku_critical": False},
        {"not_after": NOW - timedelta(minutes=1)},
        {"not_before": NOW + timedelta(minutes=1)},
    ],
)
def test_does_not_start_with_a_bad_leaf(leaf):
    with pytest.raises(ConfigurationError):
        service_of(Authority(**leaf))


def test_does_not_start_with_another_key(authority):
    with pytest.raises(ConfigurationError, match="belongs to another key"):
        TimestampAuthority(TsaConfig(), authority.chain, Key(Authority("p256-other")), lambda: NOW)


def test_wants_intermediates_restricted_to_timestamping(authority):
    middle_key = private_key("p256-middle")
    middle = certificate(
        subject="middle", issuer="root", key=middle_key, issuing_key=authority.root_key, ca=True
    )
    usage = [ExtendedKeyUsageOID.TIME_STAMPING]
    below = Authority()
    below.leaf = certificate(
        subject="tsa", issuer="middle", key=below.key, issuing_key=middle_key, ca=False, eku=usage
    )
    below.chain = (below.leaf, middle, authority.root)
    with pytest.raises(ConfigurationError, match="not restricted to timestamping"):
        service_of(below)
    service_of(below, require_intermediate_key_usage=False)


def test_refuses_settings_that_contradict():
    with pytest.raises(ConfigurationError):
        TsaConfig(default_policy="1.2.3")
    with pytest.raises(ConfigurationError):
        TsaConfig(success_status=204)


@pytest.mark.parametrize("depth", [10, 500, 1000])
@pytest.mark.parametrize("opening", [b"[", b'{"a":'])
def test_nested_json_is_a_bad_request_however_deep(service, opening, depth, caplog):
    body = (b'{"a":' + opening * depth)[:1024]
    answer = post(service, body, JSON)
    assert answer.status == 400
    assert json.loads(answer.body)["message"] == "Error generating timestamp response"
    assert not caplog.records


def test_only_so_many_requests_are_worked_on_at_once(authority):
    assert post(service_of(authority, max_calls=1), json_body(), JSON).status == 200
    refused = post(service_of(authority, max_calls=0), json_body(), JSON)
    assert (refused.status, refused.headers["retry-after"]) == (503, "1")


def test_unfinished_requests_are_bounded_together(authority):
    service = service_of(authority, max_body_bytes_in_flight=1000)
    refused = post(service, b" " * 2000, chunk=500)
    assert (refused.status, refused.headers["retry-after"]) == (503, "1")
