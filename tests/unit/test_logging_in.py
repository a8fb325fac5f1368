"""Logging in as a person: what the identity provider says, the way back from the browser, other devices."""

import json

import pytest
from tests.support.identity_provider import EMAIL, Person, Provider, jwt
from tests.support.loopback import LoopbackServer, Reply, in_turn

from hallmark.client import browser as browser_module
from hallmark.client import oidc as oidc_module
from hallmark.client.browser import log_in_with_browser
from hallmark.client.http import HttpClient
from hallmark.client.oidc import (
    OidcIssuer,
    authorization_url,
    discover,
    log_in_by_device,
    log_in_out_of_band,
    new_pkce,
    redeem_code,
)
from hallmark.errors import HallmarkError, MalformedInput, Unauthenticated

PENDING = Reply(400, b'{"error":"authorization_pending"}')
SLOWER = Reply(400, b'{"error":"slow_down"}')


class Clock:
    """A clock that moves when somebody sleeps."""

    def __init__(self) -> None:
        self.now, self.pauses = 0.0, []

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(oidc_module, "time", clock)
    return clock


@pytest.fixture
def provider():
    return Provider()


@pytest.fixture
def url(provider):
    with LoopbackServer(provider) as server:
        yield server.url


@pytest.fixture
def http():
    return HttpClient(timeout_seconds=5, patience_seconds=0)


@pytest.fixture
def issuer(url, http):
    return discover(url, http)


def refused(code: str, act) -> str:
    with pytest.raises(HallmarkError) as caught:
        act()
    assert caught.value.code == code
    return caught.value.message


class TestDiscovery:
    @pytest.mark.parametrize(("asked", "named"), [("", ""), ("/", ""), ("", "/")])
    def test_a_provider_is_found_with_its_endpoints(self, provider, url, http, asked, named):
        provider.document["issuer"] = url + named
        found = discover(url + asked, http)
        assert found == OidcIssuer(
            issuer=url + named,
            authorization_endpoint=f"{url}/auth",
            token_endpoint=f"{url}/token",
            device_authorization_endpoint=f"{url}/device",
        )

    @pytest.mark.parametrize(
        ("document", "code"),
        [
            ({"issuer": "https://other.test"}, "wrong_oidc_issuer"),
            ({"authorization_endpoint": "file:///etc/passwd"}, "malformed_answer"),
            ({"authorization_endpoint": "ssh://host"}, "malformed_answer"),
            ({"token_endpoint": 7}, "malformed_answer"),
        ],
    )
    def test_a_provider_that_says_something_else_is_refused(self, provider, url, http, document, code):
        provider.document |= document
        refused(code, lambda: discover(url, http))

    @pytest.mark.parametrize("scheme", ["http", "https"])
    def test_the_page_to_log_in_may_be_elsewhere_on_the_web(self, provider, url, http, scheme):
        provider.document["authorization_endpoint"] = f"{scheme}://login.test/"
        assert discover(url, http).authorization_endpoint == f"{scheme}://login.test/"

    def test_what_is_no_provider_is_refused(self, http):
        with LoopbackServer(in_turn(Reply(404))) as server:
            refused("service_not_found", lambda: discover(server.url, http))
        with LoopbackServer(in_turn(Reply(201, b"{}"))) as server:
            refused("request_refused", lambda: discover(server.url, http))

    @pytest.mark.parametrize("more", [0, 1])
    def test_its_description_has_up_to_256_kibibytes(self, url, http, provider, more, monkeypatch):
        whole = json.loads(provider_document(provider, url))
        size = 256 * 1024 - len(json.dumps({**whole, "pad": ""}))
        provider.document["pad"] = "x" * (size + more)
        if more:
            monkeypatch.setattr("hallmark.client.http.time.sleep", lambda _seconds: None)
            refused("service_unreachable", lambda: discover(url, http))
        else:
            assert discover(url, http)


def provider_document(provider: Provider, url: str) -> bytes:
    return json.dumps(provider._describe(url)).encode()


