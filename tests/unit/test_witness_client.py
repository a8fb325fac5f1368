"""How one witness is asked: what it must answer, and how long it is left alone after a failure."""

import gzip
import hashlib

import pytest
import urllib3
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tests.support.asgi_call import Answer
from tests.support.endless import EndlessAnswer
from tests.support.loopback import LoopbackServer, Reply, in_turn
from tests.support.witness_server import WitnessServer

from hallmark.core.checkpoint import Checkpoint
from hallmark.core.cosignature import cosign, cosigner_vkey
from hallmark.core.note import Note
from hallmark.core.witness_policy import PolicyWitness
from hallmark.errors import HallmarkError
from hallmark.witness.client import MAX_ANSWER_BYTES, Request, Sighting, WitnessClient
from hallmark.witness.config import AskingConfig
from hallmark.witness.requests import SIZE_TYPE

KEY = Ed25519PrivateKey.generate()
VKEY = cosigner_vkey("w.example", KEY)


class Setting:
    """A witness that gives the answers of a test, and a client with a clock of its own."""

    def __init__(self) -> None:
        self.answers: list[Answer] = []
        self.server = WitnessServer(lambda _: self.answers.pop(0))
        self.now = 1000.0
        self.proved: list[int] = []
        self.pool = urllib3.PoolManager(maxsize=1)
        witness = PolicyWitness("w", VKEY, self.server.url + "/")
        self.client = WitnessClient(witness, self.pool, AskingConfig(longest_pause=0.5), lambda: self.now)

    def prove(self, old: int) -> list[bytes]:
        self.proved.append(old)
        return [bytes(32)]

    def request(self, size: int = 5, left: float = 30.0) -> Request:
        stated = Checkpoint("log.example", size, bytes(32))
        note = Note(stated.to_text(), ())
        return Request(note, note.to_bytes(), stated, self.prove, self.now + left)

    def fetch(self, size: int = 5, left: float = 30.0):
        return self.client.fetch(self.request(size, left))

    def look(self) -> Sighting:
        return self.client.look(self.request())

    def refused(self, code: str, ask=None, **changes) -> str:
        with pytest.raises(HallmarkError) as caught:
            (ask or self.fetch)(**changes)
        assert caught.value.code == code
        return caught.value.message

    def signs(self, size: int = 5, time: int = 1) -> None:
        line = cosign(Checkpoint("log.example", size, bytes(32)), VKEY, KEY, time)
        self.says(200, Note("x\n", (line,)).to_bytes().partition(b"\n\n")[2])

    def says(self, status: int, body: bytes, content_type: str = "text/plain") -> None:
        headers = {"Content-Type": content_type, "Content-Length": str(len(body))}
        self.answers.append(Answer(status, headers, body))

    def shows(self, size: int, status: int = 200) -> bytes:
        """Let it show a checkpoint that it has cosigned."""
        stated = Checkpoint("log.example", size, bytes(32))
        note = Note(stated.to_text(), (cosign(stated, VKEY, KEY, 1),)).to_bytes()
        path = f"/{hashlib.sha256(b'log.example').hexdigest()}/checkpoint"
        missing = Answer(404, {"Content-Length": "0"}, b"")
        shown = Answer(status, {"Content-Length": str(len(note))}, note)
        self.server.show = lambda asked: shown if asked == path else missing
        return note


@pytest.fixture
def setting():
    made = Setting()
    yield made
    made.pool.clear()
    made.server.close()


def old_sizes(setting: Setting) -> list[bytes]:
    return [body.partition(b"\n")[0] for body in setting.server.requests]


def test_the_size_that_it_cosigned_is_where_the_next_proof_begins(setting):
    for size in (5, 5, 8):
        setting.signs(size)
        assert setting.fetch(size).line.name == "w.example"
    assert old_sizes(setting) == [b"old 0", b"old 5", b"old 5"]
    assert setting.proved == [5]


