"""Gathers cosignatures from the witnesses of a policy: all at once, within a bounded time.

Nothing that a witness does, or fails to do, can hold up the log longer than one round: each is asked on a
thread of its own, and whoever has not answered in time is left behind. A witness that fails is left alone
for a pause that grows. Every cosignature is verified before it is used.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from collections.abc import Set as AbstractSet
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import urllib3

from hallmark.core.checkpoint import Checkpoint
from hallmark.core.cosignature import Cosignature
from hallmark.core.note import Note, parse_note
from hallmark.core.witness_policy import WitnessPolicy
from hallmark.errors import ConfigurationError, HallmarkError
from hallmark.tiledlog.witnessing import Cosigned, Prove
from hallmark.witness.client import Monotonic, Request, Sighting, WitnessClient
from hallmark.witness.config import AskingConfig, WitnessMode

logger = logging.getLogger("hallmark.witness")

_REMIND_SECONDS: Final = 60.0
_GRACE_SECONDS: Final = 0.25


class WitnessRound:
    """One round: asks each witness on a thread of its own, and takes what has come when time is up."""

    def __init__(self, clients: Sequence[WitnessClient], request: Request) -> None:
        self._request = request
        self._changed = threading.Condition()
        self._left = len(clients)
        self._got: dict[str, Cosignature] = {}
        self._refused: dict[str, str] = {}
        for client in clients:
            client.busy = True
            threading.Thread(target=self._ask, args=(client,), name="witness", daemon=True).start()

    def wait(
        self, seconds: float, is_enough: Callable[[AbstractSet[str]], bool]
    ) -> tuple[dict[str, Cosignature], dict[str, str]]:
        """Wait for all, but not longer; gives cosignatures and complaints by the witnesses' names.

        Once there are enough, the others have a moment left: one that hangs must not make every round long.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._left == 0 or is_enough(self._got.keys()), timeout=seconds)
            self._changed.wait_for(lambda: self._left == 0, timeout=min(_GRACE_SECONDS, seconds))
            return dict(self._got), dict(self._refused)

    def _ask(self, client: WitnessClient) -> None:
        got: Cosignature | None = None
        complaint = ""
        try:
            got = client.fetch(self._request)
        except HallmarkError as error:
            complaint = error.message
        except Exception as error:  # noqa: BLE001  whatever a witness sends must not end a thread unheard
            complaint = f"unexpected {type(error).__name__}"
        finally:
            client.busy = False
        with self._changed:
            self._left -= 1
            if got is not None:
                self._got[client.name] = got
            else:
                self._refused[client.name] = complaint
            self._changed.notify()