class TestAuthorization:
    @pytest.mark.parametrize(("endpoint", "first"), [("/auth", "/auth?"), ("/auth?a=b", "/auth?a=b&")])
    def test_the_url_to_log_in_at_keeps_what_the_endpoint_says(self, endpoint, first):
        issuer = OidcIssuer(issuer="i", authorization_endpoint=endpoint, token_endpoint="t")
        assert authorization_url(issuer, new_pkce(), "http://back").startswith(first + "response_type=code&")

    def test_the_token_must_be_of_this_login(self, provider, issuer, http):
        pkce = new_pkce()
        code = provider.authorize(authorization_url(issuer, pkce, "http://back"))
        assert redeem_code(issuer, code, pkce, "http://back", http).unverified_identity == EMAIL
        provider.claims["nonce"] = "of another login"
        refused("wrong_nonce", lambda: redeem_code(issuer, code, pkce, "http://back", http))

    @pytest.mark.parametrize("name", ["id_token", "access_token"])
    def test_a_provider_may_name_the_token_otherwise(self, provider, issuer, http, name):
        pkce = new_pkce()
        token = jwt({"iss": "i", "aud": "sigstore", "exp": 1, "sub": "s", "nonce": pkce.nonce})
        provider.tokens.append(Reply(200, json.dumps({name: token}).encode()))
        assert redeem_code(issuer, "code", pkce, "http://back", http).raw == token

    @pytest.mark.parametrize(
        ("reply", "code", "said"),
        [
            (Reply(400, b'{"error":"invalid_grant"}'), "login_refused", "invalid_grant"),
            (Reply(401), "login_refused", "401"),
            (Reply(403), "login_refused", "403"),
            (Reply(404), "service_not_found", ""),
            (Reply(500), "service_failed", ""),
            (Reply(200, b"<html>"), "malformed_answer", ""),
        ],
    )
    def test_a_refusal_says_whose_fault_it_is(self, provider, issuer, http, reply, code, said):
        provider.tokens.append(reply)
        assert said in refused(code, lambda: redeem_code(issuer, "code", new_pkce(), "http://back", http))

    def test_a_code_is_sent_once_even_where_the_answer_breaks_off(self, provider, issuer, http):
        """It may have been redeemed, and a provider takes a second use of it for a theft."""
        provider.tokens.append(Reply(broken=True))
        refused("service_unreachable", lambda: redeem_code(issuer, "code", new_pkce(), "http://back", http))
        assert len(provider.forms) == 1

    def test_an_answer_without_a_token_is_none(self, provider, issuer, http):
        provider.tokens.append(Reply(200, b"{}"))
        with pytest.raises(MalformedInput, match="is empty"):
            redeem_code(issuer, "code", new_pkce(), "http://back", http)

    def test_a_code_may_be_typed(self, provider, issuer, http):
        token = log_in_out_of_band(issuer, lambda url: f" {provider.authorize(url)}\n", http)
        assert token.unverified_identity == EMAIL
        refused("login_refused", lambda: log_in_out_of_band(issuer, lambda _: "guessed", http))
        sent = len(provider.forms)
        refused("no_code", lambda: log_in_out_of_band(issuer, lambda _: " \n", http))
        assert len(provider.forms) == sent


class TestAnotherDevice:
    def test_the_person_is_waited_for(self, provider, issuer, http, clock):
        shown = []
        provider.tokens += [PENDING, SLOWER, PENDING]
        assert log_in_by_device(issuer, shown.append, http).unverified_identity == EMAIL
        assert (shown[0].user_code, shown[0].verification_uri.rpartition("/")[2]) == ("u", "at")
        assert clock.pauses == [5, 5, 10, 10]
        assert {form["device_code"] for form in provider.forms[1:]} == {"d"}

    @pytest.mark.parametrize(("asked", "waited"), [(0, 1), (1, 1), (2, 2), (60, 60), (61, 60)])
    def test_the_interval_is_the_provider_s_within_a_minute(
        self, provider, issuer, http, clock, asked, waited
    ):
        provider.device["interval"] = asked
        log_in_by_device(issuer, lambda _: None, http)
        assert clock.pauses == [waited]

    @pytest.mark.parametrize(
        ("says", "polls"),
        [
            ({"expires_in": 10}, 1),  # the next one would come as it expires
            ({"expires_in": 11}, 2),
            ({"expires_in": 0, "interval": 1}, 0),
            ({"expires_in": 1 << 30, "interval": 60}, 29),  # half an hour at most
            ({"interval": 60}, 9),  # ten minutes where it says nothing of that
        ],
    )
    def test_nobody_waits_for_ever(self, provider, issuer, http, clock, says, polls):
        provider.device |= says
        provider.tokens += [PENDING] * 200
        refused("login_expired", lambda: log_in_by_device(issuer, lambda _: None, http))
        assert len(clock.pauses) == polls

    @pytest.mark.parametrize("reply", [Reply(400, b'{"error":"access_denied"}'), Reply(403, PENDING.body)])
    def test_a_refusal_ends_it(self, provider, issuer, http, clock, reply):
        provider.tokens.append(reply)
        refused("login_refused", lambda: log_in_by_device(issuer, lambda _: None, http))
        assert len(clock.pauses) == 1

    def test_a_provider_need_not_have_it(self, provider, issuer, http):
        provider.device = Reply(404)
        refused("service_not_found", lambda: log_in_by_device(issuer, lambda _: None, http))
        provider.document["device_authorization_endpoint"] = ""
        without = discover(issuer.issuer, http)
        refused("no_device_flow", lambda: log_in_by_device(without, lambda _: None, http))


