"""The identity provider for development: flows, tokens, and who may not ask."""

import base64
import hashlib
import re
from html import unescape
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from tests.support.small_ca import BASE_URL, EMAIL, ISSUER, SECRET, SmallCa, b64, b64url, key_request, rsa_key

from hallmark.adapters.storage.grants import SqliteGrants
from hallmark.core.oidc.jwks import parse_jwks
from hallmark.core.oidc.token import parse_token, verify_token
from hallmark.errors import ConfigurationError
from hallmark.idp.config import IdpConfig
from hallmark.idp.http import routes as idp_routes
from hallmark.idp.service import IdentityProvider

VERIFIER = "v" * 43
CHALLENGE = b64url(hashlib.sha256(VERIFIER.encode()).digest())
REDIRECT = "http://localhost:45678/auth/callback"
OOB = "urn:ietf:wg:oauth:2.0:oob"
DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"
ASK = {
    "response_type": "code",
    "client_id": "sigstore",
    "client_secret": "",
    "scope": "openid email",
    "redirect_uri": REDIRECT,
    "code_challenge": CHALLENGE,
    "code_challenge_method": "S256",
    "state": "state-1",
    "nonce": "nonce-1",
}
BASIC = {"authorization": "Basic " + base64.b64encode(b"sigstore:").decode()}


@pytest.fixture
def small(tmp_path):
    made = SmallCa(tmp_path)
    yield made
    made.close()


def page(small: SmallCa, **changes):
    return small.request("GET", "/oidc/auth", query=urlencode({**ASK, **changes}))


def log_in(small: SmallCa, email: str = EMAIL, **changes):
    return small.post_form("/oidc/auth", {**ASK, "email": email, **changes})


def code_of(answer) -> str:
    assert answer.status == 303, answer.body
    return parse_qs(urlsplit(answer.headers["location"]).query)["code"][0]


def exchange(small: SmallCa, code: str, headers: dict[str, str] | None = None, **changes):
    fields = {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": REDIRECT,
        "code_verifier": VERIFIER,
        "client_id": "sigstore",
        **changes,
    }
    return small.post_form("/oidc/token", fields, **(headers or {}))


def refused(answer, error: str, status: int = 400) -> None:
    assert (answer.status, answer.json()["error"]) == (status, error)
    assert answer.headers["cache-control"] == "no-store"


def claims_of(small: SmallCa, raw: str):
    keys = parse_jwks(small.request("GET", "/oidc/keys").body)
    return verify_token(parse_token(raw), keys, oidc_issuer=ISSUER, audience="sigstore", now=small.now)


def test_discovery_says_where_everything_is(small):
    found = small.request("GET", "/oidc/.well-known/openid-configuration").json()
    assert found["issuer"] == ISSUER
    assert found["code_challenge_methods_supported"] == ["S256"]
    assert found["id_token_signing_alg_values_supported"] == ["RS256"]
    for name in ("authorization_endpoint", "token_endpoint", "device_authorization_endpoint", "jwks_uri"):
        assert found[name].startswith(f"{ISSUER}/")


def test_the_published_keys_are_public(small):
    (key,) = small.request("GET", "/oidc/keys").json()["keys"]
    assert (key["kty"], key["alg"], key["use"]) == ("RSA", "RS256", "sig")
    assert not set(key) & {"d", "p", "q", "dp", "dq", "qi"}


def test_the_login_page_asks_and_carries_the_request_along(small):
    answer = page(small, login_hint="bob@example.com")
    assert answer.status == 200
    fields = {
        unescape(name): unescape(value)
        for name, value in re.findall(r'<input type="hidden" name="([^"]*)" value="([^"]*)">', answer.text())
    }
    assert fields == {name: value for name, value in ASK.items() if name not in {"client_secret", "scope"}}
    assert "bob@example.com" in answer.text()
    assert "<script" not in answer.text()


def test_pages_allow_nothing_but_their_own_style_and_form(small):
    policy = page(small).headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src" not in policy
    assert "frame-ancestors 'none'" in policy
    assert "form-action 'self' http://localhost:45678;" in policy


def test_what_a_request_carries_is_escaped(small):
    answer = page(small, state='"><script>alert(1)</script>')
    assert "<script>" not in answer.text()


