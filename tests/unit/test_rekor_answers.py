"""Every answer of the write side of Rekor v2, over HTTP."""

import asyncio
import base64
import hashlib
import json
from datetime import UTC, datetime

import pytest
import rfc8785
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from tests.support.asgi_call import call
from tests.support.rekor import (
    ENTRIES,
    RekorLog,
    b64,
    changed,
    dsse,
    hashedrekord,
    large_certificate,
    to_body,
)

from hallmark.core.entries.dsse import parse_dsse_v002
from hallmark.core.merkle import leaf_hash, verify_inclusion
from hallmark.core.transparency_log_entry import parse_transparency_log_entry
from hallmark.errors import InvalidProof
from hallmark.tiledlog.log import freeze_log
from hallmark.tiledlog.sequencer import QueueLimits
from hallmark.tlog.config import DEFAULT_ALGORITHMS, TlogConfig

P256 = "PKIX_ECDSA_P256_SHA_256"
REQUEST = "hashedRekordRequestV002"
DSSE = "dsseRequestV002"
SIGNATURE = (REQUEST, "signature")
VERIFIER = (*SIGNATURE, "verifier")


@pytest.fixture(scope="module")
def rekor():
    with RekorLog() as log:
        yield log


def post(log, request):
    return call(log.routes, "POST", ENTRIES, request if isinstance(request, bytes) else to_body(request))


def check_entry(log, answer):
    """Check a 201 from top to bottom; returns the logged body."""
    assert answer.status == 201, answer.body
    assert answer.headers["content-type"] == "application/json"
    message = json.loads(answer.body)
    assert message["integratedTime"] == "0"
    assert message["inclusionPromise"] is None
    entry = parse_transparency_log_entry(answer.body)
    stated = log.log.signer.verify(entry.inclusion_proof.checkpoint)
    verify_inclusion(
        leaf_hash(entry.canonicalized_body),
        entry.log_index,
        stated.size,
        entry.inclusion_proof.hashes,
        stated.root,
    )
    assert entry.to_json() == answer.body
    body = json.loads(entry.canonicalized_body)
    assert rfc8785.dumps(body) == entry.canonicalized_body
    assert (body["kind"], body["apiVersion"]) == (entry.kind, entry.version)
    return body


@pytest.mark.parametrize("key_details", sorted(DEFAULT_ALGORITHMS))
def test_logs_a_hashedrekord_with_every_algorithm_of_the_registry(rekor, key_details):
    request = hashedrekord(key_details)
    body = check_entry(rekor, post(rekor, request))
    sent, logged = request[REQUEST], body["spec"]["hashedRekordV002"]
    assert logged["signature"] == sent["signature"]
    assert logged["data"]["digest"] == sent["digest"]
    other = bytes(len(base64.b64decode(sent["digest"])))
    assert reason(post(rekor, changed(request, REQUEST, "digest", value=b64(other)))) == "INVALID_SIGNATURE"


def reason(answer):
    assert answer.status == 400, answer.body
    problem = json.loads(answer.body)
    assert problem["code"] == 3
    (detail,) = problem["details"]
    assert detail["@type"] == "type.googleapis.com/google.rpc.ErrorInfo"
    assert detail["domain"] == "hallmark"
    return detail["reason"]


@pytest.mark.parametrize(
    "signers",
    [
        (P256,),
        ("PKIX_ED25519",),
        ("PKIX_ED25519_PH", "PKIX_ED25519"),
        (P256, "PKIX_ECDSA_P384_SHA_384", "PKIX_RSA_PKCS1V15_2048_SHA256"),
        (P256,) * 10,
    ],
)
def test_logs_an_envelope_with_all_its_signatures_in_the_order_of_their_bytes(rekor, signers):
    request = dsse(*signers)
    body = check_entry(rekor, post(rekor, request))
    logged = body["spec"]["dsseV002"]
    assert logged["payloadHash"]["digest"] == b64(hashlib.sha256(b"{}").digest())
    entry = parse_dsse_v002(rfc8785.dumps(body))
    signatures = [item.signature for item in entry.signatures]
    assert signatures == sorted(signatures)
    assert len(signatures) == len(signers)
    found = {item["content"]: item["verifier"] for item in logged["signatures"]}
    envelope = request[DSSE]["envelope"]
    assert found == {
        item["sig"]: chosen
        for item, chosen in zip(envelope["signatures"], request[DSSE]["verifiers"], strict=True)
    }


