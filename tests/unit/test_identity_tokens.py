"""Reading and verifying identity tokens, and what identity they prove."""

import json
import warnings

import msgspec
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from joserfc import jws, jwt
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey
from tests.support.small_ca import EMAIL, ISSUER, NOW, b64url, rsa_key

from hallmark.core.key_strength import check_strength
from hallmark.core.oidc.identity import MAX_CLAIM_CHARACTERS, MAX_EMAIL_CHARACTERS, identify, parse_email
from hallmark.core.oidc.issuers import find_issuer_type
from hallmark.core.oidc.jwks import MAX_JWKS_BYTES, MAX_KEYS, MAX_RSA_BITS, MIN_RSA_BITS, KeySet, parse_jwks
from hallmark.core.oidc.token import (
    MAX_AUDIENCES,
    MAX_CANDIDATE_KEYS,
    MAX_TIME,
    MAX_TOKEN_BYTES,
    NOT_BEFORE_LEEWAY_SECONDS,
    Claims,
    parse_token,
    verify_token,
)
from hallmark.errors import ConfigurationError, MalformedInput, Unauthenticated

SECONDS = int(NOW.timestamp())
CLAIMS = {
    "iss": ISSUER,
    "sub": "subject-1",
    "aud": "sigstore",
    "exp": SECONDS + 60,
    "email": EMAIL,
    "email_verified": True,
}
RSA = RSAKey.import_key(rsa_key(), {"kid": "r1"})
P256 = ECKey.import_key(ec.generate_private_key(ec.SECP256R1()), {"kid": "e1"})
ED25519 = OKPKey.import_key(ed25519.Ed25519PrivateKey.generate(), {"kid": "o1"})


def compact(header: bytes, claims: bytes, signature: str = "x") -> str:
    return f"{b64url(header)}.{b64url(claims)}.{signature}"


def keys_of(*keys, **members) -> KeySet:
    items = [{**key.as_dict(private=False), **members} for key in keys]
    return parse_jwks(json.dumps({"keys": items}).encode())


KEYS = keys_of(RSA, P256, ED25519)


def make(key=RSA, header=None, **changes) -> str:
    claims = {name: value for name, value in {**CLAIMS, **changes}.items() if value is not None}
    chosen = header or {"alg": "RS256", "kid": "r1"}
    return jwt.encode(chosen, claims, key, algorithms=[chosen["alg"]])


def verify(raw: str, keys: KeySet = KEYS) -> Claims:
    return verify_token(parse_token(raw), keys, oidc_issuer=ISSUER, audience="sigstore", now=NOW)


def refused(raw: str, code: str, keys: KeySet = KEYS) -> str:
    with pytest.raises(Unauthenticated) as caught:
        verify(raw, keys)
    assert caught.value.code == code
    assert not any(part and part in caught.value.message for part in raw.split("."))
    return caught.value.message


def test_verifies_a_token_and_returns_its_claims():
    claims = verify(make())
    assert (claims.oidc_issuer, claims.subject, claims.audience) == (ISSUER, "subject-1", ("sigstore",))
    assert claims.values["email"] == EMAIL
    assert claims.expires_at == SECONDS + 60


@pytest.mark.parametrize(
    ("key", "header"),
    [
        (RSA, {"alg": "RS512", "kid": "r1"}),
        (RSA, {"alg": "PS256", "kid": "r1"}),
        (P256, {"alg": "ES256", "kid": "e1"}),
        (ED25519, {"alg": "Ed25519", "kid": "o1"}),
    ],
)
def test_accepts_every_allowed_kind_of_key(key, header):
    raw = jws.serialize_compact(header, json.dumps(CLAIMS), key, algorithms=[header["alg"]])
    assert verify(raw).subject == "subject-1"


def test_accepts_the_older_name_of_ed25519():
    signer = ED25519.get_op_key("sign")
    message = compact(b'{"alg":"EdDSA"}', json.dumps(CLAIMS).encode(), "").rstrip(".")
    assert verify(f"{message}.{b64url(signer.sign(message.encode()))}").subject == "subject-1"


def test_tries_every_fitting_key_when_the_token_names_none():
    other = RSAKey.import_key(rsa_key(3072), {"kid": "other"})
    assert verify(make(header={"alg": "RS256"}), keys_of(other, RSA)).subject == "subject-1"


@pytest.mark.parametrize(("others", "found"), [(MAX_CANDIDATE_KEYS - 1, True), (MAX_CANDIDATE_KEYS, False)])
def test_a_token_without_a_key_id_is_checked_with_so_many_keys(others, found):
    keys = [ECKey.import_key(ec.generate_private_key(ec.SECP256R1())) for _ in range(others)]
    raw = jwt.encode({"alg": "ES256"}, CLAIMS, P256, algorithms=["ES256"])
    if found:
        assert verify(raw, keys_of(*keys, P256)).subject
    else:
        assert "kid" in refused(raw, "invalid_token_signature", keys_of(*keys, P256))
    named = jwt.encode({"alg": "ES256", "kid": "e1"}, CLAIMS, P256, algorithms=["ES256"])
    assert verify(named, keys_of(*keys, P256)).subject


