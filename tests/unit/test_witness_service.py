"""A witness: every rule of the protocol, what it remembers, and that it forgets nothing."""

import base64
import hashlib
import sqlite3
from contextlib import ExitStack
from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey
from starlette.routing import Mount
from tests.support.asgi_call import call
from tests.support.small_log import tree_hash
from tests.support.witness_server import SmallWitness

from hallmark.adapters.keys.file import SoftwareKey
from hallmark.core.checkpoint import Checkpoint
from hallmark.core.cosignature import cosign, cosigner_vkey, find_cosignature
from hallmark.core.keys import parse_public_key
from hallmark.core.merkle import consistency_path, leaf_hash
from hallmark.core.note import MAX_NOTE_BYTES, Note, NoteSignature, parse_note, parse_signature_lines
from hallmark.core.vkey import ED25519, ctlog_vkey, log_vkey, parse_vkey, verifier_key
from hallmark.ctlog.signer import CtLogSigner
from hallmark.errors import ConfigurationError, InvalidSignature, MalformedInput
from hallmark.ports import StorageFailed
from hallmark.tiledlog.signer import NoteSigner
from hallmark.witness import http
from hallmark.witness.config import MAX_LOGS, parse_logs
from hallmark.witness.requests import print_add_checkpoint
from hallmark.witness.service import CosigningKeys

ORIGIN = "log.example"
KEY = Ed25519PrivateKey.from_private_bytes(b"k" * 32)
LOG = verifier_key(ORIGIN, ED25519, KEY.public_key().public_bytes_raw())
MAIN, FORK = b"main", b"fork"


def hashes(size: int, history: bytes = MAIN) -> list[bytes]:
    """Leaf hashes; the two histories agree on the first three leaves."""
    return [leaf_hash(b"%s %d" % (history if index >= 3 else b"both", index)) for index in range(size)]


def sign(text: str, *, key=KEY, vkey=LOG) -> NoteSignature:
    return NoteSignature(vkey.name, vkey.key_id, key.sign(text.encode()))


def note_of(size: int, history: bytes = MAIN, *, origin: str = ORIGIN, root: bytes | None = None) -> bytes:
    text = Checkpoint(origin, size, root or tree_hash(hashes(size, history))).to_text()
    return Note(text, (sign(text),)).to_bytes()


def request_for(old: int, size: int, history: bytes = MAIN) -> bytes:
    leaves = hashes(size, history)
    path = consistency_path(old, size) if 0 < old <= size else []
    return print_add_checkpoint(
        old, [tree_hash(leaves[start:end]) for start, end in path], note_of(size, history)
    )


@pytest.fixture
def witness(tmp_path):
    witness = SmallWitness(tmp_path / "heads.db", "w.example/1", LOG)
    yield witness
    witness.close()


def test_cosigns_a_growing_log_with_every_key(witness):
    for old, size in ((0, 1), (1, 2), (2, 2), (2, 7), (7, 300), (300, 300)):
        answer = witness.post(request_for(old, size))
        assert answer.status == 200
        checkpoint = Checkpoint(ORIGIN, size, tree_hash(hashes(size)))
        note = Note(checkpoint.to_text(), parse_signature_lines(answer.body.decode()))
        assert len(note.signatures) == 2
        for vkey in witness.keys.vkeys:
            assert find_cosignature(note, checkpoint, vkey).timestamp == int(witness.now.timestamp())


@pytest.mark.parametrize("kind", ["ECDSA", "ML-DSA-44", "CT"])
def test_cosigns_logs_of_every_kind(tmp_path, kind):
    """The log's own signature is checked as its kind demands; one of another log is refused."""
    signs, vkey = log_of_kind(kind)
    other, _ = log_of_kind(kind)
    witness = SmallWitness(tmp_path / "heads.db", "w.example/1", vkey)
    for old, size in ((0, 3), (3, 5)):
        leaves = hashes(size)
        proof = [tree_hash(leaves[start:end]) for start, end in consistency_path(old, size)] if old else []
        root = tree_hash(leaves)
        refused = witness.post(print_add_checkpoint(old, proof, other(size, root)))
        assert refused.status == 403
        answer = witness.post(print_add_checkpoint(old, proof, signs(size, root)))
        assert answer.status == 200, answer.body
    witness.close()


