"""Fuzz targets for what witnesses and their policies are told; see `targets`."""

import base64
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from hallmark.core.checkpoint import Checkpoint
from hallmark.core.cosignature import cosign, cosigner_vkey, verify_cosignature
from hallmark.core.keys import wrap_public_key
from hallmark.core.note import Note, NoteSignature
from hallmark.core.vkey import ctlog_vkey, parse_vkey
from hallmark.core.witness_policy import parse_witness_policy
from hallmark.errors import InvalidSignature, MalformedInput
from hallmark.witness.requests import parse_add_checkpoint, parse_size, print_add_checkpoint, print_size
from tests.fuzz.target import Target

_KEY: Final = Ed25519PrivateKey.from_private_bytes(bytes(32))
_VKEY: Final = cosigner_vkey("witness.example", _KEY)
_P256: Final = ec.derive_private_key(1, ec.SECP256R1()).public_key()
_CTLOG: Final = ctlog_vkey("log.example/ctlog", wrap_public_key(_P256))
_CHECKPOINT: Final = Checkpoint("log.example", 7, bytes(32))
_LINE: Final = cosign(_CHECKPOINT, _VKEY, _KEY, 1_700_000_000)
_NOTE: Final = Note(_CHECKPOINT.to_text(), (_LINE,)).to_bytes()
_POLICY: Final = f"""log {_VKEY.to_text()} https://log.example/
witness a {_VKEY.to_text()} https://a.example/
group g 1 a
quorum g
"""


def cosignature(data: bytes) -> None:
    """The bytes of a cosignature: none but the true one verifies."""
    try:
        verify_cosignature(NoteSignature(_VKEY.name, _VKEY.key_id, data), _CHECKPOINT, _VKEY)
    except (MalformedInput, InvalidSignature):
        return
    assert data == _LINE.signature


def vkey(data: bytes) -> None:
    """A verifier key."""
    try:
        text = data.decode()
        parsed = parse_vkey(text)
    except (MalformedInput, UnicodeDecodeError):
        return
    assert parsed.to_text() == text


def witness_policy(data: bytes) -> None:
    """A policy file: whatever is read can be asked."""
    try:
        parsed = parse_witness_policy(data)
    except MalformedInput:
        return
    everybody = frozenset(witness.name for witness in parsed.witnesses)
    assert parsed.holds(everybody) or not parsed.holds(frozenset())


def add_checkpoint(data: bytes) -> None:
    """A request to a witness."""
    try:
        parsed = parse_add_checkpoint(data)
    except MalformedInput:
        return
    assert print_add_checkpoint(parsed.old_size, parsed.proof, parsed.note.to_bytes()) == data


def size(data: bytes) -> None:
    """The size that a witness answers."""
    try:
        parsed = parse_size(data)
    except MalformedInput:
        return
    assert print_size(parsed) == data


WITNESS_TARGETS: Final = {
    "cosignature": Target(cosignature, (_LINE.signature,)),
    "vkey": Target(vkey, (_VKEY.to_text().encode(), _CTLOG.to_text().encode())),
    "witness_policy": Target(witness_policy, (_POLICY.encode(), b"quorum none\n")),
    "add_checkpoint": Target(
        add_checkpoint,
        (b"old 0\n\n" + _NOTE, b"old 5\n%b\n\n%b" % (base64.b64encode(bytes(32)), _NOTE)),
    ),
    "size": Target(size, (b"0\n", b"123456\n")),
}
