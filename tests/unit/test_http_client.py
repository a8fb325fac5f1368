import gzip
import json
import socket
import threading
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from tests.support.endless import EndlessAnswer
from tests.support.loopback import LoopbackServer, Reply, in_turn

from hallmark.client import http as http_module
from hallmark.client.http import Answer, HttpClient, one_line, problem_text, refused
from hallmark.errors import ConfigurationError, RemoteError

SERVICE = "the test service"


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch):
    """Retries wait; what is tested is how often they happen, not how long they take."""
    pauses = []
    monkeypatch.setattr(time, "sleep", pauses.append)
    return pauses


def get(url, http=None, **options):
    return (http or HttpClient(timeout_seconds=2)).get(url, service=SERVICE, **options)


def post(url, *, idempotent):
    http = HttpClient(timeout_seconds=2)
    return http.post(url, b"body", service=SERVICE, headers={"X-A": "b"}, idempotent=idempotent)


def test_returns_status_headers_and_body():
    with LoopbackServer(in_turn(Reply(201, b"made", {"X-Thing": "1"}))) as server:
        answer = post(server.url + "/x", idempotent=False)
    assert (answer.status, answer.body, answer.headers["x-thing"]) == (201, b"made", "1")
    assert server.asked[0].method == "POST"
    assert server.asked[0].headers["X-A"] == "b"
    assert server.asked[0].body == b"body"


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_repeats_an_idempotent_request_that_failed_in_passing(status):
    with LoopbackServer(in_turn(Reply(status), Reply(200, b"ok"))) as server:
        assert get(server.url).body == b"ok"
    assert len(server.asked) == 2


def test_returns_the_last_answer_when_a_service_stays_down(no_pauses):
    with LoopbackServer(in_turn(Reply(503))) as server:
        assert get(server.url).status == 503
    assert len(server.asked) == 4
    first, second, third = no_pauses
    assert 0.2 <= first <= 0.4 <= second <= 0.8 <= third <= 1.6


def test_waits_as_long_as_the_service_asks(no_pauses):
    with LoopbackServer(in_turn(Reply(503, headers={"Retry-After": "7"}), Reply())) as server:
        get(server.url)
    assert no_pauses == [7.0]


@pytest.mark.parametrize(("patience", "asked"), [(5.5, 2), (4.5, 1)])
def test_takes_later_for_an_answer_once_its_patience_is_over(patience, asked):
    http = HttpClient(timeout_seconds=2, patience_seconds=patience)
    replies = in_turn(Reply(503, headers={"Retry-After": "5"}), Reply(200))
    with LoopbackServer(replies) as server:
        assert get(server.url, http).status == (200 if asked == 2 else 503)
    assert len(server.asked) == asked


@pytest.mark.parametrize(("asks", "pauses"), [("10", [10.0]), ("11", [])])
def test_a_pause_has_up_to_ten_seconds(no_pauses, asks, pauses):
    http = HttpClient(timeout_seconds=2, patience_seconds=50)
    with LoopbackServer(in_turn(Reply(503, headers={"Retry-After": asks}), Reply(200))) as server:
        assert get(server.url, http).status == (200 if pauses else 503)
    assert no_pauses == pauses


@pytest.mark.parametrize("asks", ["\u00b2", "-1", "soon", ""])
def test_a_pause_that_is_no_number_is_the_client_s_own(no_pauses, asks):
    with LoopbackServer(in_turn(Reply(503, headers={"Retry-After": asks}), Reply(200))) as server:
        assert get(server.url).status == 200
    assert 0.2 <= no_pauses[0] <= 0.4


class Clock:
    """A clock that stands still unless a test moves it."""

    def __init__(self) -> None:
        self.now, self.sleep = 0.0, lambda _seconds: None

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(http_module, "time", clock)
    return clock


def test_an_attempt_that_patience_just_allows_is_made(clock):
    http = HttpClient(timeout_seconds=2, patience_seconds=5)
    with LoopbackServer(in_turn(Reply(503, headers={"Retry-After": "5"}), Reply(200))) as server:
        assert get(server.url, http).status == 200


@pytest.mark.parametrize(("seconds", "taken"), [(60.0, True), (60.5, False)])
def test_an_answer_is_taken_up_to_the_deadline(clock, seconds, taken):
    def answer(_asked) -> Reply:
        clock.now = seconds
        return Reply(200, b"ok")

    with LoopbackServer(answer) as server:
        http = HttpClient(timeout_seconds=30, deadline_seconds=60)
        if taken:
            assert get(server.url, http).body == b"ok"
        else:
            with pytest.raises(RemoteError, match="took too long"):
                get(server.url, http)


def test_does_not_wait_for_ever():
    with LoopbackServer(in_turn(Reply(503, headers={"Retry-After": "3600"}), Reply())) as server:
        assert get(server.url).status == 503


