"""The clients of CA, logs and timestamp authority, against answers that a service may give."""

import base64
import json
import time

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from tests.support.local_services import v1_answer
from tests.support.loopback import Asked, LoopbackServer, Reply, in_turn
from tests.support.world import MESSAGE, NOW, World, private_key, sign

from hallmark.client.fulcio import FulcioClient
from hallmark.client.http import HttpClient
from hallmark.client.rekor import RekorV2Client, Submission
from hallmark.client.rekor_v1 import RekorV1Client
from hallmark.client.timestamp import TimestampClient
from hallmark.client.well_known import fetch_description
from hallmark.core.algorithms import SHA2_256
from hallmark.core.timestamp import build_request, parse_request
from hallmark.core.timestamp_response import build_response, token_signer
from hallmark.errors import PolicyViolation, RemoteError, Unauthenticated

TOKEN_REFUSED = (Unauthenticated, "token_refused")
MALFORMED = (RemoteError, "malformed_answer")
EMBEDDED = b'{"signedCertificateEmbeddedSct":{"chain":{"certificates":[%s]}}}'
TOKEN = "header.payload.signature"


@pytest.fixture
def http():
    return HttpClient(timeout_seconds=5)


@pytest.fixture
def no_pauses(monkeypatch):
    pauses = []
    monkeypatch.setattr(time, "sleep", pauses.append)
    return pauses


def submission(bundle) -> Submission:
    return Submission(
        digest=SHA2_256.digest(MESSAGE),
        hash_algorithm=SHA2_256,
        signature=bundle.signature,
        certificate=bundle.certificate,
        key_details="PKIX_ECDSA_P256_SHA_256",
    )


def pem(der: bytes) -> str:
    return x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM).decode().strip()


def certificates(*ders: bytes) -> bytes:
    chain = {"certificates": [pem(der) for der in ders]}
    return json.dumps({"signedCertificateEmbeddedSct": {"chain": chain}}).encode()


class TestCertificateAuthority:
    key = private_key("p256-leaf")

    def test_sends_token_and_proof_of_possession_and_takes_the_chain(self, world, http):
        leaf = world.bundle().certificate
        chain = world.ca_chain
        with LoopbackServer(in_turn(Reply(200, certificates(leaf, *chain)))) as server:
            issued = FulcioClient(server.url + "/", http).issue(TOKEN, self.key)
        assert (issued.certificate, issued.chain) == (leaf, tuple(chain))
        asked = server.asked[0]
        assert (asked.path, asked.headers["Authorization"]) == ("/api/v2/signingCert", f"Bearer {TOKEN}")
        csr = x509.load_pem_x509_csr(base64.b64decode(json.loads(asked.body)["certificateSigningRequest"]))
        assert csr.is_signature_valid
        assert csr.public_key() == self.key.public_key()
        assert list(csr.subject) == []

    @pytest.mark.parametrize(("count", "taken"), [(1, False), (2, True), (10, True), (11, False)])
    def test_a_chain_has_two_to_ten_certificates(self, world, http, count, taken):
        chain = [world.bundle().certificate, *[world.ca_chain[-1]] * (count - 1)]
        with LoopbackServer(in_turn(Reply(201, certificates(*chain)))) as server:
            client = FulcioClient(server.url, http)
            if taken:
                assert len(client.issue(TOKEN, self.key).chain) == count - 1
            else:
                with pytest.raises(RemoteError, match="not a chain"):
                    client.issue(TOKEN, self.key)

    def test_a_token_is_sent_once_even_where_the_answer_breaks_off(self, http):
        with LoopbackServer(in_turn(Reply(broken=True))) as server:
            with pytest.raises(RemoteError):
                FulcioClient(server.url, http).issue(TOKEN, self.key)
            assert len(server.asked) == 1

    def test_refuses_a_certificate_for_another_key(self, world, http):
        leaf = world.bundle().certificate
        chain = world.ca_chain
        answer = in_turn(Reply(200, certificates(leaf, *chain)))
        other = ec.generate_private_key(ec.SECP256R1())
        with LoopbackServer(answer) as server, pytest.raises(RemoteError, match="another key than ours"):
            FulcioClient(server.url, http).issue(TOKEN, other)

    def test_refuses_a_certificate_for_a_kind_of_key_that_nobody_knows(self, world, http):
        leaf = world.bundle().certificate.replace(
            bytes.fromhex("2a8648ce3d0201"), bytes.fromhex("2a8648ce3d0209")
        )
        answer = in_turn(Reply(200, certificates(leaf, *world.ca_chain)))
        with LoopbackServer(answer) as server, pytest.raises(RemoteError, match="another key than ours"):
            FulcioClient(server.url, http).issue(TOKEN, self.key)

    @pytest.mark.parametrize(
        ("status", "body", "error", "code"),
        [
            (400, b'{"message":"There was an error processing the identity token"}', *TOKEN_REFUSED),
            (401, b'{"message":"token expired"}', *TOKEN_REFUSED),
            (403, b'{"message":"not allowed"}', PolicyViolation, "identity_refused"),
            (400, b'{"message":"The public key supplied is insecure"}', RemoteError, "request_refused"),
            (404, b"", RemoteError, "service_not_found"),
            (500, b'{"message":"Error entering certificate in CTL"}', RemoteError, "service_failed"),
            (500, b'{"message":"the token store is down"}', RemoteError, "service_failed"),
            (202, b"", RemoteError, "request_refused"),
            (200, b"", *MALFORMED),
            (200, b"{}", *MALFORMED),
            (200, b'{"signedCertificateDetachedSct":{}}', *MALFORMED),
            (200, EMBEDDED % b"", *MALFORMED),
            (200, EMBEDDED % b'"x"', *MALFORMED),
            (200, b"[" * 100000, *MALFORMED),
            (200, b'{"x":' + b"[" * 100000, *MALFORMED),
        ],
    )  # fmt: skip
    def test_a_refusal_says_why_and_never_shows_the_token(self, http, status, body, error, code):
        with LoopbackServer(in_turn(Reply(status, body))) as server, pytest.raises(error) as caught:
            FulcioClient(server.url, http).issue(TOKEN, self.key)
        assert caught.value.code == code
        assert TOKEN not in str(caught.value)


