"""What is sent to a witness and what it states, and every spelling of it that is refused."""

import base64
import tracemalloc

import pytest

from hallmark.core.checkpoint import Checkpoint
from hallmark.core.merkle import MAX_TREE_SIZE
from hallmark.core.note import Note, NoteSignature
from hallmark.errors import MalformedInput
from hallmark.witness.requests import (
    MAX_PROOF_LINES,
    parse_add_checkpoint,
    parse_size,
    print_add_checkpoint,
    print_size,
)

STATED = Checkpoint("log.example", 5, bytes(32))
NOTE = Note(STATED.to_text(), (NoteSignature("log.example", b"abcd", b"signature"),)).to_bytes()
HASH = bytes(range(32))


@pytest.mark.parametrize("hashes", [0, 1, MAX_PROOF_LINES])
@pytest.mark.parametrize("old", [0, 9, 10, MAX_TREE_SIZE])
def test_what_is_printed_is_read(old, hashes):
    found = parse_add_checkpoint(print_add_checkpoint(old, [HASH] * hashes, NOTE))
    assert (found.old_size, found.proof, found.checkpoint) == (old, (HASH,) * hashes, STATED)


LINE = base64.b64encode(HASH).decode()
REFUSED = {
    "nothing": b"",
    "no checkpoint": b"old 3\n",
    "a size beyond all trees": print_add_checkpoint(MAX_TREE_SIZE + 1, [], NOTE),
    "a size of 20 digits": b"old 10000000000000000000\n\n" + NOTE,
    "a zero before the size": b"old 03\n\n" + NOTE,
    "no size": b"old \n\n" + NOTE,
    "64 hashes": print_add_checkpoint(3, [HASH] * (MAX_PROOF_LINES + 1), NOTE),
    "a short hash": print_add_checkpoint(3, [HASH[1:]], NOTE),
    "a long hash": print_add_checkpoint(3, [HASH + b"x"], NOTE),
    "another spelling of a hash": f"old 3\n{LINE[:-2]}9=\n\n".encode() + NOTE,
    "something beside a hash": f"old 3\n{LINE[:4]}!{LINE[4:]}\n\n".encode() + NOTE,
    "no ASCII": "old 3\n\u2014\n\n".encode() + NOTE,
}


@pytest.mark.parametrize("what", REFUSED)
def test_any_other_request_is_refused(what):
    with pytest.raises(MalformedInput):
        parse_add_checkpoint(REFUSED[what])


def test_too_long_a_proof_is_not_taken_apart():
    body = b"old 3\n" + b"ab\n" * 100_000 + b"\n" + NOTE
    tracemalloc.start()
    with pytest.raises(MalformedInput, match="more than 63 hashes"):
        parse_add_checkpoint(body)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5 * len(body)


@pytest.mark.parametrize("size", [0, 9, 10, MAX_TREE_SIZE])
def test_a_size_that_is_stated_is_read(size):
    assert parse_size(print_size(size)) == size


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\n",
        b"3",
        b"3\n\n",
        b"03\n",
        b"-1\n",
        b"x\n",
        print_size(MAX_TREE_SIZE + 1),
        b"1" + b"0" * 19 + b"\n",
    ],
)
def test_what_states_no_size_is_refused(body):
    with pytest.raises(MalformedInput):
        parse_size(body)