def test_repeats_what_is_not_idempotent_only_when_nothing_was_done():
    with LoopbackServer(in_turn(Reply(503), Reply(200))) as server:
        assert post(server.url, idempotent=False).status == 200
    with LoopbackServer(in_turn(Reply(429), Reply(200))) as server:
        assert post(server.url, idempotent=False).status == 200
    with LoopbackServer(in_turn(Reply(502), Reply(200))) as server:
        assert post(server.url, idempotent=False).status == 502
    with LoopbackServer(in_turn(Reply(broken=True), Reply(200))) as server:
        with pytest.raises(RemoteError) as caught:
            post(server.url, idempotent=False)
        assert len(server.asked) == 1
    assert caught.value.code == "service_unreachable"


def test_repeats_an_idempotent_request_whose_connection_broke():
    with LoopbackServer(in_turn(Reply(broken=True), Reply(200, b"ok"))) as server:
        assert post(server.url, idempotent=True).body == b"ok"


def test_names_the_service_that_does_not_answer():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(RemoteError) as caught:
        get(f"http://127.0.0.1:{port}")
    assert caught.value.message == f"{SERVICE} at 127.0.0.1:{port} failed: nothing answers there"
    assert caught.value.hint


def test_repeats_anything_that_did_not_reach_the_service(no_pauses):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(RemoteError):
        post(f"http://127.0.0.1:{port}", idempotent=False)
    assert len(no_pauses) == 3


def test_knows_how_far_its_clock_is_from_that_of_the_service():
    http = HttpClient(timeout_seconds=2)
    with LoopbackServer(in_turn(Reply())) as server:
        get(server.url, http)
    assert http.clock.host == server.url.removeprefix("http://")
    assert abs(http.clock.ahead) < timedelta(minutes=5)
    known = http.clock
    for useless in ("", "yesterday", "Sun, 01 Mar 2026 12:00:00 -0000"):
        http._note_clock(server.url, useless)
        assert http.clock is known
    http._note_clock(server.url, format_datetime(datetime.now(UTC) - timedelta(hours=1), usegmt=True))
    assert abs(http.clock.ahead - timedelta(hours=1)) < timedelta(minutes=5)


def test_takes_an_answer_that_is_compressed():
    body = gzip.compress(b"content")
    with LoopbackServer(in_turn(Reply(200, body, {"Content-Encoding": "gzip"}))) as server:
        assert get(server.url).body == b"content"


def test_names_an_unknown_host():
    with pytest.raises(RemoteError, match="host name is not known"):
        get("http://nothing.invalid/")


def test_gives_up_on_a_service_that_says_nothing():
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        with pytest.raises(RemoteError, match="does not answer in time"):
            get(f"http://127.0.0.1:{silent.getsockname()[1]}", HttpClient(timeout_seconds=0.1))


