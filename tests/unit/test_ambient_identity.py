"""The identity that a CI system gives to its jobs, and what is said where it gives none."""

import json

import pytest
from tests.support.identity_provider import jwt
from tests.support.loopback import LoopbackServer, Reply, in_turn

from hallmark.client.ambient import detect_token
from hallmark.errors import RemoteError

SYSTEMS = ("GITHUB_ACTIONS", "BUILDKITE", "GITLAB_CI", "CIRCLECI", "K_SERVICE")


@pytest.fixture(autouse=True)
def no_system(monkeypatch):
    for name in SYSTEMS:
        monkeypatch.delenv(name, raising=False)


def github(monkeypatch, url: str, token: str = "secret") -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("ACTIONS_ID_TOKEN_REQUEST_URL", url)
    monkeypatch.setenv("ACTIONS_ID_TOKEN_REQUEST_TOKEN", token)


def test_a_job_has_the_token_of_its_system(monkeypatch):
    token = jwt({"iss": "github", "aud": "sigstore", "exp": 2**33})
    with LoopbackServer(in_turn(Reply(200, json.dumps({"value": token}).encode()))) as server:
        github(monkeypatch, server.url)
        assert detect_token("sigstore") == token
        assert server.asked[0].path == "/?audience=sigstore"


@pytest.mark.parametrize(("token", "hint"), [("", "id-token: write"), ("secret", "--identity-token")])
def test_a_job_that_gets_none_is_not_taken_for_a_person(monkeypatch, token, hint):
    with LoopbackServer(in_turn(Reply(403))) as server:
        github(monkeypatch, server.url, token)
        with pytest.raises(RemoteError) as caught:
            detect_token("sigstore")
    assert caught.value.code == "no_ambient_token"
    assert hint in caught.value.hint