def test_finds_the_verifier_of_each_signature_in_any_order(rekor):
    request = dsse(P256, P256, "PKIX_ED25519", payload=b"other")
    check_entry(
        rekor, post(rekor, changed(request, DSSE, "verifiers", value=request[DSSE]["verifiers"][::-1]))
    )


def snake(value):
    names = {
        "hashedRekordRequestV002": "hashed_rekord_request_v002",
        "dsseRequestV002": "dsse_request_v002",
        "keyDetails": "key_details",
        "publicKey": "public_key",
        "rawBytes": "raw_bytes",
        "payloadType": "payload_type",
    }
    if isinstance(value, dict):
        return {names.get(name, name): snake(item) for name, item in value.items()}
    return [snake(item) for item in value] if isinstance(value, list) else value


@pytest.mark.parametrize("make", [hashedrekord, dsse])
def test_reads_snake_case_and_camel_case_url_safe_base64_and_enum_numbers_alike(rekor, make):
    request = make(message=b"spelt") if make is hashedrekord else make(payload_type="text/plain")
    first = post(rekor, request)
    index = json.loads(first.body)["logIndex"]
    url_safe = to_body(request).replace(b"+", b"-").replace(b"=", b"")
    numbered = to_body(request).replace(b'"PKIX_ECDSA_P256_SHA_256"', b"5")
    for other in (to_body(snake(request)), url_safe, numbered, to_body(snake(json.loads(numbered)))):
        again = post(rekor, other)
        assert (again.status, again.headers["x-log-index"]) == (409, index)


def test_a_duplicate_names_the_entry_and_where_it_is(rekor):
    request = to_body(hashedrekord(message=b"once"))
    created = post(rekor, request)
    again = post(rekor, request)
    index = json.loads(created.body)["logIndex"]
    message = f"an equivalent entry already exists in the transparency log with index {index}"
    assert again.status == 409
    assert json.loads(again.body) == {"code": 6, "message": message, "details": []}
    assert again.headers["x-log-index"] == index
    assert again.headers["location"] == f"{ENTRIES}/{index}"
    found = call(rekor.routes, "GET", again.headers["location"])
    assert found.status == 200
    assert parse_transparency_log_entry(found.body).canonicalized_body == (
        parse_transparency_log_entry(created.body).canonicalized_body
    )


def test_an_entry_of_an_envelope_is_read_back_as_one(rekor):
    created = post(rekor, dsse(payload=b"read back"))
    index = json.loads(created.body)["logIndex"]
    found = call(rekor.routes, "GET", f"{ENTRIES}/{index}")
    assert json.loads(found.body)["kindVersion"] == {"kind": "dsse", "version": "0.0.2"}
    for nowhere in ("999999", "9" * 5000, "-1", "x", "\u0661"):
        missing = call(rekor.routes, "GET", f"{ENTRIES}/{nowhere}")
        assert (missing.status, json.loads(missing.body)["code"]) == (404, 5)


HASHEDREKORD = hashedrekord()
ENVELOPE = dsse(P256, "PKIX_ED25519")
WEAK = ec.generate_private_key(ec.SECP256K1()).public_key()
OTHER = ed25519.Ed25519PrivateKey.generate().public_key()


def of_version_8() -> bytes:
    """A certificate whose version is none."""
    return large_certificate(P256).replace(bytes.fromhex("a003020102"), bytes.fromhex("a003020107"), 1)


def der(key):
    return b64(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))