def test_gives_up_on_an_answer_that_drips():
    """Each byte comes in time, so only a bound on the whole answer ends it."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        stop = threading.Event()

        def drip():
            connection, _ = server.accept()
            with connection:
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
                while not stop.wait(0.02):
                    connection.sendall(b"x")

        thread = threading.Thread(target=drip)
        thread.start()
        http = HttpClient(timeout_seconds=1, deadline_seconds=0.3)
        try:
            with pytest.raises(RemoteError):
                get(f"http://127.0.0.1:{server.getsockname()[1]}", http)
        finally:
            stop.set()
            thread.join()


@pytest.mark.parametrize("headers", [{"Content-Length": "100"}, {"Transfer-Encoding": "chunked"}])
def test_refuses_an_answer_that_breaks_off(headers):
    body = b"20\r\nhalf of it" if "Transfer-Encoding" in headers else b"half of it"
    close = {**headers, "Connection": "close"}
    if "Content-Length" not in headers:
        close["Content-Length"] = ""
    broken = in_turn(Reply(200, body, close))
    with LoopbackServer(broken) as server, pytest.raises(RemoteError):
        get(server.url)


def test_refuses_an_answer_over_the_bound():
    with LoopbackServer(in_turn(Reply(200, b"x" * 1001))) as server:
        assert len(get(server.url, max_bytes=1001).body) == 1001
        with pytest.raises(RemoteError, match="more than 1000 bytes"):
            get(server.url, max_bytes=1000)


def test_a_connection_whose_answer_is_not_read_to_its_end_is_closed_at_once():
    with EndlessAnswer() as server:
        with pytest.raises(RemoteError) as caught:
            post(server.url, idempotent=False)
        assert server.ended.wait(20)
        assert caught.value.code == "service_unreachable"


def test_follows_redirects_on_the_same_host_only():
    with LoopbackServer(in_turn(Reply(302, headers={"Location": "/there"}), Reply(200, b"ok"))) as server:
        assert get(server.url + "/here").body == b"ok"
        assert [item.path for item in server.asked] == ["/here", "/there"]
    for target in (
        "http://127.0.0.2:1/",
        "http://[",
        "https://127.0.0.1/",
        "//evil.test/x",
        "file:///etc/passwd",
    ):
        with LoopbackServer(in_turn(Reply(302, headers={"Location": target}))) as server:
            with pytest.raises(RemoteError) as caught:
                get(server.url)
            assert caught.value.code == "bad_redirect"


def test_does_not_follow_redirects_in_a_circle():
    circle = in_turn(Reply(302, headers={"Location": "/"}))
    with LoopbackServer(circle) as server, pytest.raises(RemoteError, match="more than 3 times"):
        get(server.url)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_follows_every_kind_of_redirect(status):
    with LoopbackServer(in_turn(Reply(status, headers={"Location": "/there"}), Reply(200, b"ok"))) as server:
        assert get(server.url).body == b"ok"


def test_follows_three_redirects():
    steps = [Reply(302, headers={"Location": f"/{number}"}) for number in range(3)]
    with LoopbackServer(in_turn(*steps, Reply(200, b"ok"))) as server:
        assert get(server.url).body == b"ok"
    with LoopbackServer(in_turn(*steps, steps[0], Reply(200, b"ok"))) as server:
        with pytest.raises(RemoteError):
            get(server.url)
        assert len(server.asked) == 4


@pytest.mark.parametrize(("status", "headers"), [(200, {"Location": "/there"}), (302, {}), (304, {})])
def test_what_is_no_redirect_is_the_answer(status, headers):
    with LoopbackServer(in_turn(Reply(status, headers=headers))) as server:
        assert get(server.url).status == status
        assert len(server.asked) == 1


def test_does_not_follow_the_redirect_of_a_post():
    """It would carry the token, and the body, where the user did not send them."""
    with LoopbackServer(in_turn(Reply(307, headers={"Location": "/there"}))) as server:
        assert post(server.url, idempotent=True).status == 307
        assert len(server.asked) == 1


@pytest.mark.parametrize(
    "url",
    [
        "ftp://host/",
        "host",
        "",
        "http://",
        "file:///x",
        "http://me:secret@host/",
        "http://[",
        "http://\u2100",
    ],
)
def test_refuses_what_is_no_address(url):
    with pytest.raises(ConfigurationError):
        get(url)


def test_a_refusal_carries_the_reason_of_the_service():
    bodies = {
        b'{"code":3,"message":"bad key","details":[]}': "bad key",
        b'{"code":3,"message":"no","details":[{"@type":"x","metadata":{"message":"why"}}]}': "no; why",
        b'{"code":3,"message":"no: why","details":[{"@type":"x","metadata":{"message":"why"}}]}': "no: why",
        b'{"error":"invalid_grant","error_description":"used"}': "invalid_grant; used",
        b'{"details":[{"metadata":{"message":"why"}}]}': "why",
        b'{"details":[%s]}'
        % b",".join(b'{"metadata":{"message":"%d."}}' % n for n in range(5)): "0.; 1.; 2.; 3.",
        b"plain text\nover lines": "plain text over lines",
        b"<html>": "",
        b"\x1b[31mred": "[31mred",
    }
    assert {body: problem_text(body) for body in bodies} == bodies


def test_a_refusal_says_whose_fault_it_is():
    with LoopbackServer(in_turn(Reply(500, b'{"message":"boom"}'))) as server:
        answer = get(server.url)
    error = refused(answer, service=SERVICE, url=server.url)
    assert error.code == "service_failed"
    assert error.message.endswith("answered 500: boom")


@pytest.mark.parametrize(
    ("status", "code"),
    [
        *((status, "request_refused") for status in (400, 428, 430, 499)),
        *((status, "service_failed") for status in (429, 500)),
        (404, "service_not_found"),
    ],
)
def test_a_refusal_has_a_code_by_its_status(status, code):
    assert refused(Answer(status, {}, b""), service=SERVICE, url="http://h").code == code


def test_a_service_of_ours_may_say_what_to_do():
    def hint(*details: dict[str, str]) -> str:
        body = json.dumps({"details": [{"metadata": item} for item in details]}).encode()
        return refused(Answer(503, {}, body), service=SERVICE, url="http://h").hint

    assert hint({"message": "m"}, {"hint": "do this"}, {"hint": "or that"}) == "do this"
    assert hint({}, {}, {}, {"hint": "the fourth"}) == "the fourth"
    assert hint({}, {}, {}, {}, {"hint": "the fifth"}) == "try again later"
    assert refused(Answer(503, {}, b"<html>"), service=SERVICE, url="http://h").hint == "try again later"


def test_text_of_strangers_is_made_fit_for_a_terminal():
    assert one_line("a\x1b]0;b\x07\r\nc\u202e") == "a ]0;b c"
    assert len(one_line("x" * 1000)) == 300


def test_headers_that_drip_do_not_outlast_the_deadline():
    """A byte now and then keeps every single read within its timeout."""
    ended = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def drip():
            connection, _ = listener.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(b"HTTP/1.1 200 OK\r\n")
                while not ended.wait(0.05):
                    try:
                        connection.sendall(b"X")
                    except OSError:
                        return

        thread = threading.Thread(target=drip)
        thread.start()
        try:
            http = HttpClient(timeout_seconds=30, deadline_seconds=0.5)
            with pytest.raises(RemoteError):
                get(f"http://127.0.0.1:{listener.getsockname()[1]}/", http)
        finally:
            ended.set()
            thread.join()