def test_the_browser_flow_ends_in_a_token(small):
    answer = log_in(small)
    location = urlsplit(answer.headers["location"])
    assert f"{location.scheme}://{location.netloc}{location.path}" == REDIRECT
    assert parse_qs(location.query)["state"] == ["state-1"]
    found = exchange(small, code_of(answer)).json()
    assert found["access_token"] == found["id_token"]
    assert found["token_type"] == "Bearer"
    claims = claims_of(small, found["id_token"])
    assert claims.values["email"] == EMAIL
    assert claims.values["email_verified"] is True
    assert claims.values["nonce"] == "nonce-1"
    assert claims.audience == ("sigstore",)


def test_a_token_names_its_key_and_is_rs256(small):
    token = parse_token(exchange(small, code_of(log_in(small))).json()["id_token"])
    (key,) = small.request("GET", "/oidc/keys").json()["keys"]
    assert (token.algorithm, token.key_id) == ("RS256", key["kid"])


def test_a_token_gets_a_certificate(small):
    token = exchange(small, code_of(log_in(small))).json()["id_token"]
    assert small.sign(key_request(ec.generate_private_key(ec.SECP256R1())), token).status == 200


def test_the_subject_of_an_email_is_stable(small):
    first, again, other = (
        claims_of(small, exchange(small, code_of(log_in(small, email))).json()["id_token"]).subject
        for email in (EMAIL, EMAIL, "bob@example.com")
    )
    assert first == again != other


def test_a_client_may_name_itself_by_http_basic(small):
    assert exchange(small, code_of(log_in(small)), BASIC).status == 200
    other = {"authorization": "Basic " + b64(b"other:")}
    refused(exchange(small, code_of(log_in(small)), other), "invalid_client", 401)
    refused(exchange(small, code_of(log_in(small)), {"authorization": "Basic ***"}), "invalid_client", 401)
    refused(exchange(small, code_of(log_in(small)), client_id="other"), "invalid_client", 401)


def test_a_code_serves_once(small):
    code = code_of(log_in(small))
    assert exchange(small, code).status == 200
    refused(exchange(small, code), "invalid_grant")


def test_a_code_lives_for_two_minutes(small):
    code = code_of(log_in(small))
    small.pass_time(seconds=121)
    refused(exchange(small, code), "invalid_grant")


def test_a_code_is_lost_to_whoever_lacks_its_verifier(small):
    code = code_of(log_in(small))
    refused(exchange(small, code, code_verifier="w" * 43), "invalid_grant")
    refused(exchange(small, code), "invalid_grant")
    refused(exchange(small, code_of(log_in(small)), redirect_uri="http://localhost:1/"), "invalid_grant")
    refused(exchange(small, ""), "invalid_grant")


def test_the_next_request_may_reach_another_process(small, tmp_path):
    code = code_of(log_in(small))
    other = IdentityProvider(
        config=small.idp.config,
        key=rsa_key(),
        grants=SqliteGrants(tmp_path / "grants.sqlite"),
        clock=small.clock,
    )
    small.parts["/oidc"] = idp_routes(other)
    assert exchange(small, code).status == 200
    other._grants.close()


def test_out_of_band_shows_the_code(small):
    answer = log_in(small, redirect_uri=OOB)
    (code,) = re.findall(r"<code>([^<]+)</code>", answer.text())
    assert exchange(small, code, redirect_uri=OOB).status == 200


@pytest.mark.parametrize("email", ["", "nobody", "a@b@c", "<x>@y", "a" * 300 + "@b.c"])
def test_asks_again_for_what_is_no_email(small, email):
    answer = log_in(small, email)
    assert answer.status == 400
    assert "is not an e-mail address" in unescape(answer.text())
    assert "<x>" not in answer.text()


@pytest.mark.parametrize(
    "uri",
    [
        "http://127.0.0.1:1/x",
        "http://[::1]:5/",
        "http://localhost/cb?a=b",
        "http://127.9.9.9:80/",
    ],
)
def test_redirects_to_loopback_on_any_port(small, uri):
    answer = log_in(small, redirect_uri=uri)
    assert answer.headers["location"].startswith(uri + ("&" if "?" in uri else "?"))


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "https://evil.example/cb",
        "http://evil.example/cb",
        "http://localhost.evil.example/",
        "http://localhost@evil.example/",
        "http://127.0.0.1:1@evil.example/",
        "http://[::1].evil.example/",
        "http://[::1].evil.example:80/",
        "http://[::1]evil.example/",
        "http://x[::1]/",
        "http://[::1%25.evil.example]/",
        "http://127.0.0.1:80:80/",
        "http://evil.example\\@127.0.0.1/",
        "http://127.0.0.1:99999/",
        "http://127.0.0.1/#fragment",
        "http://127.0.0.1/\r\nSet-Cookie: a=b",
        "//127.0.0.1/",
        "javascript:alert(1)",
        "http://0x7f.1/",
        "http://2130706433/",
        "urn:ietf:wg:oauth:2.0:oob:auto",
    ],
)
def test_refuses_to_redirect_anywhere_else(small, uri):
    for answer in (page(small, redirect_uri=uri), log_in(small, redirect_uri=uri)):
        assert answer.status == 400
        assert "location" not in answer.headers


