"""The login pages of the development issuer, in a real browser."""

import base64
import hashlib
import json
import secrets
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
import urllib3
from tests.support.browser import Browser
from tests.support.instance import RunningInstance

EMAIL = "alice@example.com"
http = urllib3.PoolManager(retries=False, timeout=30)


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    running = Browser(tmp_path_factory.mktemp("profile"))
    yield running
    running.quit()


@pytest.fixture(scope="module")
def instance(tmp_path_factory, browser):
    running = RunningInstance(
        tmp_path_factory.mktemp("data") / "instance", tmp_path_factory.mktemp("home"), "--workers", "2"
    )
    yield running
    http.clear()
    assert running.stop() == 0


class _Landing(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"you may close this window")

    def log_message(self, *_arguments):
        pass


@pytest.fixture
def landing():
    """Where a client waits for the code."""
    with HTTPServer(("127.0.0.1", 0), _Landing) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://localhost:{server.server_port}/auth/callback"
        server.shutdown()
        thread.join()


def post(url: str, fields: dict[str, str]):
    body = urlencode(fields).encode()
    return http.request("POST", url, body=body, headers={"Content-Type": "application/x-www-form-urlencoded"})


def claims_of(token: str) -> dict:
    payload = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))


def authorization_url(instance, verifier: str, redirect_uri: str) -> str:
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
    parameters = {
        "response_type": "code",
        "client_id": "sigstore",
        "scope": "openid email",
        "redirect_uri": redirect_uri,
        "code_challenge": challenge,
        "code_challenge_method": "S256",
        "state": "the state",
        "nonce": "the nonce",
    }
    return f"{instance.base_url}/oidc/auth?{urlencode(parameters)}"


def redeem(instance, code: str, verifier: str, redirect_uri: str) -> dict:
    fields = {"grant_type": "authorization_code", "client_id": "sigstore"}
    fields |= {"code": code, "code_verifier": verifier, "redirect_uri": redirect_uri}
    return post(f"{instance.base_url}/oidc/token", fields).json()


def test_a_person_signs_in_and_the_client_gets_a_token(instance, browser, landing):
    verifier = secrets.token_urlsafe(48)
    browser.open(authorization_url(instance, verifier, landing))
    assert "development" in browser.text
    browser.type("input[name=email]", EMAIL)
    browser.submit("button")
    arrived = parse_qs(urlsplit(browser.wait_for("/auth/callback")).query)
    assert arrived["state"] == ["the state"]
    answer = redeem(instance, arrived["code"][0], verifier, landing)
    claims = claims_of(answer["id_token"])
    assert (claims["email"], claims["nonce"], claims["aud"]) == (EMAIL, "the nonce", "sigstore")
    assert answer["access_token"] == answer["id_token"]
    again = redeem(instance, arrived["code"][0], verifier, landing)
    assert again["error"] == "invalid_grant"


def test_out_of_band_the_code_is_shown(instance, browser):
    verifier, redirect_uri = secrets.token_urlsafe(48), "urn:ietf:wg:oauth:2.0:oob"
    browser.open(authorization_url(instance, verifier, redirect_uri))
    browser.type("input[name=email]", EMAIL)
    browser.submit("button")
    code = browser.text.splitlines()[-1].strip()
    assert claims_of(redeem(instance, code, verifier, redirect_uri)["id_token"])["email"] == EMAIL


def test_a_device_is_let_in_by_its_code(instance, browser):
    verifier = secrets.token_urlsafe(48)
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
    fields = {"client_id": "sigstore", "scope": "openid email"}
    fields |= {"code_challenge": challenge, "code_challenge_method": "S256"}
    started = post(f"{instance.base_url}/oidc/device/code", fields).json()
    grant = {
        "grant_type": "urn:ietf:params:oauth:grant-type:device_code",
        "client_id": "sigstore",
        "device_code": started["device_code"],
        "code_verifier": verifier,
    }
    assert post(f"{instance.base_url}/oidc/token", grant).json()["error"] == "authorization_pending"
    browser.open(started["verification_uri_complete"])
    browser.type("input[name=email]", EMAIL)
    browser.submit("button")
    assert claims_of(post(f"{instance.base_url}/oidc/token", grant).json()["id_token"])["email"] == EMAIL