def log_of_kind(kind: str):
    """A log's own way to sign a checkpoint, and its verifier key."""
    if kind == "CT":
        key = SoftwareKey(ec.generate_private_key(ec.SECP256R1()))
        signer, vkey = CtLogSigner(ORIGIN, key), ctlog_vkey(ORIGIN, parse_public_key(key.spki))
        return (lambda size, root: signer.sign(size, root, 1_700_000_000_000)), vkey
    if kind == "ECDSA":
        noted = NoteSigner(ORIGIN, SoftwareKey(ec.generate_private_key(ec.SECP256R1())))
        return (lambda size, root: noted.sign(size, root, 0)), log_vkey(ORIGIN, noted.public_key)
    key = MLDSA44PrivateKey.generate()
    vkey = cosigner_vkey(ORIGIN, key)

    def sign_as_cosigner(size: int, root: bytes) -> bytes:
        checkpoint = Checkpoint(ORIGIN, size, root)
        return Note(checkpoint.to_text(), (cosign(checkpoint, vkey, key, 0),)).to_bytes()

    return sign_as_cosigner, vkey


def test_a_ct_log_is_named_by_the_log_id_of_its_key():
    """C2SP static-ct-api: the key id is that of the log id, the vkey holds the whole key."""
    key = parse_public_key(SoftwareKey(ec.generate_private_key(ec.SECP256R1())).spki)
    vkey = ctlog_vkey("ct.example/log", key)
    hashed = hashlib.sha256(b"ct.example/log\n\x05" + hashlib.sha256(key.spki).digest()).digest()
    assert vkey.key_id == hashed[:4]
    assert parse_vkey(vkey.to_text()) == vkey
    other = SoftwareKey(ec.generate_private_key(ec.SECP384R1()))
    with pytest.raises(MalformedInput):
        ctlog_vkey("ct.example/log", parse_public_key(other.spki))


def with_line(body: bytes, line: NoteSignature) -> bytes:
    return body + line.to_text().encode()


def unsigned(old: int, size: int, *lines: NoteSignature) -> bytes:
    text = Checkpoint(ORIGIN, size, tree_hash(hashes(size))).to_text()
    return print_add_checkpoint(old, [], Note(text, lines).to_bytes())


OTHER_KEY = Ed25519PrivateKey.from_private_bytes(b"o" * 32)
OTHER = verifier_key(ORIGIN, ED25519, OTHER_KEY.public_key().public_bytes_raw())
STRANGER = NoteSignature("stranger", b"abcd", b"signature")
ZERO = base64.b64encode(bytes(32))
FALSE = NoteSignature(LOG.name, LOG.key_id, bytes(64))

