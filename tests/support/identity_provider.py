"""A small identity provider on loopback, and a person who logs in there; a test may change every answer."""

import base64
import hashlib
import json
import threading
import urllib.error
import urllib.request
from collections.abc import Mapping
from urllib.parse import parse_qsl, urlencode, urlsplit

from tests.support.loopback import Asked, Reply

EMAIL = "alice@example.com"


def jwt(claims: Mapping[str, object]) -> str:
    payload = base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=").decode()
    return f"e30.{payload}.c2lnbmF0dXJl"


class Provider:
    """Answers as RFC 6749, 7636 and 8628 say; `tokens` are replies that the token endpoint gives first."""

    def __init__(self) -> None:
        self.document: dict[str, object] = {}
        self.claims: dict[str, object] = {"aud": "sigstore", "exp": 2**33, "email": EMAIL}
        self.device: Reply | dict[str, object] = {"device_code": "d", "user_code": "u"}
        self.tokens: list[Reply] = []
        self.forms: list[dict[str, str]] = []
        self.asked: dict[str, str] = {}

    def __call__(self, asked: Asked) -> Reply:
        here = f"http://{asked.headers['Host']}"
        if asked.path == "/.well-known/openid-configuration":
            return Reply(200, json.dumps(self._describe(here)).encode())
        form = dict(parse_qsl(asked.body.decode()))
        self.forms.append(form)
        if asked.path == "/device":
            described = self.device
            if isinstance(described, Reply):
                return described
            return Reply(200, json.dumps({"verification_uri": f"{here}/at", **described}).encode())
        return self.tokens.pop(0) if self.tokens else self._redeem(here, form)

    def _describe(self, here: str) -> dict[str, object]:
        endpoints = {"authorization": "auth", "token": "token", "device_authorization": "device"}
        described = {f"{name}_endpoint": f"{here}/{path}" for name, path in endpoints.items()}
        return {"issuer": here, **described, **self.document}

    def authorize(self, url: str) -> str:
        """Let a person log in at the URL of a login; returns the code."""
        self.asked = dict(parse_qsl(urlsplit(url).query))
        return "the code"

    def _redeem(self, here: str, form: Mapping[str, str]) -> Reply:
        challenge = base64.urlsafe_b64encode(hashlib.sha256(form["code_verifier"].encode()).digest())
        first = self.asked or next(item for item in self.forms if "code_challenge" in item)
        proved = challenge.decode().rstrip("=") == first["code_challenge"]
        sent_back = form.get("redirect_uri") == self.asked.get("redirect_uri")
        if not (proved and sent_back and form.get("code", "the code") == "the code"):
            return Reply(400, b'{"error":"invalid_grant"}')
        claims = {"iss": here, "nonce": self.asked.get("nonce", ""), **self.claims}
        return Reply(200, json.dumps({"id_token": jwt(claims)}).encode())


class Person:
    """Comes back from the login page with each of the queries, in order."""

    def __init__(self, provider: Provider, *queries: Mapping[str, str], path: str = "") -> None:
        self.provider, self.queries, self.path = provider, queries, path
        self.seen: list[tuple[int, Mapping[str, str], bytes]] = []

    def log_in(self, url: str) -> bool:
        """Do what a browser would, beside the program that waits."""
        code = self.provider.authorize(url)
        good = {"code": code, "state": self.provider.asked["state"]}
        self._thread = threading.Thread(target=self._return, args=([*self.queries, good],))
        self._thread.start()
        return True

    def wait(self) -> list[int]:
        """Wait until it is done; returns the statuses that it was shown."""
        self._thread.join()
        return [status for status, _, _ in self.seen]

    def _return(self, queries: list[Mapping[str, str]]) -> None:
        back = self.provider.asked["redirect_uri"]
        for number, query in enumerate(queries):
            elsewhere = self.path if number < len(self.queries) else ""
            url = f"{back}{elsewhere}?{urlencode(query)}".replace("STATE", self.provider.asked["state"])
            try:
                with urllib.request.urlopen(url, timeout=20) as answer:
                    self.seen.append((answer.status, answer.headers, answer.read()))
            except urllib.error.HTTPError as error:
                self.seen.append((error.code, error.headers, error.read()))
                error.close()
            except OSError:
                return  # nobody waits for it any more