RAW = (*VERIFIER, "publicKey", "rawBytes")
BAD_HASHEDREKORDS = {
    "no signature": (changed(HASHEDREKORD, *SIGNATURE, value=...), "MISSING_FIELD"),
    "empty signature": (changed(HASHEDREKORD, *SIGNATURE, "content", value=""), "MISSING_FIELD"),
    "no digest": (changed(HASHEDREKORD, REQUEST, "digest", value=...), "MISSING_FIELD"),
    "null digest": (changed(HASHEDREKORD, REQUEST, "digest", value=None), "MISSING_FIELD"),
    "no verifier": (changed(HASHEDREKORD, *VERIFIER, value=...), "MISSING_FIELD"),
    "no key": (changed(HASHEDREKORD, *VERIFIER, "publicKey", value=...), "MISSING_VERIFIER"),
    "key and certificate": (
        changed(HASHEDREKORD, *VERIFIER, "x509Certificate", value={"rawBytes": "AAAA"}),
        "MISSING_VERIFIER",
    ),
    "empty key": (changed(HASHEDREKORD, *RAW, value=""), "MISSING_FIELD"),
    "key is no DER": (changed(HASHEDREKORD, *RAW, value="AAAA"), "MALFORMED_VERIFIER"),
    "huge key": (changed(HASHEDREKORD, *RAW, value="AAAA" * 30000), "MALFORMED_VERIFIER"),
    "weak key": (changed(HASHEDREKORD, *RAW, value=der(WEAK)), "WEAK_KEY"),
    "key of another kind": (changed(HASHEDREKORD, *RAW, value=der(OTHER)), "WRONG_KEY_DETAILS"),
    "certificate is no DER": (
        changed(
            changed(HASHEDREKORD, *VERIFIER, "publicKey", value=...),
            *VERIFIER,
            "x509Certificate",
            value={"rawBytes": "AAAA"},
        ),
        "MALFORMED_VERIFIER",
    ),
    "certificate of version 8": (
        changed(
            changed(HASHEDREKORD, *VERIFIER, "publicKey", value=...),
            *VERIFIER,
            "x509Certificate",
            value={"rawBytes": b64(of_version_8())},
        ),
        "MALFORMED_VERIFIER",
    ),
    "no key details": (changed(HASHEDREKORD, *VERIFIER, "keyDetails", value=...), "UNKNOWN_ALGORITHM"),
    "unknown key details": (
        changed(HASHEDREKORD, *VERIFIER, "keyDetails", value="PKIX_X"),
        "UNKNOWN_ALGORITHM",
    ),
    "unknown number": (changed(HASHEDREKORD, *VERIFIER, "keyDetails", value=99), "UNKNOWN_ALGORITHM"),
    "pure Ed25519": (hashedrekord("PKIX_ED25519"), "ALGORITHM_NOT_ALLOWED"),
    "P-384 with SHA-256": (
        changed(HASHEDREKORD, *VERIFIER, "keyDetails", value="PKIX_ECDSA_P384_SHA_256"),
        "ALGORITHM_NOT_ALLOWED",
    ),
    "short digest": (changed(HASHEDREKORD, REQUEST, "digest", value="AAAA"), "WRONG_DIGEST_LENGTH"),
    "other digest": (changed(HASHEDREKORD, REQUEST, "digest", value=b64(bytes(32))), "INVALID_SIGNATURE"),
    "broken signature": (changed(HASHEDREKORD, *SIGNATURE, "content", value="AAAA"), "INVALID_SIGNATURE"),
    "huge signature": (
        changed(HASHEDREKORD, *SIGNATURE, "content", value="AAAA" * 100_000),
        "INVALID_SIGNATURE",
    ),
}
SIGNATURES = (DSSE, "envelope", "signatures")
MANY = dsse(*(P256,) * 11)
BAD_ENVELOPES = {
    "no envelope": (changed(ENVELOPE, DSSE, "envelope", value=...), "MISSING_FIELD"),
    "no payload type": (changed(ENVELOPE, DSSE, "envelope", "payloadType", value=""), "MISSING_FIELD"),
    "unprintable payload type": (
        changed(ENVELOPE, DSSE, "envelope", "payloadType", value="\ud800"),
        "MALFORMED_TEXT",
    ),
    "no signatures": (changed(ENVELOPE, *SIGNATURES, value=[]), "WRONG_NUMBER_OF_SIGNATURES"),
    "eleven signatures": (
        changed(MANY, DSSE, "verifiers", value=MANY[DSSE]["verifiers"][:10]),
        "WRONG_NUMBER_OF_SIGNATURES",
    ),
    "eleven verifiers": (
        changed(ENVELOPE, DSSE, "verifiers", value=MANY[DSSE]["verifiers"]),
        "WRONG_NUMBER_OF_VERIFIERS",
    ),
    "no verifiers": (changed(ENVELOPE, DSSE, "verifiers", value=...), "WRONG_NUMBER_OF_VERIFIERS"),
    "a verifier twice": (
        changed(ENVELOPE, DSSE, "verifiers", 1, value=ENVELOPE[DSSE]["verifiers"][0]),
        "DUPLICATE_VERIFIER",
    ),
    "a signature twice": (
        changed(ENVELOPE, *SIGNATURES, 1, value=ENVELOPE[DSSE]["envelope"]["signatures"][0]),
        "DUPLICATE_SIGNATURE",
    ),
    "a signature too few": (
        changed(ENVELOPE, *SIGNATURES, value=ENVELOPE[DSSE]["envelope"]["signatures"][:1]),
        "UNUSED_VERIFIER",
    ),
    "a verifier too few": (
        changed(ENVELOPE, DSSE, "verifiers", value=ENVELOPE[DSSE]["verifiers"][:1]),
        "INVALID_SIGNATURE",
    ),
    "empty signature": (changed(ENVELOPE, *SIGNATURES, 0, "sig", value=""), "MISSING_FIELD"),
    "other payload": (changed(ENVELOPE, DSSE, "envelope", "payload", value="AAAA"), "INVALID_SIGNATURE"),
    "no payload": (changed(ENVELOPE, DSSE, "envelope", "payload", value=...), "INVALID_SIGNATURE"),
    "a broken signature": (changed(ENVELOPE, *SIGNATURES, 1, "sig", value="AAAA"), "INVALID_SIGNATURE"),
    "unknown algorithm": (
        changed(ENVELOPE, DSSE, "verifiers", 0, "keyDetails", value="X"),
        "UNKNOWN_ALGORITHM",
    ),
}