REFUSALS = {
    "not a request": (b"", 400),
    "no checkpoint": (b"old 0\n", 400),
    "no old size": (b"\n" + note_of(5), 400),
    "a size with a zero before it": (request_for(3, 5).replace(b"old 3", b"old 03"), 400),
    "a negative size": (request_for(3, 5).replace(b"old 3", b"old -3"), 400),
    "a size beyond all trees": (request_for(3, 5).replace(b"old 3", b"old 9999999999999999999"), 400),
    "other space": (request_for(3, 5).replace(b"old 3", b"old  3"), 400),
    "proof line cut off": (request_for(3, 5).replace(b"=\n\n", b"\n\n", 1), 400),
    "proof line no base64": (b"old 3\n!!!!\n\n" + note_of(5), 400),
    "proof line too short": (b"old 3\nAAAA\n\n" + note_of(5), 400),
    "64 proof lines": (print_add_checkpoint(3, [bytes(32)] * 64, note_of(5)), 400),
    "non-ASCII before the checkpoint": ("old 3\n\u2014\n\n".encode() + note_of(5), 400),
    "control character": (request_for(3, 5) + b"\t", 400),
    "checkpoint without root": (b"old 3\n\n" + Note(f"{ORIGIN}\n5\n", (STRANGER,)).to_bytes(), 400),
    "old size larger": (request_for(9, 5), 400),
    "another log": (print_add_checkpoint(3, [], note_of(5, origin="else.example")), 404),
    "no signature of the log": (unsigned(3, 5, STRANGER), 403),
    "signed by another key of the same name": (
        unsigned(3, 5, sign(parse_note(note_of(5)).text, key=OTHER_KEY, vkey=OTHER)),
        403,
    ),
    "a false signature": (unsigned(3, 5, FALSE), 403),
    "a false signature beside a true one": (with_line(request_for(3, 5), FALSE), 403),
    "stale": (request_for(2, 5), 409),
    "from nothing": (request_for(0, 5), 409),
    "ahead": (request_for(4, 5), 409),
    "a shorter log": (request_for(2, 2), 409),
    "another history": (request_for(3, 5).partition(b"\n\n")[0] + b"\n\n" + note_of(5, FORK), 422),
    "no proof": (print_add_checkpoint(3, [], note_of(5)), 422),
    "a proof too long": (request_for(3, 5).replace(b"\n\n", b"\n" + ZERO + b"\n\n", 1), 422),
    "the same size with another root": (print_add_checkpoint(3, [], note_of(3, root=b"x" * 32)), 409),
    "the same size with a proof": (print_add_checkpoint(3, [bytes(32)], note_of(3)), 422),
    "a body without end": (request_for(3, 5) + b"x" * 300_000, 413),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSALS)
def test_refuses(witness, what):
    body, status = REFUSALS[what]
    assert witness.post(request_for(0, 3)).status == 200
    before = witness.state.head(ORIGIN)
    answer = witness.post(body)
    assert (answer.status, witness.state.head(ORIGIN)) == (status, before), answer.body
    if status == 409 and what != "the same size with another root":
        assert answer.headers["content-type"] == "text/x.tlog.size"
        assert answer.body == b"3\n"
    assert b"\xe2\x80\x94 w.example/1" not in answer.body
    assert witness.post(request_for(3, 5)).status == 200


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (print_add_checkpoint(0, [], note_of(0)), 200),
        (print_add_checkpoint(0, [], note_of(0, root=b"x" * 32)), 422),
        (print_add_checkpoint(0, [bytes(32)], note_of(3)), 422),
        (print_add_checkpoint(2, [], note_of(3)), 409),
    ],
)
def test_a_log_that_was_never_seen_starts_from_nothing(witness, body, status):
    answer = witness.post(body)
    assert answer.status == status
    if status == 409:
        assert answer.body == b"0\n"


def test_takes_a_log_that_signs_with_ml_dsa_and_one_under_another_origin(witness):
    key = MLDSA44PrivateKey.from_seed_bytes(b"l" * 32)
    vkey = cosigner_vkey("keyname", key)
    witness.config.logs.update(parse_logs((f"{vkey.to_text()}={ORIGIN} - 17",)))
    checkpoint = Checkpoint(f"{ORIGIN} - 17", 3, tree_hash(hashes(3)))
    line = cosign(checkpoint, vkey, key, 0)
    assert (
        witness.post(print_add_checkpoint(0, [], Note(checkpoint.to_text(), (line,)).to_bytes())).status
        == 200
    )