@pytest.mark.parametrize("size", [1, 3, 4])
def test_it_is_asked_again_from_the_size_that_it_names(setting, size):
    setting.says(409, b"%d\n" % size, SIZE_TYPE)
    setting.signs()
    assert setting.fetch()
    assert old_sizes(setting) == [b"old 0", b"old %d" % size]
    assert setting.proved == [size]


@pytest.mark.parametrize(
    ("status", "content_type"), [(409, "text/plain"), (400, SIZE_TYPE), (201, "text/plain")]
)
def test_any_other_answer_is_a_refusal_and_asked_once(setting, status, content_type):
    setting.says(status, b"3\n", content_type)
    assert f"it answered {status}" in setting.refused("cosignature_refused")
    assert len(setting.server.requests) == 1


def test_a_second_conflict_is_a_refusal(setting):
    for _ in range(2):
        setting.says(409, b"3\n", SIZE_TYPE)
    assert "it answered 409" in setting.refused("cosignature_refused")


def test_a_witness_that_is_ahead_is_told(setting):
    setting.says(409, b"6\n", SIZE_TYPE)
    assert "size 6" in setting.refused("witness_ahead")
    assert len(setting.server.requests) == 1


@pytest.mark.parametrize("shows", [True, False])
def test_what_a_witness_that_is_ahead_shows_is_kept(setting, shows):
    note = setting.shows(6) if shows else b""
    setting.says(409, b"6\n", SIZE_TYPE)
    request = setting.request()
    with pytest.raises(HallmarkError):
        setting.client.fetch(request)
    assert request.ahead == ([note] if shows else [])


def test_a_witness_has_seen_what_it_shows_and_is_asked_nothing_more(setting):
    note = setting.shows(7)
    assert setting.look() == Sighting("w", 7, note)
    assert setting.server.requests == []


SEEN = [
    (409, SIZE_TYPE, b"7\n", Sighting("w", 7)),
    (409, "text/plain", b"another root", Sighting("w", 5, other=True)),
    (200, "text/plain", b"", Sighting("w", 5)),
    (404, "text/plain", b"", Sighting("w", 0)),
]


@pytest.mark.parametrize(("status", "content_type", "body", "seen"), SEEN)
def test_a_witness_that_shows_nothing_has_seen_what_it_says_to_this_checkpoint(
    setting, status, content_type, body, seen
):
    setting.shows(7, status=500)
    setting.says(status, body, content_type)
    assert setting.look() == seen
    assert old_sizes(setting) == [b"old 5"]
    assert setting.server.requests[0].endswith(b"\n\n" + setting.request().data)
    assert setting.proved == []


@pytest.mark.parametrize("status", [201, 400, 403, 503])
def test_a_witness_that_says_anything_else_does_not_tell_what_it_has_seen(setting, status):
    setting.says(status, b"7\n", SIZE_TYPE)
    assert f"it answered {status}" in setting.refused("witness_unreachable", setting.look)


def test_a_witness_that_shows_no_checkpoint_but_something_else_does_not_tell_either(setting):
    body = b"something else"
    setting.server.show = lambda _path: Answer(200, {"Content-Length": str(len(body))}, body)
    setting.refused("malformed_answer", setting.look)


def test_it_must_sign_with_its_key_and_say_when(setting):
    stranger = Ed25519PrivateKey.generate()
    line = cosign(Checkpoint("log.example", 5, bytes(32)), cosigner_vkey("w.example", stranger), stranger, 1)
    setting.says(200, Note("x\n", (line,)).to_bytes().partition(b"\n\n")[2])
    setting.refused("unsigned_note")
    setting.signs(time=0)
    setting.refused("unsigned_note")
    setting.signs(time=1)
    assert setting.fetch().timestamp == 1


