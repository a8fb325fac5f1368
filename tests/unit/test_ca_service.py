"""The certificate authority over its wire: what it issues, and what bad input gets."""

import base64
import json

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from tests.support.asgi_call import call
from tests.support.small_ca import (
    EMAIL,
    ISSUER,
    SmallCa,
    b64,
    certificates_of,
    csr_request,
    der,
    key_request,
    pem,
    prove,
    rsa_key,
    spki,
)

from hallmark.adapters.keys.file import SoftwareKey
from hallmark.ca.config import CaConfig
from hallmark.ca.http import MAX_VALUES
from hallmark.ca.http import routes as ca_routes
from hallmark.ca.issuers import OidcIssuers
from hallmark.core.keys import parse_public_key
from hallmark.core.x509.sct import PrecertEntry, parse_leaf_index, parse_sct_list, verify_sct
from hallmark.errors import ConfigurationError

KEY = ec.generate_private_key(ec.SECP256R1())
TOKEN_MESSAGE = "There was an error processing the identity token"
KEYS = {
    "p256": KEY,
    "p384": ec.generate_private_key(ec.SECP384R1()),
    "p521": ec.generate_private_key(ec.SECP521R1()),
    "rsa": rsa_key(),
    "ed25519": ed25519.Ed25519PrivateKey.generate(),
}


@pytest.fixture
def small(tmp_path):
    made = SmallCa(tmp_path)
    yield made
    made.close()


def reason(answer) -> str:
    (info,) = answer.json()["details"]
    assert info["@type"] == "type.googleapis.com/google.rpc.ErrorInfo"
    return info["reason"]


def refused(answer, message: str, why: str, status: int = 400) -> None:
    problem = answer.json()
    assert (answer.status, problem["message"]) == (status, message)
    assert (problem["code"], reason(answer)) == (3, why)
    assert answer.headers["content-type"] == "application/json"


@pytest.mark.parametrize("key", KEYS.values(), ids=KEYS)
def test_certifies_a_key_whose_possession_is_proved(small, key):
    leaf, issuing, root = certificates_of(small.sign(key_request(key), small.token()))
    assert leaf.public_key() == key.public_key()
    assert (der(issuing), der(root)) == small.chain
    leaf.verify_directly_issued_by(issuing)


@pytest.mark.parametrize(
    ("key", "hash_algorithm"),
    [
        (KEYS["p256"], hashes.SHA256()),
        (KEYS["p384"], hashes.SHA384()),
        (KEYS["p521"], hashes.SHA512()),
        (KEYS["rsa"], hashes.SHA256()),
        (KEYS["ed25519"], None),
    ],
    ids=KEYS,
)
def test_certifies_a_signing_request_and_ignores_what_it_asks_for(small, key, hash_algorithm):
    leaf = certificates_of(small.sign(csr_request(key, hash_algorithm), small.token()))[0]
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert list(names) == [x509.RFC822Name(EMAIL)]
    assert not list(leaf.subject)
    with pytest.raises(x509.ExtensionNotFound):
        leaf.extensions.get_extension_for_class(x509.BasicConstraints)


def test_the_embedded_promise_holds_and_the_log_has_the_entry(small):
    leaf, issuing, _ = certificates_of(small.sign(key_request(KEY), small.token()))
    extension = leaf.extensions.get_extension_for_class(x509.PrecertificateSignedCertificateTimestamps)
    (sct,) = parse_sct_list(extension.value.public_bytes())
    issuer_key = parse_public_key(
        issuing.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    )
    verify_sct(sct, PrecertEntry(issuer_key.key_id, leaf.tbs_precertificate_bytes), small.ctlog_key)
    assert parse_leaf_index(sct.extensions) == 0
    assert leaf.tbs_precertificate_bytes in small.reader.entry(0).leaf


