"""An instance behind nginx: with and without a Host header, on a socket, below a path kept or stripped."""

import re
import tempfile
from pathlib import Path
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
import urllib3
from tests.support.instance import RunningInstance
from tests.support.nginx import Nginx, free_port, let_in

EMAIL = "alice@example.com"
REDIRECT = "http://localhost:45678/auth/callback"
LOCATIONS = {
    "as it comes": ("", "location / {{ proxy_pass http://{upstream}; }}"),
    "host without port": ("", "location / {{ proxy_pass http://{upstream}; proxy_set_header Host $host; }}"),
    "host": ("", "location / {{ proxy_pass http://{upstream}; proxy_set_header Host $http_host; }}"),
    "path stripped": ("/team/ca", "location /team/ca/ {{ proxy_pass http://{upstream}/; }}"),
    "path kept": ("/team/ca", "location /team/ca/ {{ proxy_pass http://{upstream}; }}"),
}


@pytest.fixture
def folder():
    """What nginx must reach stands outside of pytest's folders, which are closed to all but one user."""
    with tempfile.TemporaryDirectory(prefix="hallmark-nginx-") as name:
        let_in(Path(name))
        yield Path(name)


@pytest.fixture(params=[(name, kind) for name in LOCATIONS for kind in ("port", "socket")], ids=str)
def proxied(tmp_path, folder, request):
    """An instance that is reached through nginx alone."""
    name, kind = request.param
    path, location = LOCATIONS[name]
    port, own = free_port(), free_port()
    listen = f"127.0.0.1:{own}" if kind == "port" else f"unix:{folder}/s"
    upstream = f"127.0.0.1:{own}" if kind == "port" else f"unix:{folder}/s:"
    options = ("--public-url", f"http://localhost:{port}{path}", "--workers", "2")
    instance = RunningInstance(tmp_path / "data", tmp_path, *options, listen=listen)
    nginx = Nginx(folder / "nginx", port, location.format(upstream=upstream))
    yield instance
    nginx.stop()
    assert instance.stop() == 0


def test_a_person_logs_in_and_a_file_is_signed_and_verified_also_after_a_rotation(proxied, tmp_path):
    code = log_in(proxied.base_url, f"http://{urlsplit(proxied.base_url).netloc}")
    assert code.status == 303
    assert parse_qs(urlsplit(code.headers["location"]).query)["code"]
    assert log_in(proxied.base_url, "http://evil.example").status == 403
    (tmp_path / "token").write_text(proxied.token(EMAIL))
    for name in ("before", "after"):
        file = tmp_path / name
        file.write_text(name)
        trust = ("--instance", proxied.base_url, "--identity-token", str(tmp_path / "token"))
        proxied.run("sign", *trust, str(file))
        root = str(proxied.client / "trusted_root.json")
        issuer = f"{proxied.base_url}/oidc"
        proxied.run("verify", str(file), "--identity", EMAIL, "--issuer", issuer, "--trusted-root", root)
        if name == "before":
            proxied.run("log", "rotate", "--data", str(proxied.root))


def log_in(base_url: str, origin: str):
    """Do what a browser does: get the form, and post it where it says."""
    ask = {
        "client_id": "sigstore",
        "redirect_uri": REDIRECT,
        "response_type": "code",
        "code_challenge": "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM",
        "code_challenge_method": "S256",
        "scope": "openid email",
    }
    with urllib3.PoolManager(retries=False, timeout=30) as pool:
        page = pool.request("GET", f"{base_url}/oidc/auth?{urlencode(ask)}")
        assert page.status == 200, page.data
        action = re.search(r'action="([^"]+)"', page.data.decode())[1]
        form = urlencode({**ask, "email": EMAIL})
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Origin": origin}
        return pool.request("POST", action, body=form, headers=headers, redirect=False)