class TestTransparencyLog:
    def test_submits_and_takes_the_entry(self, world, http):
        bundle = world.bundle()
        (entry,) = bundle.tlog_entries
        with LoopbackServer(in_turn(Reply(201, entry.to_json()))) as server:
            assert RekorV2Client(server.url, http).submit(submission(bundle)) == entry
        asked = json.loads(server.asked[0].body)["hashedRekordRequestV002"]
        assert base64.b64decode(asked["digest"]) == SHA2_256.digest(MESSAGE)
        assert base64.b64decode(asked["signature"]["content"]) == bundle.signature
        verifier = asked["signature"]["verifier"]
        assert base64.b64decode(verifier["x509Certificate"]["rawBytes"]) == bundle.certificate
        assert verifier["keyDetails"] == "PKIX_ECDSA_P256_SHA_256"

    @pytest.mark.parametrize("header", [{"x-log-index": "7"}, {"Location": "/api/v2/log/entries/7"}])
    def test_takes_the_entry_that_is_there_already(self, world, http, header):
        bundle = world.bundle()
        (entry,) = bundle.tlog_entries
        replies = in_turn(Reply(409, b"{}", header), Reply(200, entry.to_json()))
        with LoopbackServer(replies) as server:
            assert RekorV2Client(server.url, http).submit(submission(bundle)) == entry
        assert server.asked[1].path == "/api/v2/log/entries/7"

    @pytest.mark.parametrize("header", [{}, {"x-log-index": "-1"}, {"x-log-index": "../../x"}])
    def test_refuses_a_duplicate_without_a_place(self, world, http, header):
        with (
            LoopbackServer(in_turn(Reply(409, b"{}", header))) as server,
            pytest.raises(RemoteError) as caught,
        ):
            RekorV2Client(server.url, http).submit(submission(world.bundle()))
        assert caught.value.code == "request_refused"
        assert len(server.asked) == 1

    @pytest.mark.parametrize("client", [RekorV2Client, RekorV1Client])
    def test_a_refusal_is_told_and_a_broken_answer_asked_for_again(self, world, http, client, no_pauses):
        sent = submission(world.bundle())
        refusing = LoopbackServer(in_turn(Reply(400, b'{"message":"no"}')))
        with refusing as server, pytest.raises(RemoteError, match="answered 400: no"):
            client(server.url, http).submit(sent)
        (v1,), (v2,) = world.v1_bundle().tlog_entries, world.bundle().tlog_entries
        answer, entry = (v1_answer(v1), v1) if client is RekorV1Client else (v2.to_json(), v2)
        with LoopbackServer(in_turn(Reply(broken=True), Reply(201, answer))) as server:
            assert client(server.url, http).submit(sent) == entry
        assert len(no_pauses) == 1

    def test_an_entry_is_fetched_again(self, world, http):
        (entry,) = world.bundle().tlog_entries
        with LoopbackServer(in_turn(Reply(200, entry.to_json()))) as server:
            assert RekorV2Client(server.url, http).fetch(3) == entry
            assert server.asked[0].path == "/api/v2/log/entries/3"
        for status in (201, 404, 405):
            answering = LoopbackServer(in_turn(Reply(status, entry.to_json())))
            with answering as server, pytest.raises(RemoteError, match=f"answered {status}"):
                RekorV2Client(server.url, http).fetch(3)

    @pytest.mark.parametrize("header", [{}, {"Location": "/api/v1/log/entries/../../x"}])
    def test_refuses_a_duplicate_without_an_id_from_a_log_of_version_1(self, world, http, header):
        with LoopbackServer(in_turn(Reply(409, b"{}", header))) as server:
            with pytest.raises(RemoteError, match="answered 409"):
                RekorV1Client(server.url, http).submit(submission(world.v1_bundle()))
            assert len(server.asked) == 1

    @pytest.mark.parametrize("body", [b"", b"{}", b"[]", b'{"logIndex":"x"}'])
    def test_refuses_what_is_no_entry(self, world, http, body):
        with LoopbackServer(in_turn(Reply(201, body))) as server, pytest.raises(RemoteError) as caught:
            RekorV2Client(server.url, http).submit(submission(world.bundle()))
        assert caught.value.code == "malformed_answer"

    def test_speaks_to_logs_of_version_1_too(self, world, http):
        bundle = world.v1_bundle()
        (entry,) = bundle.tlog_entries
        with LoopbackServer(in_turn(Reply(201, v1_answer(entry)))) as server:
            assert RekorV1Client(server.url, http).submit(submission(bundle)) == entry
        asked = json.loads(server.asked[0].body)
        assert (asked["kind"], asked["apiVersion"]) == ("hashedrekord", "0.0.1")
        assert asked["spec"]["data"]["hash"] == {
            "algorithm": "sha256",
            "value": SHA2_256.digest(MESSAGE).hex(),
        }

    def test_takes_the_entry_that_a_log_of_version_1_has_already(self, world, http):
        bundle = world.v1_bundle()
        (entry,) = bundle.tlog_entries
        uuid = "ab" * 40
        replies = in_turn(
            Reply(409, b"{}", {"Location": f"/api/v1/log/entries/{uuid}"}), Reply(200, v1_answer(entry))
        )
        with LoopbackServer(replies) as server:
            assert RekorV1Client(server.url, http).submit(submission(bundle)) == entry
        assert server.asked[1].path == f"/api/v1/log/entries/{uuid}"

    def test_sends_an_envelope_to_a_log_of_version_1(self, world, http):
        bundle = world.attestation()
        (entry,) = world.v1_bundle().tlog_entries
        sent = msgspec.structs.replace(submission(bundle), envelope=bundle.envelope)
        with LoopbackServer(in_turn(Reply(201, v1_answer(entry)))) as server:
            RekorV1Client(server.url, http).submit(sent)
        asked = json.loads(server.asked[0].body)
        assert asked["kind"] == "dsse"
        assert json.loads(asked["spec"]["proposedContent"]["envelope"])["payloadType"]

    @pytest.mark.parametrize("body", [b"", b"{}", b'{"a":{}}', b'{"a":1,"b":2}'])
    def test_refuses_what_is_no_entry_of_version_1(self, world, http, body):
        with LoopbackServer(in_turn(Reply(201, body))) as server, pytest.raises(RemoteError) as caught:
            RekorV1Client(server.url, http).submit(submission(world.v1_bundle()))
        assert caught.value.code == "malformed_answer"