def test_every_certificate_has_its_own_serial(small):
    serials = {
        certificates_of(small.sign(key_request(KEY), small.token()))[0].serial_number for _ in range(5)
    }
    assert len(serials) == 5
    assert all(0 < serial < 2**159 for serial in serials)


def test_takes_the_token_from_the_body_first(small):
    request = {**key_request(KEY), "credentials": {"oidcIdentityToken": small.token()}}
    assert small.sign(request).status == 200
    assert small.sign(request, "nonsense").status == 200


def test_takes_a_bare_token_in_the_header(small):
    body = json.dumps(key_request(KEY)).encode()
    assert small.request("POST", "/api/v2/signingCert", body, {"authorization": small.token()}).status == 200


def test_takes_snake_case_null_and_unknown_fields(small):
    request = {
        "credentials": {"oidc_identity_token": small.token(), "new": 1},
        "public_key_request": {
            "public_key": {"algorithm": "RSA", "content": pem(KEY)},
            "proof_of_possession": b64(prove(KEY, EMAIL)),
        },
        "certificateSigningRequest": None,
        "unknown": [{}],
    }
    assert small.sign(request).status == 200


def test_takes_a_signing_request_in_snake_case(small):
    request = {"certificate_signing_request": csr_request(KEY)["certificateSigningRequest"]}
    assert small.sign(request, small.token()).status == 200


def test_a_token_has_one_bearer_in_front_of_it(small):
    answer = small.sign(key_request(KEY), f"Bearer {small.token()}")
    refused(answer, TOKEN_MESSAGE, "MALFORMED_TOKEN")


def test_the_pem_of_version_2_has_no_final_newline_but_the_bundle_has(small):
    answer = small.sign(key_request(KEY), small.token()).json()
    assert all(
        item.endswith("-----") for item in answer["signedCertificateEmbeddedSct"]["chain"]["certificates"]
    )
    (chain,) = small.request("GET", "/api/v2/trustBundle").json()["chains"]
    assert [x509.load_pem_x509_certificate(item.encode()) for item in chain["certificates"]] == [
        x509.load_der_x509_certificate(item) for item in small.chain
    ]
    assert all(item.endswith("-----\n") for item in chain["certificates"])


def test_version_1_answers_201_with_pem(small):
    request = {
        "publicKey": {"content": b64(spki(KEY)), "algorithm": "ecdsa"},
        "signedEmailAddress": b64(prove(KEY, EMAIL)),
        "certificateSigningRequest": None,
    }
    answer = small.sign(request, small.token(), "/api/v1/signingCert")
    assert (answer.status, answer.headers["content-type"]) == (201, "application/pem-certificate-chain")
    leaf, issuing, root = x509.load_pem_x509_certificates(answer.body)
    assert not answer.body.endswith(b"\n")
    assert leaf.public_key() == KEY.public_key()
    assert (der(issuing), der(root)) == small.chain
    assert "sct" not in answer.headers


def test_version_1_takes_a_signing_request(small):
    answer = small.sign(csr_request(KEY), small.token(), "/api/v1/signingCert")
    assert answer.status == 201
    assert small.request("GET", "/api/v1/rootCert").status == 200


def test_the_configuration_names_the_issuers(small):
    (issuer,) = small.request("GET", "/api/v2/configuration").json()["issuers"]
    assert issuer == {
        "issuerUrl": ISSUER,
        "audience": "sigstore",
        "challengeClaim": "email",
        "spiffeTrustDomain": "",
        "issuerType": "email",
        "subjectDomain": "",
        "skipEmailVerification": False,
    }


def test_refuses_a_missing_token(small):
    refused(small.sign(key_request(KEY)), TOKEN_MESSAGE, "MISSING_TOKEN")


@pytest.mark.parametrize("token", ["nonsense", "a.b.c", "." * 40000, "é.é.é"])
def test_refuses_a_malformed_token(small, token):
    refused(
        small.sign({**key_request(KEY), "credentials": {"oidcIdentityToken": token}}),
        TOKEN_MESSAGE,
        "MALFORMED_TOKEN",
    )