@pytest.mark.parametrize(
    "changes",
    [
        {"client_id": "other"},
        {"response_type": "token"},
        {"code_challenge": ""},
        {"code_challenge_method": "plain"},
        {"code_challenge": "short"},
        {"state": "x" * 2000},
    ],
    ids=lambda value: next(iter(value)),
)
def test_refuses_a_request_that_is_not_right(small, changes):
    assert page(small, **changes).status in {400, 401}
    assert log_in(small, **changes).status in {400, 401}


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:9999"},
        {"host": "evil.example:8080"},
        {"host": "192.0.2.1:8080"},
        {"host": "evil.example"},
        {"host": "localhost.evil.example"},
        {"host": "evil.example@127.0.0.1:8080"},
        {"host": "127.0.0.1:8080/x"},
        {"host": "127.0.0.1:x"},
        {"host": "[::1"},
        {"host": ""},
    ],
    ids=str,
)
@pytest.mark.parametrize("path", ["/oidc/auth", "/oidc/token", "/oidc/device", "/oidc/device/code"])
def test_refuses_posts_from_foreign_pages(small, path, headers):
    assert small.post_form(path, {**ASK, "email": EMAIL}, **headers).status == 403


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.0.0.1:9000", "localhost", "localhost:1", "[::1]:8080", "a.localhost"]
)
def test_takes_posts_that_name_this_machine_as_a_proxy_on_it_does(small, host):
    """No foreign page has such a name; where the request comes from is still checked."""
    form = {**ASK, "email": EMAIL}
    assert small.post_form("/oidc/auth", form, host=host, origin=BASE_URL).status == 303
    assert small.post_form("/oidc/auth", form, host=host, origin="http://evil.example").status == 403


def test_takes_posts_from_its_own_pages(small):
    assert small.post_form("/oidc/auth", {**ASK, "email": EMAIL}, origin=BASE_URL).status == 303


@pytest.mark.parametrize("path", ["/oidc/auth", "/oidc/device"])
def test_a_browser_posts_the_forms_with_an_origin_that_is_accepted(small, path):
    """Under `no-referrer` it would say `Origin: null` (Fetch, "append a request `Origin` header")."""
    answer = small.request("GET", path, query=urlencode(ASK))
    assert answer.headers["referrer-policy"] == "same-origin"


@pytest.mark.parametrize("credentials", ["\xe9\xe9", "****", "/w==", "c2lnc3RvcmU"])
def test_refuses_client_credentials_that_are_no_base64_of_text(small, credentials):
    refused(small.post_form("/oidc/token", {}, authorization=f"Basic {credentials}"), "invalid_client", 401)


def start_device(small: SmallCa, **changes):
    fields = {
        "client_id": "sigstore",
        "scope": "openid email",
        "code_challenge": CHALLENGE,
        "code_challenge_method": "S256",
        **changes,
    }
    return small.post_form("/oidc/device/code", fields)


def poll(small: SmallCa, device_code: str, **changes):
    fields = {"grant_type": DEVICE_GRANT, "device_code": device_code, "code_verifier": VERIFIER, **changes}
    return small.post_form("/oidc/token", fields)


def test_the_device_flow_ends_in_a_token(small):
    codes = start_device(small).json()
    assert re.fullmatch(r"[A-Z]{4}-[A-Z]{4}", codes["user_code"])
    refused(poll(small, codes["device_code"]), "authorization_pending")
    uri = urlsplit(codes["verification_uri_complete"])
    shown = small.request("GET", uri.path, query=uri.query)
    assert codes["user_code"] in shown.text()
    typed = codes["user_code"].lower().replace("-", " ")
    assert small.post_form("/oidc/device", {"user_code": typed, "email": EMAIL}).status == 200
    found = poll(small, codes["device_code"]).json()
    assert claims_of(small, found["id_token"]).values["email"] == EMAIL
    assert found["access_token"] == found["id_token"]
    refused(poll(small, codes["device_code"]), "expired_token")