class TestTimestampAuthority:
    def test_takes_the_answer_to_its_own_question(self, http):
        with LoopbackServer(stamp) as server:
            response = TimestampClient(server.url + "/api/v1/timestamp", http).fetch(b"signature")
        assert response
        request = parse_request(server.asked[0].body)
        assert request.digest == SHA2_256.digest(b"signature")
        assert request.nonce is not None
        assert not request.cert_req

    def test_takes_what_was_created_and_asks_again_where_the_answer_breaks_off(self, http, no_pauses):
        steps = iter([Reply(broken=True)])
        created = lambda asked: next(steps, stamp(asked)._replace(status=201))  # noqa: E731
        with LoopbackServer(created) as server:
            assert TimestampClient(server.url, http).fetch(b"signature")
        assert len(no_pauses) == 1

    def test_refuses_an_answer_that_was_given_before(self, http):
        old = stamp(Asked("POST", "/", {}, build_request(SHA2_256.digest(b"signature"), nonce=1)))
        with LoopbackServer(in_turn(old)) as server, pytest.raises(RemoteError, match="another question"):
            TimestampClient(server.url, http).fetch(b"signature")

    @pytest.mark.parametrize(
        ("reply", "code"),
        [
            (Reply(200, b""), "malformed_answer"),
            (Reply(200, b"<html>"), "malformed_answer"),
            (Reply(400, b'{"message":"bad"}'), "request_refused"),
            (Reply(202, b""), "request_refused"),
            (Reply(200, bytes(64 << 10)), "malformed_answer"),
            (Reply(200, bytes((64 << 10) + 1)), "service_unreachable"),
        ],
    )
    def test_refuses_what_is_no_timestamp(self, http, reply, code, no_pauses):
        with LoopbackServer(in_turn(reply)) as server, pytest.raises(RemoteError) as caught:
            TimestampClient(server.url, http).fetch(b"signature")
        assert caught.value.code == code