def test_shows_the_newest_checkpoint_to_monitors(witness):
    path = f"/{hashlib.sha256(ORIGIN.encode()).hexdigest()}/checkpoint"
    assert witness.get(path).status == 404
    witness.post(request_for(0, 3))
    witness.post(with_line(request_for(3, 5), STRANGER))
    answer = witness.get(path)
    note = parse_note(answer.body)
    assert [line.name for line in note.signatures] == [ORIGIN, "w.example/1", "w.example/1"]
    assert note.text == parse_note(note_of(5)).text
    assert witness.get(f"/{'0' * 64}/checkpoint").status == 404


def test_after_a_restart_it_refuses_what_it_refused_before(witness):
    witness.post(request_for(0, 5))
    witness.restart()
    assert witness.post(request_for(3, 3)).status == 409
    assert witness.post(request_for(0, 5, FORK)).status == 409
    refused = witness.post(print_add_checkpoint(5, [], note_of(5, FORK)))
    assert (refused.status, refused.headers["content-type"]) == (409, "text/plain; charset=utf-8")
    assert witness.post(request_for(5, 9)).status == 200


@pytest.mark.parametrize(("more", "status"), [(0, 400), (1, 413)])
def test_a_request_has_room_for_the_largest_note_and_a_proof(witness, more, status):
    assert witness.post(bytes(MAX_NOTE_BYTES + 4096 + more)).status == status


@pytest.mark.parametrize("what", ["another history", "the same size with another root"])
def test_the_operator_is_told_of_a_log_that_does_not_only_grow(witness, caplog, what):
    witness.post(request_for(0, 3))
    assert caplog.text == ""
    witness.post(REFUSALS[what][0])
    assert f"log {ORIGIN}: a checkpoint of size" in caplog.text
    assert "does not extend size 3" in caplog.text


def test_a_witness_killed_between_remembering_and_answering_signs_no_second_history(witness):
    class Killed(Exception):
        pass

    def die(*arguments):
        real(*arguments)
        raise Killed

    witness.post(request_for(0, 3))
    real, witness.state.advance = witness.state.advance, die
    assert witness.post(request_for(3, 5)).status == 500
    witness.restart()
    assert witness.post(request_for(3, 6, FORK)).body == b"5\n"
    refused = witness.post(print_add_checkpoint(5, [], note_of(5, FORK)))
    assert (refused.status, refused.headers["content-type"]) == (409, "text/plain; charset=utf-8")
    assert witness.post(print_add_checkpoint(5, [], note_of(5))).status == 200


def test_of_two_requests_that_race_one_wins(witness):
    witness.post(request_for(0, 3))
    other = SmallWitness(witness.path, "w.example/1", LOG)
    real = witness.state.advance

    def overtaken(*arguments):
        assert other.witness.add_checkpoint(request_for(3, 5, FORK))
        witness.state.advance = real
        return real(*arguments)

    witness.state.advance = overtaken
    answer = witness.post(request_for(3, 7))
    assert (answer.status, answer.body) == (409, b"5\n")
    assert witness.post(request_for(5, 7)).status == 422
    other.close()


def test_a_clock_that_steps_back_does_not_state_an_earlier_time_for_a_larger_tree(witness):
    witness.post(request_for(0, 3))
    first = witness.state.head(ORIGIN).time
    witness.now -= timedelta(hours=1)
    witness.post(request_for(3, 5))
    assert witness.state.head(ORIGIN).time == first


def test_a_state_that_cannot_be_written_leaves_nothing_signed(witness):
    witness.post(request_for(0, 3))
    witness.state._db.execute("PRAGMA query_only=1")
    answer = witness.post(request_for(3, 5))
    assert (answer.status, answer.headers["retry-after"]) == (503, "5")
    assert b"\xe2\x80\x94" not in answer.body
    witness.state._db.execute("PRAGMA query_only=0")
    assert witness.post(request_for(3, 5)).status == 200


def test_a_state_of_which_nobody_knows_ends_the_process(witness):
    ended = []

    def fail(*_arguments):
        raise StorageFailed("the sync failed")

    witness.state.advance = fail
    witness.witness._on_failure = ended.append
    assert witness.post(request_for(0, 3)).status == 500
    assert [type(error) for error in ended] == [StorageFailed]


