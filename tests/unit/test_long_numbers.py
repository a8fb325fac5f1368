"""Numbers of any length in requests and options end nothing."""

import pytest
from tests.support.small_ca import b64url

from hallmark.client.identity_token import parse_identity_token
from hallmark.errors import ConfigurationError, MalformedInput
from hallmark.instance.listening import parse_listen
from hallmark.web.asgi import content_length


@pytest.mark.parametrize("value", [b"9" * 5000, b"9" * 19, b"-1", b"1e3", b""])
def test_a_content_length_that_is_none_announces_nothing(value):
    assert content_length({"headers": [(b"content-length", value)]}) is None


def test_a_content_length_is_read():
    assert content_length({"headers": [(b"content-length", b"9" * 18)]}) == int("9" * 18)


@pytest.mark.parametrize("port", ["0" * 5000, "65536", "9" * 5000, "099999"])
def test_a_port_that_is_none_is_refused(port):
    with pytest.raises(ConfigurationError) as caught:
        parse_listen(f"127.0.0.1:{port}")
    assert caught.value.code == "bad_address"


def test_the_last_port_is_one():
    assert parse_listen("127.0.0.1:65535").port == 65535


def test_a_token_that_names_a_claim_twice_is_refused():
    claims = b'{"iss":"i","sub":"s","aud":"a","exp":4102444800%s}'
    header = b64url(b'{"alg":"RS256"}')
    assert parse_identity_token(f"{header}.{b64url(claims % b'')}.x").unverified_identity == "s"
    with pytest.raises(MalformedInput) as caught:
        parse_identity_token(f"{header}.{b64url(claims % b',' + b'')}.x")
    twice = claims % b',"sub":"t"'
    with pytest.raises(MalformedInput) as caught:
        parse_identity_token(f"{header}.{b64url(twice)}.x")
    assert caught.value.code == "malformed_token"
