"""Witness policies (C2SP tlog-policy): which logs, which witnesses, and whose cosignatures are enough.

log <vkey> [<url>]
witness <name> <vkey> [<url>]
group <name> all|any|<k> <name>...
quorum <name>|none
"""

import re
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Final

import msgspec

from hallmark.core.checkpoint import Checkpoint, parse_checkpoint
from hallmark.core.cosignature import Cosignature, find_cosignature
from hallmark.core.note import Note
from hallmark.core.vkey import COSIGNATURE_TYPES, VerifierKey, parse_vkey
from hallmark.errors import InvalidProof, MalformedInput

MAX_POLICY_BYTES: Final = 512 * 1024
MAX_LOGS: Final = 48
MAX_WITNESSES: Final = 48
MAX_GROUPS: Final = 48
MAX_URL_BYTES: Final = 2048
NONE: Final = "none"

_SPACE: Final = re.compile(rb"[ \t]+")
_CONTROL: Final = re.compile(rb"[\x00-\x08\x0b-\x1f\x7f]")
_THRESHOLD: Final = re.compile(r"[1-9][0-9]{0,3}", re.ASCII)


class PolicyLog(msgspec.Struct, frozen=True):
    """A log: its key, whose name is the log's origin, and its URL or nothing."""

    key: VerifierKey
    url: str = ""


class PolicyWitness(msgspec.Struct, frozen=True):
    """A witness: its name in the policy, its key, and the URL to submit to or nothing."""

    name: str
    key: VerifierKey
    url: str = ""


class PolicyGroup(msgspec.Struct, frozen=True):
    """A group: it has witnessed what at least `threshold` of its members have."""

    name: str
    threshold: int
    members: tuple[str, ...]


class WitnessPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """A policy; `quorum` names a witness or a group, or is `none`.

    Groups stand behind their members, and no name is a member twice, so the quorum is a tree.
    """

    logs: tuple[PolicyLog, ...]
    witnesses: tuple[PolicyWitness, ...]
    groups: tuple[PolicyGroup, ...]
    quorum: str

    def holds(self, signed: AbstractSet[str]) -> bool:
        """Say whether these witnesses, by their names in the policy, make a quorum."""
        reached = set(signed) | {NONE}
        for group in self.groups:
            if sum(member in reached for member in group.members) >= group.threshold:
                reached.add(group.name)
        return self.quorum in reached

    def holds_without(self, heard: AbstractSet[str]) -> tuple[str, ...]:
        """Name the witnesses that are not among these, if they make a quorum by themselves; else nobody.

        Where they do not, every quorum that ever signed has one of `heard` in it.
        """
        silent = tuple(item.name for item in self.witnesses if item.name not in heard)
        return silent if self.holds(set(silent)) else ()

    def check_quorum(self, signed: AbstractSet[str]) -> None:
        """Check that these witnesses make a quorum; raises `InvalidProof`, which names who is missing."""
        if self.holds(signed):
            return
        missing = [item.name for item in self.witnesses if item.name not in signed]
        present = [item.name for item in self.witnesses if item.name in signed]
        raise InvalidProof(
            f"the witnesses do not make a quorum ({self.describe_quorum()}): "
            f"signed by {_listed(present)}, not by {_listed(missing)}",
            code="no_witness_quorum" if present else "not_witnessed",
        )

    def describe_quorum(self) -> str:
        """Say in words what the quorum is."""
        for group in self.groups:
            if group.name == self.quorum:
                return f"{group.name}: {group.threshold} of {_listed(group.members)}"
        return self.quorum

    def find_cosignatures(self, note: Note, checkpoint: Checkpoint) -> dict[str, Cosignature]:
        """Verify the cosignatures of the policy's witnesses on a note, by name, in the policy's order.

        Raises `InvalidSignature` for a line of a known witness that does not verify.
        """
        found = ((item.name, find_cosignature(note, checkpoint, item.key)) for item in self.witnesses)
        return {name: cosignature for name, cosignature in found if cosignature is not None}

    def verify_witnessed(self, note: Note) -> dict[str, Cosignature]:
        """Check that a checkpoint carries a quorum of cosignatures; returns those of known witnesses.

        The log's own signature is not looked at. Raises `InvalidProof`, `InvalidSignature` or
        `MalformedInput`.
        """
        cosignatures = self.find_cosignatures(note, parse_checkpoint(note.text))
        self.check_quorum(cosignatures.keys())
        return cosignatures


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names) if names else "nobody"


def parse_witness_policy(data: bytes) -> WitnessPolicy:
    """Read a policy file; raises `MalformedInput`, which names the line."""
    if len(data) > MAX_POLICY_BYTES:
        raise MalformedInput(
            f"a witness policy of {len(data)} bytes is too large", code="malformed_witness_policy"
        )
    reader = _PolicyReader()
    for number, line in enumerate(data.split(b"\n"), 1):
        try:
            reader.read(line)
        except MalformedInput as error:
            raise MalformedInput(
                f"line {number} of the witness policy: {error.message}", code="malformed_witness_policy"
            ) from None
    return reader.finish()