@pytest.mark.parametrize("case", BAD_HASHEDREKORDS)
def test_says_which_check_of_a_hashedrekord_failed(rekor, case):
    request, expected = BAD_HASHEDREKORDS[case]
    answer = post(rekor, request)
    assert reason(answer) == expected
    assert json.loads(answer.body)["message"] == "invalid hashedrekord request"
    assert post(rekor, snake(request)).body == answer.body


@pytest.mark.parametrize("case", BAD_ENVELOPES)
def test_says_which_check_of_an_envelope_failed(rekor, case):
    request, expected = BAD_ENVELOPES[case]
    answer = post(rekor, request)
    assert reason(answer) == expected
    assert json.loads(answer.body)["message"] == "invalid dsse request"


NOT_MESSAGES = {
    "no JSON": b"{",
    "not UTF-8": b'{"a":"\xff"}',
    "UTF-16": json.dumps(HASHEDREKORD).encode("utf-16"),
    "a list": b"[]",
    "nested deeply": b"[" * 100_000,
    "unknown field": to_body(changed(HASHEDREKORD, "more", value=1)),
    "unknown field inside": to_body(changed(HASHEDREKORD, *VERIFIER, "more", value=1)),
    "a name in both cases": to_body(changed(HASHEDREKORD, *VERIFIER, "key_details", value=P256)),
    "text for a message": to_body(changed(HASHEDREKORD, REQUEST, value="text")),
    "number for bytes": to_body(changed(HASHEDREKORD, REQUEST, "digest", value=1)),
    "no base64": to_body(changed(HASHEDREKORD, REQUEST, "digest", value="*")),
    "verifiers are no list": to_body(changed(ENVELOPE, DSSE, "verifiers", value="x")),
    "unknown field of an envelope": to_body(changed(ENVELOPE, DSSE, "envelope", "more", value=1)),
    "keyid is a number": to_body(changed(ENVELOPE, *SIGNATURES, 0, "keyid", value=1)),
}


