"""Where an instance listens, and what it is called for ever."""

import pytest

from hallmark.errors import ConfigurationError
from hallmark.instance.listening import Address, Reservation, check_public_url


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:8080", "https://localhost", "http://[::1]:8080", "http://127.0.0.1:8080/"]
)
def test_takes_a_base_url_and_drops_its_final_slash(url):
    assert check_public_url(url) == url.removesuffix("/")


@pytest.mark.parametrize(
    "url",
    [
        "http://[",
        "http://127.0.0.1:99999",
        "http://127.0.0.1:",
        "http://127.0.0.1:8080#x",
        "http://127.0.0.1:8080?",
        "http://127.0.0.1:8080//",
        "http://127.0.0.1:8080\n",
        "http://user@127.0.0.1:8080",
        "http://LOCALHOST:8080",
        "ftp://127.0.0.1",
        "127.0.0.1:8080",
        "",
    ],
)
def test_refuses_a_public_url_that_no_service_could_go_by(url):
    with pytest.raises(ConfigurationError) as refused:
        check_public_url(url)
    assert refused.value.code == "bad_url"


@pytest.mark.parametrize("host", ["\0", "é" * 70, "a..b"], ids=["zero", "long", "empty label"])
def test_refuses_a_host_that_is_no_name(host):
    with pytest.raises(ConfigurationError) as refused:
        Reservation(Address(host, 0))
    assert refused.value.code == "bad_address"