def test_the_state_is_synced_in_full(witness):
    assert witness.state._db.execute("PRAGMA synchronous").fetchone() == (2,)


def test_a_damaged_state_is_refused(tmp_path):
    (tmp_path / "heads.db").write_bytes(b"no database" * 1000)
    with pytest.raises(ConfigurationError):
        SmallWitness(tmp_path / "heads.db", "w.example/1", LOG)


def test_a_busy_state_is_an_overload(witness):
    witness.state._db.execute("PRAGMA busy_timeout = 50")
    other = sqlite3.connect(witness.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    assert witness.post(request_for(0, 3)).status == 503
    other.execute("ROLLBACK")
    other.close()
    assert witness.post(request_for(0, 3)).status == 200


ECDSA_LIKE = "AAAA" * 4 + "AAA="


@pytest.mark.parametrize("text", ["", "x", "x+00000000+AAAA", f"x+00000000+{ECDSA_LIKE}=o", "=o"])
def test_refuses_logs_that_are_none(text):
    with pytest.raises(ConfigurationError) as refused:
        parse_logs((text,))
    assert refused.value.hint


@pytest.mark.parametrize(("count", "taken"), [(0, False), (1, True), (MAX_LOGS, True), (MAX_LOGS + 1, False)])
def test_a_witness_serves_one_log_up_to_a_bound(count, taken):
    texts = tuple(f"{LOG.to_text()}={number}" for number in range(count))
    if taken:
        assert len(parse_logs(texts)) == count
    else:
        with pytest.raises(ConfigurationError) as refused:
            parse_logs(texts)
        assert refused.value.code == "usage"


def test_several_keys_of_one_origin_and_padded_keys_are_told_apart():
    padded = cosigner_vkey("l", MLDSA44PrivateKey.from_seed_bytes(b"l" * 32)).to_text()
    assert padded.endswith("=")
    logs = parse_logs((LOG.to_text(), f"{padded}={ORIGIN}", padded))
    assert {origin: len(log.keys) for origin, log in logs.items()} == {ORIGIN: 2, "l": 1}


class FalseKey:
    """An ML-DSA key whose signatures are another's."""

    def __init__(self) -> None:
        self._key, self._other = MLDSA44PrivateKey.generate(), MLDSA44PrivateKey.generate()
        self.public_key, self.sign = self._key.public_key, self._other.sign


def test_a_witness_checks_its_own_cosignature():
    checkpoint = Checkpoint(ORIGIN, 1, tree_hash(hashes(1)))
    assert CosigningKeys("w.example/1", [KEY]).cosign(checkpoint, 1_700_000_000)
    with pytest.raises(InvalidSignature):
        CosigningKeys("w.example/1", [FalseKey()]).cosign(checkpoint, 1_700_000_000)


def test_only_so_many_checkpoints_are_worked_on_at_once(witness):
    app = http.hot_routes(witness.witness)[http.ADD_CHECKPOINT]
    routes = [Mount("", app=app)]
    with ExitStack() as full:
        for _ in range(http.MAX_CALLS - 1):
            full.enter_context(app._gate.entered(""))
        assert call(routes, "POST", http.ADD_CHECKPOINT, request_for(0, 1)).status == 200
        full.enter_context(app._gate.entered(""))
        assert call(routes, "POST", http.ADD_CHECKPOINT, request_for(1, 2)).status == 503


def test_unfinished_checkpoints_are_bounded_together(witness):
    app = http.hot_routes(witness.witness)[http.ADD_CHECKPOINT]
    app._budget.take(http.MAX_BODY_BYTES_IN_FLIGHT - 999)
    routes = [Mount("", app=app)]
    assert call(routes, "POST", http.ADD_CHECKPOINT, b" " * 1000, chunk=500).status == 503
    assert call(routes, "POST", http.ADD_CHECKPOINT, b" " * 999, chunk=500).status == 400
