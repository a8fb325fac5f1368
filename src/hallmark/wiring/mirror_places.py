"""What mirrors show of an instance: its logs, and logs that it began after its directory was copied.

A rotation makes a key that an older copy of the directory lacks, so no key that is here can check what the
new shard signed. It is taken for this instance's by its origin, unless the place shows logs of another
instance under the same names. A place that lies can stop a start; its key is believed only where the operator
restores from it and replaces logs.
"""

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from itertools import count
from pathlib import Path
from typing import Final

import msgspec

from hallmark.adapters.storage.filesystem import FileObjectStore
from hallmark.client.http import HttpClient
from hallmark.core.checkpoint import parse_checkpoint
from hallmark.core.keys import PublicKey, parse_public_key_pem
from hallmark.core.note import MAX_NOTE_BYTES, note_key_hash, parse_note
from hallmark.core.trusted_root import TrustedRoot, parse_trusted_root
from hallmark.errors import HallmarkError, NotFound, RemoteError
from hallmark.tiledlog.mirror import ReadObjects
from hallmark.tiledlog.objects import CHECKPOINT
from hallmark.wiring.layout import Layout, is_url
from hallmark.wiring.log_sides import (
    MIRROR_FILE,
    HttpObjects,
    LogIdentity,
    find_folders,
    identify_log,
    open_folder,
    pinned_in,
)
from hallmark.wiring.logs import STATIC_CT, OpenLog
from hallmark.wiring.shards import MAX_SHARDS, Shard, ShardTable

ASK_SECONDS: Final = 5.0  # for all places together, at a start: as long as a witness has
MAX_MISSING_SHARDS: Final = 4  # in a row, below a URL: a mirror lacks those that were lost before it was made
_MAX_PINNED_BYTES: Final = 64 << 10
_CT_FOLDER: Final = "ctlog"


class LostLog(msgspec.Struct, frozen=True, kw_only=True):
    """A log of this instance that a place shows and the directory does not know.

    `url` names a shard in the trusted root; the CT log has neither number nor URL of its own.
    """

    number: int
    url: str
    origin: str
    key: str
    size: int
    place: str

    @property
    def folder(self) -> str:
        """The name that it has, or had, in the instance's directory."""
        return Shard(self.number).folder if self.number else _CT_FOLDER

    @property
    def public_key(self) -> PublicKey:
        """The key that its checkpoints are signed with."""
        return parse_public_key_pem(self.key.encode())

    @property
    def log_id(self) -> bytes:
        """What the trusted root calls it by; `hallmark inspect` shows it too."""
        key = self.public_key
        return note_key_hash(self.origin, key) if self.number else key.key_id

    def describe(self) -> str:
        """Say what was found where, and what that means."""
        return (
            f"{self.place} shows {self.folder} of this instance, {self.origin} with {self.size} entries and "
            f"the log id {self.log_id.hex()}, which was begun after this copy was made"
        )


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """What one place shows. `notes` are checkpoints of logs by their names, verified.

    `foreign` are the origins of checkpoints that name a log of the instance and are signed with another key.
    `single` says that the place is one log, `failure` what kept it from answering, wholly or in part.
    """

    place: str
    notes: tuple[tuple[str, bytes], ...]
    foreign: tuple[str, ...]
    lost: tuple[LostLog, ...]
    single: bool
    failure: HallmarkError | None

    @property
    def is_empty(self) -> bool:
        """Say whether nothing of the instance is there."""
        return not (self.notes or self.lost)


class Known:
    """The logs of an instance by their names, and the keys that it has told clients of."""

    def __init__(self, layout: Layout, logs: Mapping[str, OpenLog]) -> None:
        self.logs = logs
        self.instance = layout.read_instance()
        self.newest = max(shard.number for shard in ShardTable(layout).read())
        root = parse_trusted_root((layout.client / "trusted_root.json").read_bytes())
        self.keys = _keys(root)
        self.ctlogs = len(root.ctlogs)

    @cached_property
    def numbers(self) -> dict[str, int]:
        """The numbers of shards that may yet come, by their origins."""
        return {Shard(n).origin(self.instance): n for n in range(self.newest + 1, MAX_SHARDS + 1)}

    @cached_property
    def origins(self) -> frozenset[str]:
        """The origins of the logs that there are."""
        return frozenset(log.signer.origin for log in self.logs.values())


def ask_places(known: Known, places: Sequence[str], seconds: float = ASK_SECONDS) -> tuple[Shown, ...]:
    """Ask all places at once what they have; one that has not answered by then counts as it is."""
    end = time.monotonic() + seconds
    looks = [_Look(known, place, end) for place in places]
    threads = [threading.Thread(target=look.run, name="mirror", daemon=True) for look in looks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, end - time.monotonic()))
    return tuple(look.shown() for look in looks)