class TestBrowser:
    def test_who_logs_in_there_is_logged_in_here(self, provider, issuer, http):
        person, shown = Person(provider), []
        token = log_in_with_browser(issuer, shown.append, http, open_browser=person.log_in)
        assert token.unverified_identity == EMAIL
        assert shown[0].startswith(f"{issuer.authorization_endpoint}?")
        assert person.wait() == [200]
        _, headers, body = person.seen[0]
        assert b"You are logged in" in body
        assert headers["Cache-Control"] == "no-store"
        assert headers["Content-Security-Policy"] == "default-src 'none'"

    @pytest.mark.parametrize(
        "query",
        [
            {},
            {"code": "stolen"},
            {"code": "stolen", "state": "guessed"},
            {"code": "stolen", "state": "gu\u00e9ssed"},
            {"code": "stolen", "state": "STATE", **{str(number): "x" for number in range(15)}},
        ],
    )
    def test_an_answer_that_is_not_to_this_login_changes_nothing(self, provider, issuer, http, query):
        person = Person(provider, query)
        assert log_in_with_browser(issuer, lambda _: None, http, open_browser=person.log_in)
        assert person.wait() == [400, 200]
        assert b"The login failed" in person.seen[0][2]

    def test_an_answer_at_another_path_changes_nothing(self, provider, issuer, http):
        person = Person(provider, {"code": "stolen", "state": "STATE"}, path="/more")
        assert log_in_with_browser(issuer, lambda _: None, http, open_browser=person.log_in)
        assert person.wait() == [400, 200]

    def test_an_answer_has_up_to_16_fields(self, provider, issuer, http):
        fields = {str(number): "x" for number in range(14)}
        person = Person(provider, {"code": "the code", "state": "STATE", **fields})
        assert log_in_with_browser(issuer, lambda _: None, http, open_browser=person.log_in)
        assert person.wait()[0] == 200

    @pytest.mark.parametrize(
        ("query", "said"),
        [
            ({"error": "access_denied"}, "access_denied"),
            ({"error": "access_denied", "error_description": "not today"}, "not today"),
            ({}, "no code came"),
        ],
    )
    def test_a_provider_that_refuses_ends_the_login(self, provider, issuer, http, query, said):
        person = Person(provider, {"state": "STATE", **query})

        def log_in():
            log_in_with_browser(issuer, lambda _: None, http, open_browser=person.log_in)

        assert refused("login_refused", log_in).endswith(f": {said}")
        assert person.wait()[0] == 400

    def test_nobody_is_waited_for_for_ever(self, issuer, http):
        with pytest.raises(Unauthenticated) as caught:
            log_in_with_browser(issuer, lambda _: None, http, open_browser=lambda _: False, login_seconds=0.1)
        assert caught.value.code == "login_expired"

    def test_a_login_that_comes_in_its_last_second_is_taken(self, provider, issuer, http, monkeypatch):
        monkeypatch.setattr(browser_module, "time", Clock())
        person = Person(provider)
        assert log_in_with_browser(
            issuer, lambda _: None, http, open_browser=person.log_in, login_seconds=1.0
        )
        assert person.wait() == [200]

    def test_two_may_log_in_at_once(self, provider, issuer, http):
        identities = []

        def another_first(url: str) -> bool:
            other = Person(provider)
            identities.append(log_in_with_browser(issuer, lambda _: None, http, open_browser=other.log_in))
            other.wait()
            return person.log_in(url)

        person = Person(provider)
        identities.append(log_in_with_browser(issuer, lambda _: None, http, open_browser=another_first))
        assert [item.unverified_identity for item in identities] == [EMAIL, EMAIL]