class Witnesses:
    """The witnesses of one log (`tiledlog.witnessing.Cosigner`).

    Raises `ConfigurationError` for a policy whose quorum cannot be asked for.
    """

    def __init__(
        self,
        policy: WitnessPolicy,
        mode: WitnessMode,
        config: AskingConfig | None = None,
        monotonic: Monotonic = time.monotonic,
    ) -> None:
        self._policy = policy
        self._mode = mode
        self._config = config or AskingConfig()
        self._monotonic = monotonic
        asked = [item for item in policy.witnesses if item.url]
        if not policy.holds({item.name for item in asked}):
            raise ConfigurationError(
                f"the quorum ({policy.describe_quorum()}) cannot be reached by the witnesses that have a URL",
                code="unreachable_quorum",
                hint="write the submission URL of each witness at the end of its line in the policy",
            )
        pool = urllib3.PoolManager(num_pools=len(asked), maxsize=2)
        self._clients = [WitnessClient(item, pool, self._config, monotonic) for item in asked]
        self._voice = _Voice(monotonic)

    def cosign(self, note: bytes, stated: Checkpoint, published: bytes, prove: Prove) -> Cosigned:
        """Gather cosignatures on a checkpoint until all have answered or the round is over."""
        parsed = parse_note(note)
        found = self._already(parsed, stated, published)
        ahead: tuple[bytes, ...] = ()
        if not self._policy.holds(found.keys()):
            got, ahead = self._ask(parsed, note, stated, prove, found.keys())
            found |= got
        quorum = self._policy.holds(found.keys())
        lines = tuple(found[item.name].line for item in self._policy.witnesses if item.name in found)
        if not quorum:
            self._voice.missing(self._policy, stated, found.keys(), self._mode)
            if self._mode is WitnessMode.STRICT:
                return Cosigned(None, quorum=False, ahead=ahead)
        else:
            self._voice.complete(stated)
        return Cosigned(Note(parsed.text, parsed.signatures + lines).to_bytes(), quorum, ahead)

    def look(self, note: bytes, stated: Checkpoint) -> dict[str, Sighting]:
        """Ask all at once how far they have seen the log; those that do not tell in time are left out."""
        if not self._clients:
            return {}
        seconds = self._config.looking_seconds
        request = Request(parse_note(note), note, stated, _no_proof, self._monotonic() + seconds)
        with ThreadPoolExecutor(len(self._clients), thread_name_prefix="witness") as pool:
            asked = [(client, pool.submit(client.look, request)) for client in self._clients]
            found: dict[str, Sighting] = {}
            for client, future in asked:
                try:
                    found[client.name] = future.result()
                except HallmarkError as error:
                    logger.warning("witness %s does not say what it has seen: %s", client.name, error.message)
        return found

    def _already(self, note: Note, stated: Checkpoint, published: bytes) -> dict[str, Cosignature]:
        """What the published note has, if it is of this very checkpoint: after a restart nobody is asked."""
        try:
            other = parse_note(published)
            return self._policy.find_cosignatures(other, stated) if other.text == note.text else {}
        except HallmarkError:
            return {}

    def _ask(
        self, note: Note, data: bytes, stated: Checkpoint, prove: Prove, have: AbstractSet[str]
    ) -> tuple[dict[str, Cosignature], tuple[bytes, ...]]:
        clients = [item for item in self._clients if item.name not in have and item.is_ready()]
        if not clients:
            return {}, ()
        seconds = self._config.round_seconds
        deadline = self._monotonic() + seconds
        request = Request(note, data, stated, _SharedProofs(prove), deadline)
        got, complaints = WitnessRound(clients, request).wait(
            seconds - _GRACE_SECONDS, lambda names: self._policy.holds({*names, *have})
        )
        silent = [item.name for item in clients if item.name not in got and item.name not in complaints]
        self._voice.heard(got, complaints | dict.fromkeys(silent, f"no answer within {seconds} s"))
        return got, tuple(request.ahead)


def _no_proof(_old_size: int) -> list[bytes]:
    return []


class _SharedProofs:
    """Consistency proofs for several threads: the log's tiles are read by one at a time, and once."""

    def __init__(self, prove: Prove) -> None:
        self._prove = prove
        self._lock = threading.Lock()
        self._proofs: dict[int, list[bytes]] = {}

    def __call__(self, old_size: int) -> list[bytes]:
        with self._lock:
            if old_size not in self._proofs:
                self._proofs[old_size] = self._prove(old_size)
            return self._proofs[old_size]


class _Voice:
    """Says what goes wrong with witnesses: when it changes and now and then, not ten times a second."""

    def __init__(self, monotonic: Monotonic) -> None:
        self._monotonic = monotonic
        self._complaints: dict[str, str] = {}
        self._missing_since: float | None = None
        self._remind_at = 0.0

    def heard(self, got: Iterable[str], complaints: dict[str, str]) -> None:
        """Report each witness whose state has changed."""
        for name in got:
            if self._complaints.pop(name, None) is not None:
                logger.info("witness %s cosigns again", name)
        for name, complaint in complaints.items():
            if self._complaints.get(name) != complaint:
                logger.warning("witness %s did not cosign: %s", name, complaint)
            self._complaints[name] = complaint

    def missing(
        self, policy: WitnessPolicy, stated: Checkpoint, have: AbstractSet[str], mode: WitnessMode
    ) -> None:
        """Report that there is no quorum, once a minute while it lasts."""
        now = self._monotonic()
        if self._missing_since is not None and now < self._remind_at:
            return
        self._missing_since = now if self._missing_since is None else self._missing_since
        self._remind_at = now + _REMIND_SECONDS
        absent = [item.name for item in policy.witnesses if item.name not in have]
        what = "is NOT published" if mode is WitnessMode.STRICT else "is published without a quorum"
        logger.error(
            "the checkpoint of %s at size %d %s: quorum %s, not signed by %s; asking again",
            *(stated.origin, stated.size, what, policy.describe_quorum(), ", ".join(absent)),
        )

    def complete(self, stated: Checkpoint) -> None:
        """Report that there is a quorum again."""
        if self._missing_since is not None:
            seconds = self._monotonic() - self._missing_since
            logger.info(
                "the checkpoint of %s at size %d has its quorum, after %.1f s without",
                *(stated.origin, stated.size, seconds),
            )
            self._missing_since = None