def test_refuses_an_expired_token(small):
    token = small.token()
    small.pass_time(minutes=2)
    refused(small.sign(key_request(KEY), token), TOKEN_MESSAGE, "EXPIRED_TOKEN")


@pytest.mark.parametrize(
    ("claims", "why"),
    [
        ({"aud": "another"}, "WRONG_TOKEN_AUDIENCE"),
        ({"iss": "https://issuer.example"}, "UNKNOWN_TOKEN_ISSUER"),
        ({"iss": ISSUER + "/"}, "UNKNOWN_TOKEN_ISSUER"),
        ({"email_verified": False}, "UNVERIFIED_EMAIL"),
        ({"email_verified": None}, "UNVERIFIED_EMAIL"),
        ({"email": None}, "MISSING_CLAIM"),
        ({"email": "älice@example.com"}, "MALFORMED_CLAIM"),
        ({"nbf": 4_000_000_000}, "TOKEN_NOT_YET_VALID"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_refuses_a_token_that_says_the_wrong_thing(small, claims, why):
    refused(small.sign(key_request(KEY), small.token(**claims)), TOKEN_MESSAGE, why)


def test_refuses_a_token_of_a_stranger(small):
    refused(
        small.sign(key_request(KEY), small.token(rsa_key(3072))), TOKEN_MESSAGE, "INVALID_TOKEN_SIGNATURE"
    )


def test_says_nothing_of_a_bad_key_to_somebody_without_a_token(small):
    assert small.sign({"publicKeyRequest": {}}).json()["message"] == TOKEN_MESSAGE


@pytest.mark.parametrize("message", ["mallory@example.com", EMAIL + "\n", "", "subject-1"])
def test_refuses_a_proof_over_another_name(small, message):
    refused(
        small.sign(key_request(KEY, message), small.token()),
        "The signature supplied in the request could not be verified",
        "INVALID_PROOF_OF_POSSESSION",
    )


def test_refuses_a_proof_by_another_key(small):
    stranger = ec.generate_private_key(ec.SECP256R1())
    refused(
        small.sign(key_request(KEY, public=pem(stranger)), small.token()),
        "The signature supplied in the request could not be verified",
        "INVALID_PROOF_OF_POSSESSION",
    )


@pytest.mark.parametrize(
    "key",
    [
        rsa_key(1024),
        rsa_key(2056),
        rsa_key(2048, 3),
        ec.generate_private_key(ec.SECP224R1()),
        ec.generate_private_key(ec.SECP256K1()),
    ],
    ids=["rsa1024", "rsa2056", "rsa-e3", "p224", "secp256k1"],
)
def test_refuses_a_weak_key(small, key):
    message = "The public key supplied in the request is insecure"
    refused(small.sign(key_request(key), small.token()), message, "WEAK_KEY")
    refused(small.sign(csr_request(key), small.token()), message, "WEAK_KEY")


def test_refuses_a_key_of_another_kind(small):
    key = dsa.generate_private_key(2048)
    public = pem(key)
    refused(
        small.sign(key_request(KEY, public=public), small.token()),
        "The public key supplied in the request is insecure",
        "WEAK_KEY",
    )


@pytest.mark.parametrize(
    "public", ["", "nonsense", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----", "A" * 99999]
)
def test_refuses_what_is_no_key(small, public):
    request = {"publicKeyRequest": {"publicKey": {"content": public}, "proofOfPossession": "AAAA"}}
    refused(
        small.sign(request, small.token()),
        "The public key supplied in the request could not be parsed",
        "MALFORMED_KEY",
    )


@pytest.mark.parametrize(
    "request_body", [{}, {"publicKeyRequest": None}, {"publicKeyRequest": {"publicKey": None}}]
)
def test_refuses_a_request_without_a_key(small, request_body):
    refused(
        small.sign(request_body, small.token()),
        "The public key supplied in the request could not be parsed",
        "MALFORMED_KEY",
    )


def test_refuses_what_is_no_signing_request(small):
    for content in (
        b"nonsense",
        b"-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n",
    ):
        refused(
            small.sign({"certificateSigningRequest": b64(content)}, small.token()),
            "The certificate signing request could not be parsed",
            "MALFORMED_CSR",
        )


def test_refuses_a_signing_request_with_a_broken_signature_or_another_hash(small):
    body = base64.b64decode(csr_request(KEY)["certificateSigningRequest"])
    lines = x509.load_pem_x509_csr(body).public_bytes(Encoding.DER)
    broken = bytearray(lines)
    broken[-1] ^= 1
    encoded = base64.encodebytes(bytes(broken)).decode()
    text = f"-----BEGIN CERTIFICATE REQUEST-----\n{encoded}-----END CERTIFICATE REQUEST-----\n"
    for request in (
        {"certificateSigningRequest": b64(text.encode())},
        csr_request(KEYS["p384"], hashes.SHA256()),
        csr_request(KEY, hashes.SHA512()),
    ):
        refused(
            small.sign(request, small.token()),
            "The signature supplied in the request could not be verified",
            "INVALID_PROOF_OF_POSSESSION",
        )


def test_refuses_a_signing_request_of_another_version(small):
    body = base64.b64decode(csr_request(KEY)["certificateSigningRequest"])
    changed = bytearray(x509.load_pem_x509_csr(body).public_bytes(Encoding.DER))
    changed[changed.index(b"\x02\x01\x00") + 2] = 7
    encoded = base64.encodebytes(bytes(changed)).decode()
    text = f"-----BEGIN CERTIFICATE REQUEST-----\n{encoded}-----END CERTIFICATE REQUEST-----\n"
    refused(
        small.sign({"certificateSigningRequest": b64(text.encode())}, small.token()),
        "The certificate signing request could not be parsed",
        "MALFORMED_CSR",
    )


def test_unfinished_requests_are_bounded_together(small):
    service = small.authority(config=CaConfig(max_body_bytes_in_flight=1000))
    answer = call(ca_routes(service), "POST", "/api/v2/signingCert", b" " * 2000, chunk=500)
    assert answer.status == 503
    assert json.loads(answer.body)["details"][0]["reason"] == "TOO_MANY_BODIES"


def test_refuses_an_algorithm_that_is_not_on_the_list(small):
    config = CaConfig(client_signing_algorithms=frozenset({"ecdsa-sha2-384-nistp384"}))
    small.parts[""] = ca_routes(small.authority(config=config))
    answer = small.sign(key_request(KEY), small.token())
    refused(answer, "signing algorithm not permitted: ecdsa-sha2-256-nistp256", "ALGORITHM_NOT_PERMITTED")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'{"publicKeyRequest": 7}',
        b'{"credentials":{"oidcIdentityToken":7}}',
        b"\xff",
        b"[" * 100_000,
    ],
    ids=range(8),
)
@pytest.mark.parametrize("path", ["/api/v2/signingCert", "/api/v1/signingCert"])
def test_refuses_malformed_json(small, body, path):
    answer = small.request("POST", path, body, {"authorization": f"Bearer {small.token()}"})
    assert (answer.status, answer.json()["code"]) == (400, 3)


def test_refuses_a_body_over_the_limit(small):
    largest = b" " * 192 * 1024
    answer = small.request("POST", "/api/v2/signingCert", largest)
    assert (answer.status, reason(answer)) == (400, "MALFORMED_INPUT")
    answer = small.request("POST", "/api/v2/signingCert", largest + b" ")
    assert (answer.status, reason(answer)) == (400, "BODY_TOO_LARGE")


def test_only_so_many_requests_are_worked_on_at_once(small):
    small.parts[""] = ca_routes(small.authority(config=CaConfig(max_calls=1)))
    assert small.sign(key_request(KEY), small.token()).status == 200
    small.parts[""] = ca_routes(small.authority(config=CaConfig(max_calls=0)))
    answer = small.sign(key_request(KEY), small.token())
    assert (answer.status, reason(answer)) == (503, "TOO_MANY_CALLS")
    assert answer.headers["retry-after"] == "1"


def test_refuses_a_key_and_a_signing_request_at_once(small):
    answer = small.sign({**key_request(KEY), **csr_request(KEY)}, small.token())
    assert (answer.status, answer.json()["code"]) == (400, 3)


def test_refuses_a_proof_that_is_not_base64(small):
    request = key_request(KEY)
    request["publicKeyRequest"]["proofOfPossession"] = "***"
    answer = small.sign(request, small.token())
    assert (answer.status, reason(answer)) == (400, "MALFORMED_BASE64")


def test_another_method_is_not_implemented(small):
    for method, path in (
        ("GET", "/api/v2/signingCert"),
        ("POST", "/api/v2/trustBundle"),
        ("PUT", "/api/v1/signingCert"),
    ):
        answer = small.request(method, path)
        assert (answer.status, answer.json()["code"], answer.json()["message"]) == (
            501,
            12,
            "Method Not Allowed",
        )


def test_what_may_be_read_may_be_asked_for_its_head_alone(small):
    answer = small.request("HEAD", "/api/v2/trustBundle")
    assert (answer.status, answer.body, answer.headers["content-type"]) == (200, b"", "application/json")
    assert small.request("HEAD", "/api/v2/signingCert").status == 501


def test_browsers_may_call_but_not_with_an_authorization_header(small):
    preflight = small.request("OPTIONS", "/api/v2/signingCert", headers={"origin": "https://a.example"})
    assert preflight.status == 204
    assert preflight.headers["access-control-allow-origin"] == "*"
    assert "uthorization" not in preflight.headers["access-control-allow-headers"]
    assert small.sign({}).headers["access-control-allow-origin"] == "*"


def test_a_promise_of_another_log_never_reaches_a_certificate(small):
    stranger = parse_public_key(spki(ec.generate_private_key(ec.SECP256R1())))
    small.parts[""] = ca_routes(small.authority(ctlog_key=stranger))
    answer = small.sign(key_request(KEY), small.token())
    assert (answer.status, answer.json()["code"]) == (500, 13)
    assert b"CERTIFICATE" not in answer.body


def test_an_expired_issuing_certificate_stops_issuing(small, caplog):
    small.pass_time(days=1096)
    answer = small.sign(key_request(KEY), small.token())
    assert answer.status == 500
    problem = answer.json()
    assert problem["message"].startswith(
        "error communicating with CA backend: the issuing certificate is valid"
    )
    assert reason(answer) == "AUTHORITY_NOT_VALID"
    assert "trying again does not help" in problem["details"][0]["metadata"]["hint"]
    assert "no certificate can be issued" in caplog.text


def test_does_not_start_on_what_does_not_fit(small):
    with pytest.raises(ConfigurationError, match="issuing key"):
        small.authority(issuing_key=SoftwareKey(KEY))
    with pytest.raises(ConfigurationError, match="at least one"):
        OidcIssuers([])
    with pytest.raises(ConfigurationError, match="twice"):
        OidcIssuers([*small.ca.issuers.all, *small.ca.issuers.all])


@pytest.mark.parametrize(("values", "message"), [(MAX_VALUES, "token"), (MAX_VALUES + 1, "values")])
def test_a_request_has_so_many_values(small, values, message):
    body = json.dumps({"more": [0] * (values - 1)}).encode()  # one for each bracket, brace and comma
    answer = small.request("POST", "/api/v2/signingCert", body)
    (info,) = answer.json()["details"]
    assert message in info["metadata"]["message"]
