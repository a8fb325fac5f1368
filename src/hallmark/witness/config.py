"""What the operator of a witness decides, and what a log decides about its witnesses."""

import re
from enum import Enum
from typing import Final

import msgspec

from hallmark.core.note import MAX_NOTE_BYTES
from hallmark.core.vkey import VerifierKey, parse_vkey
from hallmark.errors import ConfigurationError, MalformedInput

MAX_LOGS: Final = 10_000

# A verifier key may itself end with `=`; whole groups of four base64 characters say where it ends.
_LOG: Final = re.compile(
    r"(?P<vkey>[^+]+\+[0-9a-f]{8}\+(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?)"
    r"(?:=(?P<origin>.+))?"
)


class WitnessedLog(msgspec.Struct, frozen=True):
    """A log that the witness serves: its origin, and the keys of which one must have signed."""

    origin: str
    keys: tuple[VerifierKey, ...]


class WitnessConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of a witness.

    `logs` are the logs it cosigns, by origin. `max_body_bytes` bounds a request: a checkpoint with room for
    several dozen post-quantum signatures, and a proof.
    """

    logs: dict[str, WitnessedLog]
    max_body_bytes: int = MAX_NOTE_BYTES + 4096


class AskingConfig(msgspec.Struct, frozen=True, kw_only=True):
    """How a log asks its witnesses.

    `round_seconds` bounds one round, retries included, whatever the witnesses do; `longest_pause` is how
    many seconds a witness that fails is left alone at most. `looking_seconds` bounds the question, at a
    start, how far they have seen the log.
    """

    round_seconds: float = 1.0
    longest_pause: float = 5.0
    looking_seconds: float = 3.0


class WitnessMode(Enum):
    """What becomes of a checkpoint that no quorum signs: it is not published, or it is without them."""

    STRICT = "strict"
    FAIL_OPEN = "fail-open"


def parse_logs(texts: tuple[str, ...]) -> dict[str, WitnessedLog]:
    """Read `VKEY` or `VKEY=ORIGIN` for each log key; raises `ConfigurationError`.

    Without an origin it is the key's name, as C2SP recommends. Several keys may be given for one origin.
    """
    if not 0 < len(texts) <= MAX_LOGS:
        raise ConfigurationError(
            f"{len(texts)} logs to witness", code="usage", hint=f"name 1 to {MAX_LOGS} with --log VKEY"
        )
    logs: dict[str, WitnessedLog] = {}
    for text in texts:
        origin, key = _parse_log(text)
        known = logs.get(origin, WitnessedLog(origin, ()))
        logs[origin] = WitnessedLog(origin, (*known.keys, key))
    return logs


def _parse_log(text: str) -> tuple[str, VerifierKey]:
    found = _LOG.fullmatch(text)
    try:
        if found is None:
            raise MalformedInput("it is not of the form NAME+ID+KEY", code="malformed_vkey")
        key = parse_vkey(found["vkey"])
    except MalformedInput as error:
        raise ConfigurationError(
            f"{text[:80]!r} names no log: {error.message}",
            code=error.code,
            hint="write --log VKEY, or --log VKEY=ORIGIN where the origin is not the key's name",
        ) from None
    return found["origin"] or key.name, key