def stamp(asked: Asked) -> Reply:
    world = World()
    signer = token_signer(world.tsa_chain, lambda data: sign("p256-tsa", data), hash_algorithm=SHA2_256)
    return Reply(
        200,
        build_response(parse_request(asked.body), signer, time=NOW, serial=1, policy="1.3.6.1.4.1.57264.2"),
    )


DESCRIPTION = {
    "base_url": "http://i",
    "services": {"tuf": "http://i/tuf"},
    "configs": {"root": "http://i/root.json"},
    "root_fingerprint": "ab",
}


class TestInstance:
    def test_it_describes_itself(self, http):
        with LoopbackServer(in_turn(Reply(200, json.dumps(DESCRIPTION).encode()))) as server:
            found = fetch_description(server.url + "/", http)
            assert server.asked[0].path == "/.well-known/hallmark.json"
        assert (found.base_url, found.services.tuf, found.services.ca) == ("http://i", "http://i/tuf", "")

    @pytest.mark.parametrize("more", [0, 1])
    def test_its_description_has_up_to_64_kibibytes(self, http, more, no_pauses):
        body = json.dumps(DESCRIPTION).encode().ljust((64 << 10) + more)
        with LoopbackServer(in_turn(Reply(200, body))) as server:
            if more:
                with pytest.raises(RemoteError, match="more than 65536 bytes"):
                    fetch_description(server.url, http)
            else:
                assert fetch_description(server.url, http)

    @pytest.mark.parametrize(
        ("status", "body", "code"),
        [
            (404, b"", "no_instance"),
            (200, b"<html>", "no_instance"),
            (200, b"{}", "no_instance"),
            (200, b"[" * 10000, "no_instance"),
            (201, json.dumps(DESCRIPTION).encode(), "request_refused"),
            (405, b"", "request_refused"),
            (500, b"", "service_failed"),
        ],
    )
    def test_what_describes_itself_otherwise_is_none_or_broken(self, http, status, body, code):
        with LoopbackServer(in_turn(Reply(status, body))) as server, pytest.raises(RemoteError) as caught:
            fetch_description(server.url, http)
        assert caught.value.code == code