@pytest.mark.parametrize("more", [0, 1])
def test_an_answer_has_up_to_64_kibibytes(setting, more):
    setting.says(400, bytes(MAX_ANSWER_BYTES + more))
    setting.refused("malformed_answer" if more else "cosignature_refused")


def test_nothing_is_sent_when_no_time_is_left(setting):
    setting.refused("witness_too_slow", left=0.0)
    assert setting.server.requests == []
    setting.signs()
    assert setting.fetch(left=5.0)


def test_a_connection_is_used_again(setting):
    for _ in range(3):
        setting.signs()
        setting.fetch()
    (pool,) = [setting.pool.pools[key] for key in setting.pool.pools.keys()]  # noqa: SIM118
    assert pool.num_connections == 1


def test_it_is_left_alone_twice_as_long_after_each_failure_up_to_a_bound(setting):
    client = setting.client
    assert client.is_ready()
    for pause in (0.1, 0.2, 0.4, 0.5, 0.5):
        setting.says(500, b"")
        setting.refused("cosignature_refused")
        assert not client.is_ready()
        setting.now += pause - 0.001
        assert not client.is_ready()
        setting.now += 0.001 + 1e-9
        assert client.is_ready()
    setting.signs()
    setting.fetch()
    assert client.is_ready()
    setting.says(500, b"")
    setting.refused("cosignature_refused")
    setting.now += 0.1 + 1e-9
    assert client.is_ready()


def test_it_is_not_asked_twice_at_once(setting):
    setting.client.busy = True
    assert not setting.client.is_ready()


def test_it_may_be_asked_as_soon_as_the_clock_runs(setting):
    setting.now = 0.0
    assert setting.client.is_ready()


@pytest.mark.parametrize("more", [0, 1])
def test_an_answer_that_comes_too_late_is_none(setting, more):
    def late(_body: bytes) -> Answer:
        setting.now += 30 + more
        return setting.answers.pop(0)

    setting.server.handle = late
    setting.signs()
    if more:
        setting.refused("malformed_answer")
    else:
        assert setting.fetch()


def test_a_witness_that_breaks_off_is_asked_once(setting):
    """Asking again is for the next round, which has a pause before it."""
    with LoopbackServer(in_turn(Reply(broken=True))) as server:
        witness = PolicyWitness("w", VKEY, server.url)
        client = WitnessClient(witness, setting.pool, AskingConfig(), lambda: setting.now)
        setting.refused("witness_unreachable", lambda: client.look(setting.request()))
    assert len(server.asked) == 1


def test_after_an_answer_that_was_not_read_the_next_one_is_read_whole(setting):
    setting.says(200, bytes(4 * MAX_ANSWER_BYTES))
    setting.refused("malformed_answer")
    setting.signs()
    assert setting.fetch()


def test_a_connection_whose_answer_is_not_read_to_its_end_is_closed_at_once(setting):
    with EndlessAnswer() as server:
        witness = PolicyWitness("w", VKEY, server.url)
        client = WitnessClient(witness, setting.pool, AskingConfig(), lambda: setting.now)
        with pytest.raises(HallmarkError) as caught:
            client.fetch(setting.request())
        assert server.ended.wait(20)
        assert caught.value.code == "malformed_answer"


def test_a_witness_that_is_away_is_told(setting):
    setting.server.close()
    setting.pool.clear()
    setting.refused("witness_unreachable")


@pytest.mark.parametrize(
    "headers", [{"Content-Encoding": "gzip"}, {"Location": "/elsewhere"}], ids=["compressed", "elsewhere"]
)
def test_an_answer_is_taken_as_it_is_sent(setting, headers):
    """Neither decompressed, which could grow without bound, nor looked for elsewhere."""
    body = gzip.compress(bytes(1 << 20))
    headers["Content-Length"] = str(len(body))
    setting.answers.append(Answer(307, headers, body))
    assert "it answered 307" in setting.refused("cosignature_refused")
    assert len(setting.server.requests) == 1