class _Look:
    """Asks one place. What it has found can be read while it is still waiting."""

    def __init__(self, known: Known, place: str, end: float) -> None:
        self._known = known
        self._place = place
        self._end = end
        self._notes: list[tuple[str, bytes]] = []
        self._foreign: list[str] = []
        self._lost: list[LostLog] = []
        self._ours = False
        self._single = False
        self._found = False
        self._failure: HallmarkError | None = RemoteError(
            f"{place} does not answer in time", code="service_unreachable", hint="is the service running?"
        )

    def run(self) -> None:
        """Look at all that the place may have; one that cannot be reached is not asked again."""
        try:
            failure = self._look_in_folders() if not is_url(self._place) else self._look_at_url()
        except HallmarkError as error:
            failure = error
        except OSError as error:
            failure = RemoteError(
                f"{self._place} cannot be read: {error.strerror}", code="service_unreachable"
            )
        self._failure = failure

    def shown(self) -> Shown:
        """Tell what was found. The names of logs are not enough where those that are known are another's."""
        other = self._foreign and not self._ours
        lost = tuple(item for item in self._lost if self._ours or (item.number and not other))
        foreign = [*self._foreign, *(item.origin for item in self._lost if item not in lost)]
        return Shown(
            place=self._place,
            notes=tuple(self._notes),
            foreign=tuple(foreign),
            lost=lost,
            single=self._single,
            failure=self._failure,
        )

    def _look_in_folders(self) -> HallmarkError | None:
        for folder in find_folders(self._place):
            objects = open_folder(folder)
            if _size(objects, CHECKPOINT) > MAX_NOTE_BYTES or _size(objects, MIRROR_FILE) > _MAX_PINNED_BYTES:
                continue  # whatever it is, it would be read whole
            self._single |= folder == Path(self._place)
            self._examine(objects)
        return None

    def _look_at_url(self) -> HallmarkError | None:
        http = HttpClient(timeout_seconds=ASK_SECONDS, deadline_seconds=ASK_SECONDS, patience_seconds=0)
        failure: HallmarkError | None = None
        for path in self._paths():
            if time.monotonic() > self._end:
                return self._failure
            try:
                self._found = self._examine(HttpObjects(f"{self._place.rstrip('/')}{path}", http))
                self._single |= self._found and not path
            except RemoteError as error:
                if error.code == "service_unreachable":
                    raise
                self._found, failure = False, error  # some servers answer 403 for what is not there
        return failure

    def _paths(self) -> Iterator[str]:
        """Give the paths of logs below a URL: those that there are, then those that may have come after."""
        yield from ("", *(f"/{name}" for name in self._known.logs))
        yield f"/{_CT_FOLDER}-{self._known.ctlogs + 1}"
        missing = 0
        for number in count(self._known.newest + 1):
            yield f"/{Shard(number).folder}"
            missing = 0 if self._found else missing + 1
            if missing == MAX_MISSING_SHARDS or number == MAX_SHARDS:
                return

    def _examine(self, objects: ReadObjects) -> bool:
        """Look at one read side; says whether there is a checkpoint."""
        try:
            note = objects.get(CHECKPOINT)
        except NotFound:
            return False
        for name, log in self._known.logs.items():
            if is_signed(note, log):
                self._notes.append((name, note))
                self._ours = True
                return True
        if _identify(note, self._known.keys) is None:
            self._examine_unknown(note, objects)
        else:
            self._ours = True  # one that has ended
        return True

    def _examine_unknown(self, note: bytes, objects: ReadObjects) -> None:
        """Look at a checkpoint that no key of this instance has signed."""
        try:
            origin = parse_checkpoint(parse_note(note).text).origin
        except HallmarkError:
            return
        identity = _identify(note, self._keys_at(objects))
        number = self._known.numbers.get(origin, 0)
        is_ct = origin == self._known.instance.ctlog_origin
        if identity is not None and (is_ct if identity.records is STATIC_CT else number > 0):
            key, size = identity.key.to_pem(), identity.verify(note).size
            url = Shard(number).trusted_url(self._known.instance) if number else ""
            self._lost.append(
                LostLog(number=number, url=url, origin=origin, key=key, size=size, place=self._place)
            )
        elif origin in self._known.origins:
            self._foreign.append(origin)

    def _keys_at(self, objects: ReadObjects) -> list[PublicKey]:
        """Read the keys that a mirror was made for; else those of a copy, or of an instance that serves."""
        try:
            return [pinned_in(objects)[1]]
        except NotFound:
            pass
        try:
            if is_url(self._place):
                data = HttpObjects(f"{self._place.rstrip('/')}/.well-known/hallmark").get("trusted_root.json")
            else:
                data = (Path(self._place) / "client" / "trusted_root.json").read_bytes()
            return _keys(parse_trusted_root(data))
        except (HallmarkError, OSError):
            return []


def _size(objects: FileObjectStore, path: str) -> int:
    try:
        return objects.size(path)
    except NotFound:
        return 0


def _keys(root: TrustedRoot) -> list[PublicKey]:
    return [log.key for log in (*root.tlogs, *root.ctlogs)]


def _identify(note: bytes, keys: Sequence[PublicKey]) -> LogIdentity | None:
    try:
        found = identify_log(note, keys, origin=None)
        found.verify(note)
    except HallmarkError:
        return None
    return found


def is_signed(note: bytes, log: OpenLog) -> bool:
    """Say whether a note is a checkpoint that this log has signed."""
    try:
        log.signer.verify(note)
    except HallmarkError:
        return False
    return True