class _PolicyReader:
    """Takes a policy line by line; every name must be defined before it is used."""

    def __init__(self) -> None:
        self._logs: list[PolicyLog] = []
        self._witnesses: list[PolicyWitness] = []
        self._groups: list[PolicyGroup] = []
        self._quorum = ""
        self._names: set[str] = {NONE}
        self._members: set[str] = {NONE}
        self._kinds: Mapping[str, Callable[[list[str]], None]] = {
            "log": self._read_log,
            "witness": self._read_witness,
            "group": self._read_group,
            "quorum": self._read_quorum,
        }

    def read(self, line: bytes) -> None:
        """Read one line without its newline."""
        if _CONTROL.search(line):
            raise MalformedInput("it has a control character")
        # names are opaque octets; what is not UTF-8 is shown with backslashes, and collides at worst
        words = [word.decode("utf-8", "backslashreplace") for word in _SPACE.split(line.strip(b" \t"))]
        if not words[0] or words[0].startswith("#"):
            return
        read = self._kinds.get(words[0])
        if read is None:
            raise MalformedInput(f"it begins with {words[0][:40]!r}")
        read(words[1:])

    def finish(self) -> WitnessPolicy:
        """Give the policy; raises `MalformedInput` where it has no quorum line."""
        if not self._quorum:
            raise MalformedInput("the witness policy has no quorum line", code="malformed_witness_policy")
        return WitnessPolicy(
            logs=tuple(self._logs),
            witnesses=tuple(self._witnesses),
            groups=tuple(self._groups),
            quorum=self._quorum,
        )

    def _read_log(self, words: list[str]) -> None:
        _check_count(words, 1, 2, "log <vkey> [<url>]")
        _check_room(self._logs, MAX_LOGS, "logs")
        log = PolicyLog(parse_vkey(words[0]), _url(words[1:]))
        _check_new_key(log.key, [item.key for item in self._logs])
        self._logs.append(log)

    def _read_witness(self, words: list[str]) -> None:
        _check_count(words, 2, 3, "witness <name> <vkey> [<url>]")
        _check_room(self._witnesses, MAX_WITNESSES, "witnesses")
        witness = PolicyWitness(words[0], parse_vkey(words[1]), _url(words[2:]))
        if witness.key.signature_type not in COSIGNATURE_TYPES:
            raise MalformedInput(f"the key of {witness.name!r} makes no cosignatures")
        _check_new_key(witness.key, [item.key for item in self._witnesses])
        self._define(witness.name)
        self._witnesses.append(witness)

    def _read_group(self, words: list[str]) -> None:
        _check_count(words, 3, 2 + MAX_WITNESSES + MAX_GROUPS, "group <name> all|any|<k> <name>...")
        _check_room(self._groups, MAX_GROUPS, "groups")
        name, rule, *members = words
        for member in members:
            self._use(member)
        self._define(name)
        self._groups.append(PolicyGroup(name, _threshold(rule, len(members)), tuple(members)))

    def _read_quorum(self, words: list[str]) -> None:
        _check_count(words, 1, 1, "quorum <name>")
        if self._quorum:
            raise MalformedInput("there is a second quorum")
        if words[0] not in self._names:
            raise MalformedInput(f"{words[0][:80]!r} is not defined above")
        self._quorum = words[0]

    def _define(self, name: str) -> None:
        if name in self._names:
            raise MalformedInput(f"the name {name[:80]!r} is taken")
        self._names.add(name)

    def _use(self, name: str) -> None:
        if name not in self._names:
            raise MalformedInput(f"{name[:80]!r} is not defined above")
        if name in self._members:
            raise MalformedInput(f"{name[:80]!r} cannot be a member here, or is a member already")
        self._members.add(name)


def _check_count(words: list[str], least: int, most: int, form: str) -> None:
    if not least <= len(words) <= most:
        raise MalformedInput(f"it is not of the form {form}")


def _check_room(items: Sequence[object], most: int, what: str) -> None:
    if len(items) >= most:
        raise MalformedInput(f"there are more than {most} {what}")


def _check_new_key(key: VerifierKey, others: Sequence[VerifierKey]) -> None:
    """Two names for one key would let one party count twice."""
    if any(key.material == other.material for other in others):
        raise MalformedInput(f"the key of {key.name!r} stands there already")


def _url(words: list[str]) -> str:
    url = words[0] if words else ""
    if url and (not url.startswith(("https://", "http://")) or len(url.encode()) > MAX_URL_BYTES):
        raise MalformedInput(f"{url[:80]!r} is not a URL")
    return url


def _threshold(rule: str, members: int) -> int:
    if rule == "all":
        return members
    if rule == "any":
        return 1
    if not _THRESHOLD.fullmatch(rule) or int(rule) > members:
        raise MalformedInput(f"{rule[:40]!r} of {members} members is not possible")
    return int(rule)