def test_a_user_code_serves_once_and_expires(small):
    codes = start_device(small).json()
    fields = {"user_code": codes["user_code"], "email": EMAIL}
    assert small.post_form("/oidc/device", {**fields, "email": "nobody"}).status == 400
    assert small.post_form("/oidc/device", fields).status == 200
    assert small.post_form("/oidc/device", fields).status == 400
    late = start_device(small).json()
    small.pass_time(minutes=11)
    assert small.post_form("/oidc/device", {**fields, "user_code": late["user_code"]}).status == 400
    refused(poll(small, late["device_code"]), "expired_token")


def test_a_device_code_is_of_no_use_without_its_verifier(small):
    codes = start_device(small).json()
    small.post_form("/oidc/device", {"user_code": codes["user_code"], "email": EMAIL})
    refused(poll(small, codes["device_code"], code_verifier="w" * 43), "invalid_grant")
    plain = start_device(small, code_challenge="", code_challenge_method="").json()
    small.post_form("/oidc/device", {"user_code": plain["user_code"], "email": EMAIL})
    assert poll(small, plain["device_code"], code_verifier="").status == 200


def test_the_device_endpoint_knows_one_client(small):
    refused(start_device(small, client_id="other"), "invalid_client", 401)
    refused(poll(small, "nonsense"), "expired_token")
    refused(exchange(small, start_device(small).json()["device_code"]), "invalid_grant")


def dev_token(small: SmallCa, secret: str, **changes):
    fields = {"grant_type": "urn:hallmark:dev-token", "email": EMAIL, **changes}
    return small.post_form("/oidc/token", fields, authorization=f"Bearer {secret}")


def test_the_command_line_gets_a_token_for_its_secret(small):
    raw = dev_token(small, SECRET).json()["access_token"]
    assert claims_of(small, raw).values["email"] == EMAIL


def test_the_command_line_gets_nothing_without_its_secret(small):
    for secret in ("", "wrong", SECRET + "x"):
        answer = dev_token(small, secret)
        refused(answer, "invalid_client", 401)
        assert not secret or secret not in answer.text()
    refused(dev_token(small, SECRET, email="nobody"), "invalid_request")
    bare = IdentityProvider(
        config=IdpConfig(base_url=BASE_URL), key=rsa_key(), grants=small.grants, clock=small.clock
    )
    small.parts["/oidc"] = idp_routes(bare)
    refused(dev_token(small, ""), "invalid_client", 401)


def test_refuses_forms_that_are_too_large_or_ambiguous(small):
    head = {"host": "127.0.0.1:8080"}
    assert small.request("POST", "/oidc/token", b"a" * 20_000, head).status == 413
    refused(small.request("POST", "/oidc/token", b"code=a&code=b", head), "invalid_request")
    refused(
        small.request("POST", "/oidc/token", b"&".join(b"%d=" % n for n in range(99)), head),
        "invalid_request",
    )
    refused(small.request("POST", "/oidc/token", b"\xff\xfe", head), "unsupported_grant_type")
    refused(small.post_form("/oidc/token", {"grant_type": "password"}), "unsupported_grant_type")


@pytest.mark.parametrize(
    "url",
    [
        "http://192.0.2.1:8080",
        "http://0.0.0.0:8080",
        "https://sigstore.example",
        "http://localhost.example",
        "http://127.0.0.1:8080?x",
        "http://127.0.0.1:8080#x",
        "http://user@127.0.0.1",
        "http://[::1].evil.example",
        "http://[::1]evil.example:80",
        "http://127.0.0.1:x",
        "ftp://127.0.0.1",
        "",
    ],
)
def test_refuses_to_start_on_anything_but_loopback(small, url):
    with pytest.raises(ConfigurationError) as caught:
        IdentityProvider(
            config=IdpConfig(base_url=url), key=rsa_key(), grants=small.grants, clock=small.clock
        )
    assert caught.value.code == "not_loopback"


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:8080", "http://localhost:1", "http://[::1]:9", "http://a.localhost/b"]
)
def test_starts_on_loopback(small, url):
    IdentityProvider(config=IdpConfig(base_url=url), key=rsa_key(), grants=small.grants, clock=small.clock)
