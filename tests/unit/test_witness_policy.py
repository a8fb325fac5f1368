"""Witness policies: what parses, what is refused and why, and which cosignatures make a quorum."""

import itertools

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from hallmark.core.checkpoint import Checkpoint
from hallmark.core.cosignature import cosign, cosigner_vkey
from hallmark.core.note import Note, NoteSignature
from hallmark.core.vkey import ED25519, verifier_key
from hallmark.core.witness_policy import MAX_POLICY_BYTES, parse_witness_policy
from hallmark.errors import InvalidProof, InvalidSignature, MalformedInput

PRIVATE = {name: Ed25519PrivateKey.from_private_bytes(name.encode().ljust(32)) for name in "abcdefx"}
WITNESS = {name: cosigner_vkey(f"w.example/{name}", key) for name, key in PRIVATE.items()}
LOG = verifier_key("log.example", ED25519, PRIVATE["x"].public_key().public_bytes_raw())
CHECKPOINT = Checkpoint("log.example", 5, b"r" * 32)


def policy(*lines: str, names: str = "abc") -> bytes:
    witnesses = [f"witness {name} {WITNESS[name].to_text()}" for name in names]
    return "\n".join([*witnesses, *lines, ""]).encode()


def note_by(*names: str) -> Note:
    lines = (cosign(CHECKPOINT, WITNESS[name], PRIVATE[name], 1) for name in names)
    return Note(CHECKPOINT.to_text(), tuple(lines))


def quorums(text: bytes, names: str) -> set[str]:
    parsed = parse_witness_policy(text)
    chosen = (set(item) for size in range(len(names) + 1) for item in itertools.combinations(names, size))
    return {"".join(sorted(item)) for item in chosen if parsed.holds(item)}


@pytest.mark.parametrize(
    ("lines", "names", "expected"),
    [
        (["quorum none"], "ab", {"", "a", "b", "ab"}),
        (["quorum a"], "ab", {"a", "ab"}),
        (["group g any a b", "quorum g"], "ab", {"a", "b", "ab"}),
        (["group g all a b", "quorum g"], "ab", {"ab"}),
        (["group g 2 a b c", "quorum g"], "abc", {"ab", "ac", "bc", "abc"}),
        (["group g 1 a", "quorum g"], "ab", {"a", "ab"}),
        (
            ["group g 2 a b c", "group h any d e", "group all all g h", "quorum all"],
            "abcde",
            {x + y for x in ("ab", "ac", "bc", "abc") for y in ("d", "e", "de")},
        ),
        (["group g all a b", "group h any g c", "quorum h"], "abc", {"ab", "c", "ac", "bc", "abc"}),
    ],
)
def test_quorum_rules(lines, names, expected):
    assert quorums(policy(*lines, names=names), names) == expected


def test_reads_comments_blanks_tabs_urls_and_names_of_any_octets():
    text = (
        b"# a comment\n\n   # another\n"
        + f"log\t{LOG.to_text()}  https://log.example/x \n".encode()
        + b"  witness \xff\xfe " + WITNESS["a"].to_text().encode() + b" http://127.0.0.1:1\n"
        + b"quorum\t\xff\xfe\n"
    )  # fmt: skip
    parsed = parse_witness_policy(text)
    assert [(log.key, log.url) for log in parsed.logs] == [(LOG, "https://log.example/x")]
    (witness,) = parsed.witnesses
    assert witness.url == "http://127.0.0.1:1"
    assert parsed.quorum == witness.name
    assert parse_witness_policy(text.rstrip(b"\n")) == parsed


