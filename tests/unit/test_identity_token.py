import base64
import json
from datetime import UTC, datetime, timedelta

import pytest

from hallmark.client.identity_token import parse_identity_token
from hallmark.errors import MalformedInput, Unauthenticated

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
CLAIMS = {
    "iss": "http://issuer.test",
    "aud": "sigstore",
    "exp": int((NOW + timedelta(minutes=5)).timestamp()),
    "sub": "subject",
    "email": "alice@example.com",
}


def jwt(claims: object) -> str:
    payload = base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=").decode()
    return f"e30.{payload}.c2lnbmF0dXJl"


def test_shows_what_a_token_claims():
    token = parse_identity_token(f"  {jwt(CLAIMS)}\n")
    assert token.raw == jwt(CLAIMS)
    assert token.unverified_identity == "alice@example.com"
    assert token.unverified_oidc_issuer == "http://issuer.test"
    assert token.unverified_audiences == ("sigstore",)
    token.check(audience="sigstore", now=NOW)


def test_takes_a_list_of_audiences_and_a_subject():
    claims = {**CLAIMS, "aud": ["other", "sigstore"], "email": ""}
    token = parse_identity_token(jwt(claims))
    token.check(audience="sigstore", now=NOW)
    assert token.unverified_identity == "subject"


def test_refuses_an_expired_token():
    token = parse_identity_token(jwt(CLAIMS))
    with pytest.raises(Unauthenticated, match="expired at 2026-03-01 12:05:00 UTC") as caught:
        token.check(audience="sigstore", now=NOW + timedelta(minutes=5))
    assert caught.value.code == "expired_token"


def test_refuses_a_token_of_another_audience():
    token = parse_identity_token(jwt({**CLAIMS, "aud": "other"}))
    with pytest.raises(Unauthenticated, match="'other', not for 'sigstore'") as caught:
        token.check(audience="sigstore", now=NOW)
    assert caught.value.code == "wrong_audience"


@pytest.mark.parametrize(
    "raw",
    [
        "",
        "a.b",
        "a.b.c.d",
        "a.!!!.c",
        "a.e30.c",
        jwt([]),
        jwt({**CLAIMS, "exp": "soon"}),
        jwt({**CLAIMS, "exp": 1e300}),
        jwt({**CLAIMS, "aud": 1}),
        f"a.{'A' * 70000}.c",
        jwt(CLAIMS).replace(".", ".\n", 1),
        f"{jwt(CLAIMS)}\r\nHost",
        f"\u20ac{jwt(CLAIMS)}",
    ],
)
def test_refuses_what_is_no_token_without_showing_it(raw):
    with pytest.raises(MalformedInput) as caught:
        parse_identity_token(raw)
    assert caught.value.code == "malformed_token"
    assert not raw or raw not in caught.value.message


def test_never_shows_the_token_in_its_text():
    token = parse_identity_token(jwt(CLAIMS))
    assert token.raw not in repr(token)
    assert token.raw not in f"{token}"


def test_an_empty_token_is_told_from_one_that_is_none():
    for raw, said in (("", "is empty"), (" \n", "is empty"), ("x", "is not a JWT")):
        with pytest.raises(MalformedInput, match=said):
            parse_identity_token(raw)


@pytest.mark.parametrize("more", [0, 1])
def test_a_token_has_up_to_64_kibibytes(more):
    raw = jwt(CLAIMS) + "A" * ((64 << 10) - len(jwt(CLAIMS)) + more)
    if more:
        with pytest.raises(MalformedInput, match="not a JWT"):
            parse_identity_token(raw)
    else:
        assert parse_identity_token(raw).raw == raw


def test_a_token_for_nobody_says_so():
    token = parse_identity_token(jwt({**CLAIMS, "aud": []}))
    with pytest.raises(Unauthenticated, match="for 'nobody', not for 'sigstore'"):
        token.check(audience="sigstore", now=NOW)
