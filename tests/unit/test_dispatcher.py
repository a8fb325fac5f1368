"""One application of several services: what a path must be, and what it never leads to."""

import asyncio

import pytest
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from hallmark.web.application import Dispatcher, mount


async def hello(_request):
    return PlainTextResponse("hello")


async def hot(_scope, _receive, send):
    await send({"type": "http.response.start", "status": 201, "headers": []})
    await send({"type": "http.response.body", "body": b""})


APP = Dispatcher(
    [
        Route("/healthz", hello),
        Route("/tile/{path:path}", hello),
        mount("/ctlog", [Route("/checkpoint", hello)]),
    ],
    {"/entries": hot},
)


def ask(path: str, method: str = "GET") -> dict:
    sent = []

    async def send(message):
        sent.append(message)

    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "root_path": "",
        "query_string": b"",
        "headers": [(b"host", b"evil.example")],
    }
    asyncio.run(APP(scope, None, send))
    return sent[0]


@pytest.mark.parametrize("path", ["/healthz", "/tile/0/000", "/ctlog/checkpoint"])
def test_a_path_is_what_it_is(path):
    assert ask(path)["status"] == 200
    for other in (f"{path}\n", f"{path}\r", f"{path}\0", f"{path}\x7f", f"\n{path}", f"{path}\u2028"):
        assert ask(other)["status"] == 404


@pytest.mark.parametrize("path", ["/healthz/", "/ctlog/checkpoint/", "/ctlog", "/ctlog/", "/entries/"])
def test_nothing_redirects(path):
    answer = ask(path)
    assert answer["status"] == 404
    assert all(name != b"location" for name, _ in answer["headers"])


def test_a_hot_path_is_exact():
    assert ask("/entries", "POST")["status"] == 201
    assert ask("/entries\n", "POST")["status"] == 404
