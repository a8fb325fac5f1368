import pytest
from tests.support.loopback import LoopbackServer, Reply, in_turn

from hallmark.client.http import HttpClient
from hallmark.client.proxies import find_proxy
from hallmark.errors import ConfigurationError, RemoteError

P, Q = "http://p.example:3128", "http://q.example:3128"


@pytest.mark.parametrize(
    ("url", "environment", "proxy"),
    [
        ("https://a.example", {}, None),
        ("https://a.example", {"https_proxy": P, "http_proxy": Q}, P),
        ("http://a.example", {"https_proxy": P, "http_proxy": Q}, Q),
        ("https://a.example", {"HTTPS_PROXY": P}, P),
        ("https://a.example", {"HTTPS_PROXY": P, "https_proxy": Q}, Q),
        ("http://a.example", {"HTTPS_PROXY": P}, None),
        ("https://a.example", {"ALL_PROXY": P}, P),
        ("https://a.example", {"ALL_PROXY": P, "HTTPS_PROXY": Q}, Q),
        ("http://a.example", {"all_proxy": P}, P),
        ("https://a.example", {"https_proxy": "p.example:3128"}, P),
        ("https://a.example", {"https_proxy": ""}, None),
        ("http://a.example", {"HTTP_PROXY": P}, P),
        ("http://a.example", {"HTTP_PROXY": P, "REQUEST_METHOD": "GET"}, None),
        ("http://a.example", {"http_proxy": P, "REQUEST_METHOD": "GET"}, P),
        ("https://a.example", {"HTTPS_PROXY": P, "REQUEST_METHOD": "GET"}, P),
        ("http://a.example", {"http_proxy": "http://p.example"}, "http://p.example"),
        ("http://a.example", {"http_proxy": "http://p.example:1"}, "http://p.example:1"),
        ("http://localhost:8080", {"http_proxy": P}, None),
        ("http://127.8.9.1", {"http_proxy": P}, None),
        ("http://[::1]:80", {"http_proxy": P}, None),
        ("http://128.0.0.1", {"http_proxy": P}, P),
        ("http://localhost.example", {"http_proxy": P}, P),
    ],
)
def test_the_environment_names_the_proxy(url, environment, proxy):
    assert find_proxy(url, environment) == proxy


@pytest.mark.parametrize(
    ("url", "no_proxy", "direct"),
    [
        ("https://a.example", "*", True),
        ("https://a.example", "a.example", True),
        ("https://A.Example.", "b.example, a.example", True),
        ("https://x.a.example", "a.example", True),
        ("https://xa.example", "a.example", False),
        ("https://a.example", ".a.example", False),
        ("https://x.a.example", ".a.example", True),
        ("https://x.a.example", "*.a.example", True),
        ("https://a.example", "a.example:443", True),
        ("https://a.example", "a.example:8443", False),
        ("https://a.example:8443", "a.example:8443", True),
        ("https://10.1.2.3", "10.1.2.3", True),
        ("https://10.1.2.3", "10.0.0.0/8", True),
        ("https://11.1.2.3", "10.0.0.0/8", False),
        ("https://10.1.2.3", "10.1.2.3:443", True),
        ("https://10.1.2.3", "10.1.2.3:80", False),
        ("https://[fd00::1]", "fd00::/8", True),
        ("https://[fd00::1]", "[fd00::1]:443", True),
        ("https://a.example", ",, ,", False),
        ("https://a.example", "", False),
    ],
)
def test_what_no_proxy_lists_is_reached_directly(url, no_proxy, direct):
    for name in ("no_proxy", "NO_PROXY"):
        assert (find_proxy(url, {"https_proxy": P, name: no_proxy}) is None) == direct


def test_a_port_that_a_url_does_not_name_is_that_of_its_scheme():
    for url, port in (("http://a.example", 80), ("https://a.example", 443), ("http://a.example:8080", 8080)):
        both = {"http_proxy": P, "https_proxy": P}
        assert find_proxy(url, {**both, "no_proxy": f"a.example:{port}"}) is None
        assert find_proxy(url, {**both, "no_proxy": f"a.example:{port + 1}"}) == P


@pytest.mark.parametrize(
    "proxy", ["socks5://secret@p.example", "http://", "http://[", "http://p:0", "http://p:x"]
)
def test_a_proxy_of_no_use_is_refused_without_showing_it(proxy):
    with pytest.raises(ConfigurationError, match="https_proxy") as caught:
        find_proxy("https://a.example", {"https_proxy": proxy})
    assert "secret" not in caught.value.message


def test_requests_go_through_the_proxy_with_its_login():
    with LoopbackServer(in_turn(Reply(200, b"from the proxy"))) as proxy:
        environment = {"http_proxy": proxy.url.replace("://", "://me:p%40ss@")}
        answer = HttpClient(environment=environment).get("http://a.test/x", service="the service")
    assert answer.body == b"from the proxy"
    assert proxy.asked[0].path == "http://a.test/x"
    headers = {name.lower(): value for name, value in proxy.asked[0].headers.items()}
    assert headers["proxy-authorization"] == "Basic bWU6cEBzcw=="


def test_a_proxy_that_refuses_or_is_away_is_named_as_such():
    with LoopbackServer(in_turn(Reply(200))) as proxy:
        for address, scheme in ((proxy.url, "https"), ("http://127.0.0.1:9", "http")):
            http = HttpClient(environment={"all_proxy": address}, deadline_seconds=0.1)
            with pytest.raises(RemoteError) as caught:
                http.get(f"{scheme}://a.test/x", service="the service")
            assert "proxy" in caught.value.message
            assert "https_proxy" in caught.value.hint