A = WITNESS["a"].to_text()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"", "no quorum"),
        (policy(), "no quorum"),
        (policy("quorum a", "quorum b"), "second quorum"),
        (policy("quorum z"), "not defined"),
        (policy("group g 2 a", "quorum g"), "not possible"),
        (policy("group g 0 a", "quorum g"), "not possible"),
        (policy("group g 01 a", "quorum g"), "not possible"),
        (policy("group g some a", "quorum g"), "not possible"),
        (policy("group g any", "quorum g"), "form"),
        (policy("group g any z", "quorum g"), "not defined"),
        (policy("group g any none", "quorum g"), "cannot be a member"),
        (policy("group g any a a", "quorum g"), "member already"),
        (policy("group g any a", "group h any a", "quorum h"), "member already"),
        (policy("group g any g", "quorum g"), "not defined"),
        (policy("group a any b", "quorum a"), "taken"),
        (policy("group none any b", "quorum none"), "taken"),
        (policy("quorum g", "group g any a"), "not defined"),
        (policy(f"witness d {A}", "quorum d"), "already"),
        (policy(f"witness a {WITNESS['d'].to_text()}", "quorum a"), "taken"),
        (policy(f"witness d {LOG.to_text()}", "quorum d"), "no cosignatures"),
        (policy("witness d n+00+x", "quorum d"), "not a verifier key"),
        (policy(f"witness d {WITNESS['d'].to_text()} ftp://x", "quorum d"), "not a URL"),
        (policy(f"witness d {WITNESS['d'].to_text()} http://x y", "quorum d"), "form"),
        (policy(f"log {LOG.to_text()}", f"log {LOG.to_text()}", "quorum a"), "already"),
        (policy("quorum a b"), "form"),
        (policy("qourum a"), "begins with"),
        (policy("quorum a\r"), "control"),
        (policy("quorum a", "# \x7f"), "control"),
        (b"#" * (MAX_POLICY_BYTES + 1), "too large"),
    ],
)
def test_refuses_and_says_why(text, reason):
    with pytest.raises(MalformedInput, match=reason) as refused:
        parse_witness_policy(text)
    assert refused.value.code == "malformed_witness_policy"


def test_takes_32_of_everything_and_bounds_each():
    keys = [cosigner_vkey(f"w/{n}", Ed25519PrivateKey.from_private_bytes(bytes([n]) * 32)) for n in range(60)]
    lines = [f"witness w{n} {key.to_text()}" for n, key in enumerate(keys[:32])]
    groups = [f"group g{n} any w{n}" for n in range(32)]
    logs = [f"log {verifier_key('l', ED25519, key.material).to_text()}" for key in keys[:32]]
    parsed = parse_witness_policy("\n".join([*logs, *lines, *groups, "quorum g31"]).encode())
    assert (len(parsed.logs), len(parsed.witnesses), len(parsed.groups)) == (32, 32, 32)
    many = [f"witness w{n} {key.to_text()}" for n, key in enumerate(keys)]
    with pytest.raises(MalformedInput, match="more than"):
        parse_witness_policy("\n".join([*many, "quorum none"]).encode())


def test_a_note_with_a_quorum_names_its_witnesses_in_the_order_of_the_policy():
    parsed = parse_witness_policy(policy("group g 2 a b c", "quorum g"))
    assert list(parsed.verify_witnessed(note_by("c", "a"))) == ["a", "c"]


def test_a_missing_quorum_names_who_signed_and_who_did_not():
    parsed = parse_witness_policy(policy("group g 2 a b c", "quorum g"))
    with pytest.raises(InvalidProof, match=r"2 of a, b, c.*signed by b, not by a, c") as refused:
        parsed.verify_witnessed(note_by("b", "d"))
    assert refused.value.code == "no_witness_quorum"
    with pytest.raises(InvalidProof, match="signed by nobody") as refused:
        parsed.verify_witnessed(note_by("d"))
    assert refused.value.code == "not_witnessed"


def test_one_witness_twice_counts_once():
    parsed = parse_witness_policy(policy("group g 2 a b c", "quorum g"))
    with pytest.raises(InvalidProof):
        parsed.verify_witnessed(note_by("a", "a"))


def test_a_false_cosignature_of_a_known_witness_is_refused():
    parsed = parse_witness_policy(policy("quorum a"))
    false = NoteSignature(WITNESS["b"].name, WITNESS["b"].key_id, bytes(72))
    note = note_by("a")
    with pytest.raises(InvalidSignature):
        parsed.verify_witnessed(Note(note.text, (*note.signatures, false)))


@pytest.mark.parametrize(
    ("heard", "silent"), [("", "abc"), ("a", "bc"), ("x", "abc"), ("ab", ""), ("abc", "")]
)
def test_names_the_silent_witnesses_where_they_make_a_quorum(heard, silent):
    """What only they have signed nobody would know of."""
    parsed = parse_witness_policy(policy("group g 2 a b c", "quorum g"))
    assert "".join(parsed.holds_without(set(heard))) == silent
