"""Logins under way at the provider for development: how many, for how long, and who gives way."""

import hashlib

import pytest
from tests.support.asgi_call import call
from tests.support.small_ca import SmallCa, rsa_key

from hallmark.adapters.storage.grants import SqliteGrants
from hallmark.idp import http
from hallmark.idp.config import IdpConfig
from hallmark.idp.problems import OAuthError
from hallmark.idp.service import IdentityProvider

EMAIL = "alice@example.com"


@pytest.fixture
def small(tmp_path):
    made = SmallCa(tmp_path)
    yield made
    made.close()


def provider(small: SmallCa, **settings) -> IdentityProvider:
    config = IdpConfig(base_url="http://localhost:8080", **settings)
    return IdentityProvider(config=config, key=rsa_key(), grants=small.grants, clock=small.clock)


def start(idp: IdentityProvider):
    return idp.start_device({"client_id": "sigstore"})


def answer(idp: IdentityProvider, code: str) -> str:
    """What a device is told when it asks; `token` where it gets one."""
    try:
        idp.exchange_device_code({"device_code": code})
    except OAuthError as error:
        return error.code
    return "token"


def log_in(idp: IdentityProvider) -> str:
    parameters = {
        "client_id": "sigstore",
        "redirect_uri": "http://127.0.0.1:1/",
        "response_type": "code",
        "code_challenge": "x" * 43,
        "code_challenge_method": "S256",
    }
    return idp.authorize(idp.check_authorization(parameters), EMAIL)


def is_known(small: SmallCa, code: str) -> bool:
    key = hashlib.sha256(code.encode()).digest()
    return small.grants.get(key, now=int(small.now.timestamp())) is not None


def test_a_device_that_does_not_ask_is_soon_forgotten(small):
    idp = provider(small)
    asked, silent = start(idp), start(idp)
    small.pass_time(seconds=59)
    assert answer(idp, asked.device_code) == "authorization_pending"
    small.pass_time(seconds=1)
    assert answer(idp, silent.device_code) == "expired_token"
    with pytest.raises(OAuthError):
        idp.approve_device(silent.user_code, EMAIL)
    assert answer(idp, asked.device_code) == "authorization_pending"


def test_a_device_that_asks_waits_as_long_as_it_was_told(small):
    idp = provider(small)
    codes = start(idp)
    for _ in range(19):
        small.pass_time(seconds=30)
        assert answer(idp, codes.device_code) == "authorization_pending"
    small.pass_time(seconds=29)
    idp.approve_device(codes.user_code, EMAIL)
    assert answer(idp, codes.device_code) == "token"


def test_a_device_that_asks_for_ever_is_forgotten_in_the_end(small):
    idp = provider(small)
    codes = start(idp)
    for _ in range(19):
        small.pass_time(seconds=30)
        answer(idp, codes.device_code)
    small.pass_time(seconds=30)
    assert answer(idp, codes.device_code) == "expired_token"


def test_devices_that_never_ask_give_way_to_others(small):
    """Whoever asks for codes all the time blocks nobody: neither one who waits, nor one who comes."""
    idp = provider(small, max_grants=5)
    first = start(idp)
    small.pass_time(seconds=1)
    waiting = start(idp)
    small.pass_time(seconds=1)
    assert answer(idp, waiting.device_code) == "authorization_pending"
    for _ in range(3):
        start(idp)
    assert answer(idp, first.device_code) == "authorization_pending"
    small.pass_time(seconds=1)
    assert answer(idp, waiting.device_code) == "authorization_pending"
    flood = [start(idp) for _ in range(4)]
    assert answer(idp, waiting.device_code) == "authorization_pending"
    newest = start(idp)
    assert answer(idp, flood[0].device_code) == "authorization_pending"
    idp.approve_device(newest.user_code, EMAIL)
    assert answer(idp, newest.device_code) == "token"


def test_a_login_does_not_wait_for_devices(small):
    idp = provider(small, max_grants=5)
    code = log_in(idp)
    for _ in range(20):
        start(idp)
    assert is_known(small, code)
    codes = [log_in(idp) for _ in range(5)]
    assert not is_known(small, code)
    assert all(is_known(small, item) for item in codes)


def test_grants_expire_and_change_hands_once(tmp_path):
    grants, other = SqliteGrants(tmp_path / "g"), SqliteGrants(tmp_path / "g")
    grants.add(b"k", b"old", kind="a", most=1, expires_at=10, now=0)
    assert other.get(b"k", now=9) == b"old"
    assert other.get(b"k", now=10) is None
    assert other.replace(b"k", b"old", b"new", now=1)
    assert not grants.replace(b"k", b"old", b"newer", now=1)
    assert grants.take(b"k", now=1) == b"new"
    assert other.take(b"k", now=1) is None
    grants.close()
    other.close()


def test_so_many_grants_of_a_kind_are_kept(tmp_path):
    grants = SqliteGrants(tmp_path / "g")
    for number, end in enumerate((20, 10, 30)):
        grants.add(b"%d" % number, b"", kind="a", most=3, expires_at=end, now=0)
    grants.add(b"other", b"", kind="b", most=3, expires_at=5, now=0)
    assert grants.get(b"1", now=1) is not None
    grants.add(b"3", b"", kind="a", most=3, expires_at=15, now=0)
    left = [key for key in (b"0", b"1", b"2", b"3", b"other") if grants.get(key, now=1) is not None]
    assert left == [b"0", b"2", b"3", b"other"]
    grants.extend(b"3", expires_at=40, now=1)
    grants.extend(b"2", expires_at=1, now=1)
    assert grants.get(b"3", now=39) is not None
    assert grants.get(b"2", now=29) is not None
    grants.close()


def test_a_store_of_an_older_version_is_opened(tmp_path):
    grants = SqliteGrants(tmp_path / "g")
    grants._database.execute("CREATE TABLE grants (key BLOB PRIMARY KEY, value BLOB, expires_at INTEGER)")
    grants.close()
    grants = SqliteGrants(tmp_path / "g")
    grants.add(b"k", b"", kind="a", most=1, expires_at=10, now=0)
    grants.close()


@pytest.mark.parametrize(("most", "status"), [(1, 400), (0, 503)])
def test_only_so_many_requests_for_tokens_are_worked_on_at_once(small, most, status):
    routes = http.routes(provider(small, max_calls=most))
    head = {"host": "localhost:8080"}
    found = call(routes, "POST", "/token", b"grant_type=password", head)
    assert found.status == status
    assert found.headers.get("retry-after") == (None if most else "1")


def test_unfinished_forms_are_bounded_together(small):
    routes = http.routes(provider(small, max_body_bytes_in_flight=1000))
    for path in ("/token", "/auth"):
        found = call(routes, "POST", path, b" " * 2000, {"host": "localhost:8080"}, chunk=500)
        assert (found.status, found.headers["retry-after"]) == (503, "1")