@pytest.mark.parametrize("case", NOT_MESSAGES)
def test_refuses_what_is_no_such_message(rekor, case):
    answer = post(rekor, NOT_MESSAGES[case])
    assert reason(answer) in {"MALFORMED_JSON", "MALFORMED_BASE64"}
    assert json.loads(answer.body)["message"] not in {"", "invalid hashedrekord request"}
    assert len(answer.body) < 2000


@pytest.mark.parametrize("body", [b"", b"{}", b'{"hashedRekordRequestV002":null}', b"two"])
def test_a_request_without_one_entry_is_of_the_wrong_type(rekor, body):
    both = to_body({**HASHEDREKORD, **ENVELOPE})
    answer = post(rekor, both if body == b"two" else body)
    assert reason(answer) == "UNSUPPORTED_ENTRY"
    assert json.loads(answer.body)["message"] == "invalid type, must be either hashedrekord or dsse"


def test_takes_no_envelopes_where_the_operator_says_so():
    with RekorLog(TlogConfig(accept_dsse=False)) as log:
        for body in (to_body(ENVELOPE), b"{}"):
            answer = post(log, body)
            assert reason(answer) == "UNSUPPORTED_ENTRY"
            assert json.loads(answer.body)["message"] == "invalid type, must be hashedrekord"


def test_the_operator_may_narrow_the_algorithms():
    with RekorLog(TlogConfig(algorithms=frozenset({P256}))) as log:
        assert post(log, HASHEDREKORD).status == 201
        assert reason(post(log, hashedrekord("PKIX_ED25519_PH"))) == "ALGORITHM_NOT_ALLOWED"
    with pytest.raises(ValueError, match="not PKIX_X"):
        TlogConfig(algorithms=frozenset({"PKIX_X"}))
    with pytest.raises(ValueError, match="PKIX_ED25519 signs no digests"):
        TlogConfig(algorithms=frozenset({"PKIX_ED25519"}))
    with pytest.raises(ValueError, match="at least one"):
        TlogConfig(algorithms=frozenset())


@pytest.mark.parametrize("chunk", [1 << 20, 65536])
def test_a_body_over_the_limit_is_refused_as_it_arrives(rekor, chunk):
    body = b" " * (4 * 1024 * 1024 + 1)
    answer = call(rekor.routes, "POST", ENTRIES, body, chunk=chunk)
    assert reason(answer) == "BODY_TOO_LARGE"
    assert json.loads(answer.body)["message"] == "http: request body too large"
    assert reason(post(rekor, body[1:])) == "MALFORMED_JSON"


def test_unfinished_bodies_are_bounded_together():
    with RekorLog(TlogConfig(max_body_bytes_in_flight=1000)) as log:
        answer = call(log.routes, "POST", ENTRIES, b" " * 2000, chunk=500)
        assert answer.status == 503
        assert json.loads(answer.body)["details"][0]["reason"] == "TOO_MANY_BODIES"
        small = call(log.routes, "POST", ENTRIES, to_body(HASHEDREKORD), chunk=100)
        assert small.status == 201