def test_keys_of_another_algorithm_or_type_are_not_tried():
    keys = [ECKey.import_key(ec.generate_private_key(ec.SECP256R1())) for _ in range(MAX_CANDIDATE_KEYS)]
    others = [{**key.as_dict(private=False), "alg": "ES384"} for key in keys]
    others += [ED25519.as_dict(private=False)] * MAX_CANDIDATE_KEYS
    items = [*others, P256.as_dict(private=False)]
    raw = jwt.encode({"alg": "ES256"}, CLAIMS, P256, algorithms=["ES256"])
    assert verify(raw, parse_jwks(json.dumps({"keys": items}).encode())).subject


@pytest.mark.parametrize("characters", [4096, 4098])
def test_a_header_has_members_of_its_issuer_and_up_to_four_kibibytes(characters):
    header = {"alg": "ES256", "kid": "e1", "x": ""}
    header["x"] = "x" * (characters * 3 // 4 - len(json.dumps(header, separators=(",", ":"))))
    assert len(b64url(json.dumps(header, separators=(",", ":")).encode())) == characters
    message = compact(json.dumps(header, separators=(",", ":")).encode(), json.dumps(CLAIMS).encode(), "")[
        :-1
    ]
    der = P256.private_key.sign(message.encode(), ec.ECDSA(hashes.SHA256()))
    raw = f"{message}.{b64url(b''.join(n.to_bytes(32, 'big') for n in decode_dss_signature(der)))}"
    if characters == 4096:
        assert verify(raw).subject
    else:
        refused(raw, "invalid_token_signature")


def test_refuses_a_token_without_signature():
    header, claims, _ = make().split(".")
    refused(compact(b'{"alg":"none"}', json.dumps(CLAIMS).encode(), ""), "invalid_token_signature")
    refused(f"{header}.{claims}.", "invalid_token_signature")


def test_refuses_a_token_signed_with_the_public_key_as_a_secret():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        secret = OctKey.import_key(RSA.as_dict(private=False)["n"])
    refused(
        jws.serialize_compact(
            {"alg": "HS256", "kid": "r1"}, json.dumps(CLAIMS), secret, algorithms=["HS256"]
        ),
        "invalid_token_signature",
    )


def test_refuses_a_token_of_another_key():
    stranger = RSAKey.import_key(rsa_key(3072))
    refused(make(stranger), "invalid_token_signature")
    refused(make(RSA, {"alg": "RS256", "kid": "e1"}), "invalid_token_signature")


def test_refuses_changed_claims():
    header, _, signature = make().split(".")
    changed = b64url(json.dumps({**CLAIMS, "email": "mallory@example.com"}).encode())
    refused(f"{header}.{changed}.{signature}", "invalid_token_signature")


def test_refuses_an_algorithm_that_the_key_is_not_for():
    refused(make(header={"alg": "RS512", "kid": "r1"}), "invalid_token_signature", keys_of(RSA, alg="RS256"))


def test_refuses_a_token_of_another_issuer():
    refused(make(iss="https://other.example"), "wrong_token_issuer")


@pytest.mark.parametrize("audience", ["other", ["other", "another"], "sigstore ", [[]], 7, None, ["x"] * 65])
def test_refuses_a_token_of_another_audience(audience):
    with pytest.raises(Unauthenticated) as caught:
        verify(make(aud=audience))
    assert caught.value.code in {"wrong_token_audience", "malformed_token"}


def test_accepts_one_audience_of_several():
    assert verify(make(aud=["other", "sigstore"])).audience == ("other", "sigstore")


def test_a_token_is_for_the_audience_if_one_of_many_is():
    """Neither the first alone nor all of them."""
    for audiences in (["sigstore", "x", "y"], ["x", "y", "sigstore"]):
        assert verify(make(aud=audiences)).audience == tuple(audiences)


@pytest.mark.parametrize(
    "audience", [["sigstore", 7], [7, "sigstore"], ["sigstore", None], {"sigstore": 1}, 7]
)
def test_refuses_an_audience_that_is_no_text(audience):
    refused(make(aud=audience), "malformed_token")


def test_a_token_has_up_to_sixty_four_audiences():
    assert verify(make(aud=["sigstore", *["x"] * (MAX_AUDIENCES - 1)])).subject
    refused(make(aud=["sigstore", *["x"] * MAX_AUDIENCES]), "malformed_token")


@pytest.mark.parametrize("not_before", ["soon", True, [1], 10**400, MAX_TIME, -MAX_TIME])
def test_refuses_a_beginning_that_is_no_time(not_before):
    refused(make(nbf=not_before), "malformed_token")


def test_times_have_bounds():
    assert verify(make(exp=MAX_TIME - 1, nbf=1 - MAX_TIME)).expires_at == MAX_TIME - 1
    refused(make(exp=MAX_TIME), "malformed_token")


def test_a_token_has_up_to_32_kibibytes():
    with pytest.raises(Unauthenticated, match="more than"):
        parse_token("x" * (MAX_TOKEN_BYTES + 1))
    with pytest.raises(Unauthenticated, match="two dots"):
        parse_token("x" * MAX_TOKEN_BYTES)


def test_expiry_has_no_leeway():
    assert "expired" in refused(make(exp=SECONDS), "expired_token")
    refused(make(exp=NOW.timestamp()), "expired_token")
    assert verify(make(exp=NOW.timestamp() + 0.25)).expires_at > SECONDS


def test_not_before_has_five_minutes():
    assert verify(make(nbf=SECONDS + 300)).subject
    assert verify(make(nbf=NOW.timestamp() + NOT_BEFORE_LEEWAY_SECONDS)).subject
    refused(make(nbf=NOW.timestamp() + NOT_BEFORE_LEEWAY_SECONDS + 0.5), "token_not_yet_valid")


@pytest.mark.parametrize("exp", [None, "soon", True, 10**400, -(10**30), [1]])
def test_refuses_times_that_are_none(exp):
    refused(make(exp=exp), "malformed_token")


@pytest.mark.parametrize("sub", [None, "", 7, ["x"]])
def test_refuses_a_token_without_subject(sub):
    refused(make(sub=sub), "malformed_token")


@pytest.mark.parametrize(
    "raw",
    [
        "",
        "..",
        "a.b",
        "a.b.c.d",
        "." * 1_000_000,
        "a" * (MAX_TOKEN_BYTES + 1),
        compact(b"[]", b"{}"),
        compact(b'{"alg":"RS256"}', b"{}"),
        compact(b'{"alg":7}', b'{"iss":"x"}'),
        compact(b'{"alg":"RS256"}', b'{"iss":["x"]}'),
        compact(b'{"alg":"RS256"}', b'{"iss":""}'),
        compact(b'{"alg":"RS256"}', b'{"iss":"x"}').replace(".", "\n.", 1),
        compact(b'{"alg":"RS256","crit":["x"]}', b'{"iss":"x"}'),
        compact(b'{"alg":"RS256","b64":false}', b'{"iss":"x"}'),
        compact(b'{"alg":"RS256"}', b"[" * 20000),
        "é.ü.ö",
    ],
    ids=range(16),
)
def test_refuses_what_is_no_token(raw):
    with pytest.raises(Unauthenticated) as caught:
        parse_token(raw)
    assert caught.value.code == "malformed_token"


def test_a_key_set_leaves_out_what_cannot_verify():
    modulus = rsa_key(1024).public_key().public_numbers().n.to_bytes(128, "big")
    weak = {"kty": "RSA", "e": "AQAB", "n": b64url(modulus)}
    items = [
        {"kty": "AKP", "alg": "ML-DSA-44"},
        {"kty": ["RSA"]},
        {"kty": "oct", "k": "c2VjcmV0"},
        {"kty": "RSA", "n": "x"},
        {**RSA.as_dict(private=False), "use": "enc"},
        RSA.as_dict(private=True),
        {**RSA.as_dict(private=False), "key_ops": ["encrypt"]},
        weak,
        P256.as_dict(private=False),
    ]
    assert [key.key_id for key in parse_jwks(json.dumps({"keys": items}).encode()).keys] == ["e1"]


def rsa_item(bits: int) -> dict:
    n = next(n for n in range((1 << (bits - 1)) + 1, 1 << bits, 2) if not_weak(n))
    return {"kty": "RSA", "e": "AQAB", "n": b64url(n.to_bytes((bits + 7) // 8, "big"))}


def not_weak(modulus: int) -> bool:
    try:
        check_strength(rsa.RSAPublicNumbers(65537, modulus).public_key())
    except MalformedInput:
        return False
    return True


@pytest.mark.parametrize(
    ("bits", "read"),
    [(MIN_RSA_BITS - 1, 0), (MIN_RSA_BITS, 1), (2096, 1), (MAX_RSA_BITS, 1), (MAX_RSA_BITS + 1, 0)],
)
def test_rsa_keys_have_bounds(bits, read):
    assert len(parse_jwks(json.dumps({"keys": [rsa_item(bits)]}).encode()).keys) == read


@pytest.mark.parametrize(
    "data", [b'{"keys":[{"kty":"\xff"}]}', b"", b"[]", b"{}", b'{"keys":[1]}', b" " * 300_000, b'{"keys":{}}']
)
def test_refuses_what_is_no_key_set(data):
    with pytest.raises(MalformedInput):
        parse_jwks(data)


def test_refuses_a_key_set_of_too_many_keys():
    with pytest.raises(MalformedInput):
        parse_jwks(msgspec.json.encode({"keys": [{}] * (MAX_KEYS + 1)}))


def identity_of(**changes):
    return identify(verify(make(**changes)), find_issuer_type("email"))


def test_an_email_identity_is_what_the_token_says():
    principal = identity_of()
    assert (principal.name, principal.san_kind, principal.san) == (EMAIL, "email", EMAIL)
    assert principal.extensions == ((1, ISSUER), (8, ISSUER), (24, "subject-1"))


@pytest.mark.parametrize("verified", [True, "true", "True"])
def test_accepts_a_verified_email(verified):
    assert identity_of(email_verified=verified).name == EMAIL


@pytest.mark.parametrize(
    ("verified", "code"),
    [
        (False, "unverified_email"),
        ("false", "unverified_email"),
        (None, "unverified_email"),
        (1, "malformed_claim"),
        ("yes", "malformed_claim"),
        ([True], "malformed_claim"),
    ],
)
def test_refuses_an_unverified_email(verified, code):
    with pytest.raises(Unauthenticated) as caught:
        identity_of(email_verified=verified)
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("email", "code"),
    [
        (None, "missing_claim"),
        ("", "missing_claim"),
        ("alice", "malformed_claim"),
        ("alice@", "malformed_claim"),
        ("älice@example.com", "malformed_claim"),
        ("a b@example.com", "malformed_claim"),
        ("alice@example.com\n", "malformed_claim"),
        ("alice@example.com, bob@example.com", "malformed_claim"),
        ("<alice@example.com>", "malformed_claim"),
        ("a" * 251 + "@b.c", "malformed_claim"),
        (["alice@example.com"], "malformed_claim"),
    ],
)
def test_refuses_what_is_no_email(email, code):
    with pytest.raises(Unauthenticated) as caught:
        identity_of(email=email)
    assert caught.value.code == code


@pytest.mark.parametrize("subject", ["a\nb", "a\x00", "\u200b", "\ud800"])
def test_refuses_a_claim_that_cannot_be_printed(subject):
    with pytest.raises(Unauthenticated) as caught:
        identify(claims_with(sub=subject), find_issuer_type("email"))
    assert caught.value.code == "malformed_claim"


def claims_with(**changes) -> Claims:
    values = {**CLAIMS, **changes}
    return Claims(ISSUER, "subject-1", ("sigstore",), SECONDS + 60, values)


@pytest.mark.parametrize("subject", [7, ["x"], {"a": 1}, True])
def test_refuses_a_claim_that_is_no_text(subject):
    with pytest.raises(Unauthenticated) as caught:
        identify(claims_with(sub=subject), find_issuer_type("email"))
    assert caught.value.code == "malformed_claim"


def test_a_claim_has_up_to_2048_characters():
    principal = identify(claims_with(sub="x" * MAX_CLAIM_CHARACTERS), find_issuer_type("email"))
    assert dict(principal.extensions)[24] == "x" * 2048
    with pytest.raises(Unauthenticated) as caught:
        identify(claims_with(sub="x" * (MAX_CLAIM_CHARACTERS + 1)), find_issuer_type("email"))
    assert caught.value.code == "malformed_claim"


def test_an_address_has_up_to_254_characters():
    domain = "@" + "d" * 63 + "." + "e" * 63
    local = "a" * (MAX_EMAIL_CHARACTERS - len(domain))
    assert len(parse_email(local + domain)) == 254
    with pytest.raises(MalformedInput):
        parse_email("a" + local + domain)


def test_a_label_of_a_domain_has_up_to_63_characters():
    assert parse_email("a@" + "d" * 63)
    with pytest.raises(MalformedInput):
        parse_email("a@" + "d" * 64)


def test_a_key_set_has_bounds():
    assert len(parse_jwks(msgspec.json.encode({"keys": [P256.as_dict(private=False)] * MAX_KEYS})).keys) == 64
    data = b'{"keys":[]}'
    assert parse_jwks(data + b" " * (MAX_JWKS_BYTES - len(data))).keys == ()
    with pytest.raises(MalformedInput, match="more than"):
        parse_jwks(data + b" " * (MAX_JWKS_BYTES + 1 - len(data)))


def test_accepts_usual_addresses():
    for address in ("a@b.c", "first.last+tag@sub.example.org", "dev@localhost", "o'neil@x-y.example"):
        assert parse_email(address) == address


def test_an_unknown_issuer_type_is_a_configuration_error():
    with pytest.raises(ConfigurationError) as caught:
        find_issuer_type("gopher")
    assert "email" in caught.value.hint