def test_a_body_that_does_not_arrive_is_not_waited_for():
    async def run(log):
        async def receive():
            if started:
                await asyncio.sleep(60)
            started.append(True)
            return {"type": "http.request", "body": b"{", "more_body": True}

        async def send(message):
            sent.append(message)

        started, sent = [], []
        app = log.routes[0].app
        scope = {"type": "http", "method": "POST", "path": ENTRIES, "headers": []}
        await asyncio.wait_for(app(scope, receive, send), 10)
        return sent

    with RekorLog(TlogConfig(body_timeout=0.01)) as log:
        start, body = asyncio.run(run(log))
    assert start["status"] == 400
    assert json.loads(body["body"])["details"][0]["reason"] == "BODY_TOO_SLOW"


@pytest.mark.parametrize("how", ["frozen", "read-only"])
def test_a_frozen_log_says_so_in_plain_text_and_is_still_read(how):
    with RekorLog(TlogConfig(read_only=how == "read-only")) as log:
        if how == "frozen":
            log.log.append(b"one")
            freeze_log(log.log.store, log.log.signer, datetime(2026, 1, 2, tzinfo=UTC))
        answer = post(log, HASHEDREKORD)
        assert answer.status == 405
        assert answer.body == b"This log has been frozen, please switch to the latest log.\n"
        assert answer.headers["content-type"] == "text/plain; charset=utf-8"
        assert call(log.routes, "GET", "/api/v2/checkpoint").status == 200


def test_a_full_queue_asks_to_try_again_later():
    log = RekorLog(limits=QueueLimits(max_entries=0))
    answer = post(log, HASHEDREKORD)
    assert answer.status == 503
    assert answer.headers["retry-after"] == "1"
    problem = json.loads(answer.body)
    assert (problem["code"], problem["message"]) == (14, "reached max pushback; retry")
    assert problem["details"][0]["reason"] == "QUEUE_FULL"


def test_a_commit_that_takes_too_long_asks_to_try_again_later():
    log = RekorLog(TlogConfig(append_timeout=0.01))  # its sequencer never starts
    answer = post(log, HASHEDREKORD)
    assert answer.status == 503
    assert json.loads(answer.body)["details"][0]["reason"] == "COMMIT_TIMEOUT"


class _Broken:
    def __init__(self, error):
        self._error = error

    def append(self, *_arguments, **_options):
        future = asyncio.get_running_loop().create_future()
        future.set_exception(self._error)
        return future


def test_a_proof_that_does_not_hold_is_a_failure_of_the_log_and_counted(rekor):
    log = RekorLog()
    log.service._log = _Broken(InvalidProof("secret of the tree"))
    answer = post(log, HASHEDREKORD)
    problem = json.loads(answer.body)
    assert (answer.status, problem["code"], problem["message"]) == (500, 2, "failed to integrate entry")
    assert b"rekor_v2_inclusion_proof_failure_total 1.0" in log.meter.to_text()


def test_an_unexpected_error_tells_nothing_but_a_request_id(caplog):
    log = RekorLog()
    log.service._log = _Broken(RuntimeError("secret"))
    answer = post(log, HASHEDREKORD)
    problem = json.loads(answer.body)
    assert (answer.status, problem["code"], problem["message"]) == (500, 13, "internal server error")
    assert b"secret" not in answer.body
    assert problem["details"][0]["metadata"]["request"] in caplog.text


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH"])
def test_other_methods_are_not_implemented(rekor, method):
    answer = call(rekor.routes, method, ENTRIES)
    assert answer.status == 501
    assert json.loads(answer.body) == {"code": 12, "message": "Method Not Allowed", "details": []}
    assert answer.headers["allow"] == "POST"


def test_an_entry_that_no_bundle_can_hold_is_refused(rekor):
    large = changed(HASHEDREKORD, *VERIFIER, "publicKey", value=...)
    large = changed(large, *VERIFIER, "x509Certificate", value={"rawBytes": b64(large_certificate(P256))})
    answer = post(rekor, large)
    assert reason(answer) == "ENTRY_TOO_LARGE"
    assert json.loads(answer.body)["message"] == "invalid hashedrekord request"
