"""Read sides of logs for the tools: where they are, whose they are, and of which kind."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Final

import msgspec

from hallmark.adapters.storage.filesystem import FileObjectStore
from hallmark.client.files import read_file, write_file
from hallmark.client.http import HttpClient, refused
from hallmark.core.checkpoint import Checkpoint, parse_checkpoint, verify_checkpoint
from hallmark.core.keys import MAX_PUBLIC_KEY_BYTES, PublicKey, parse_public_key_pem
from hallmark.core.note import note_key_hash, parse_note
from hallmark.core.trusted_root import MAX_TRUSTED_ROOT_BYTES, parse_trusted_root
from hallmark.core.x509.sth import sth_key_id, verify_sth_note
from hallmark.errors import ConfigurationError, HallmarkError, NotFound, TrustError
from hallmark.tiledlog.mirror import ReadObjects
from hallmark.tiledlog.objects import CHECKPOINT
from hallmark.tiledlog.records import TLOG_TILES, RecordFormat
from hallmark.wiring.layout import is_url
from hallmark.wiring.logs import STATIC_CT

MIRROR_FILE: Final = "mirror.json"
_MAX_OBJECT_BYTES: Final = 20 << 20  # 256 entries of 65,535 bytes, the most that tlog-tiles allows
_MAX_MIRROR_FILE: Final = 64 << 10
_SERVICE: Final = "the log"


class LogIdentity(msgspec.Struct, frozen=True):
    """Whose log it is, and of which kind: what its checkpoints are verified with."""

    origin: str
    key: PublicKey
    records: RecordFormat

    def verify(self, note: bytes) -> Checkpoint:
        """Check a checkpoint of the log; raises `VerificationError` or `MalformedInput`."""
        if self.records is STATIC_CT:
            return verify_sth_note(note, origin=self.origin, key=self.key).checkpoint
        return verify_checkpoint(note, origin=self.origin, key_name=self.origin, key=self.key)


def identify_log(note: bytes, keys: Sequence[PublicKey], *, origin: str | None) -> LogIdentity:
    """Find which of these keys signed the checkpoint, and so of which kind the log is; raises `TrustError`.

    Without `origin` the checkpoint's own counts. The kind shows in the key id, which hashes the kind of
    signature too, so a log of one kind cannot pass for the other.
    """
    parsed = parse_note(note)
    found = origin or parse_checkpoint(parsed.text).origin
    ids = {line.key_id for line in parsed.signatures if line.name == found}
    for key in keys:
        if note_key_hash(found, key)[:4] in ids:
            return LogIdentity(found, key, TLOG_TILES)
        if sth_key_id(found, key.key_id) in ids:
            return LogIdentity(found, key, STATIC_CT)
    raise TrustError(
        f"the checkpoint of {found} is not signed by any of the {len(keys)} keys that were given",
        code="unknown_log_key",
        hint="pass the log's own key with --log-key, or a trusted root that has it with --trusted-root",
    )


def read_keys(log_key: Path | None, trusted_root: Path | None) -> list[PublicKey]:
    """Read the keys that may sign: one from a PEM file, or those of all logs of a trusted root."""
    if log_key is not None:
        return [parse_public_key_pem(read_file(log_key, max_bytes=2 * MAX_PUBLIC_KEY_BYTES))]
    if trusted_root is None:
        return []
    root = parse_trusted_root(read_file(trusted_root, max_bytes=MAX_TRUSTED_ROOT_BYTES))
    return [log.key for log in (*root.tlogs, *root.ctlogs)]


class HttpObjects:
    """A log's read side over HTTP; safe to share between threads."""

    def __init__(self, url: str, http: HttpClient | None = None) -> None:
        self._url = url.rstrip("/")
        self._http = http or HttpClient()

    def get(self, path: str) -> bytes:
        """Fetch an object; raises `NotFound` or `RemoteError`."""
        url = f"{self._url}/{path}"
        answer = self._http.get(url, service=_SERVICE, max_bytes=_MAX_OBJECT_BYTES)
        if answer.status == 404:
            raise NotFound(f"{_SERVICE} at {self._url} has no {path}")
        if answer.status != 200:
            raise refused(answer, service=_SERVICE, url=url)
        return answer.body


def open_read_side(place: str) -> ReadObjects:
    """Open the read side at a URL or in a folder."""
    if is_url(place):
        return HttpObjects(place)
    return open_folder(Path(place))


def find_read_sides(place: str, name: str) -> Iterator[ReadObjects]:
    """Find the read sides that a place may mean: one log's, a mirror of all logs, a copy of the directory.

    `name` is the log's folder in an instance's directory.
    """
    if is_url(place):
        yield HttpObjects(place)
        yield HttpObjects(f"{place.rstrip('/')}/{name}")
        return
    yield from map(open_folder, find_folders(place))


def find_folders(place: str) -> Iterator[Path]:
    """Find the read sides in a folder: one log's, those of a mirror of all logs, those of a copy."""
    for pattern in ("", "*/", "shards/*/", "*/public/", "shards/*/public/"):
        for found in sorted(Path(place).glob(f"{pattern}{CHECKPOINT}")):
            yield found.parent


def open_folder(folder: Path) -> FileObjectStore:
    """Open a folder that must hold a log's read side; raises `ConfigurationError`."""
    if not (folder / CHECKPOINT).is_file():
        raise ConfigurationError(
            f"{folder} holds no log: it has no file {CHECKPOINT}",
            code="not_a_log",
            hint="name a mirror, or the folder `public` of a log in an instance's directory",
        )
    return FileObjectStore(folder)


class _MirrorFile(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a mirror keeps of its log, pinned when it was made; and which bundle the next pass examines."""

    origin: str
    key: str
    next_bundle: Annotated[int, msgspec.Meta(ge=0)] = 0


def pin_identity(folder: Path, identity: LogIdentity, *, next_bundle: int = 0) -> None:
    """Keep in the mirror whose log it copies, and how far it was examined."""
    content = _MirrorFile(identity.origin, identity.key.to_pem(), next_bundle)
    write_file(folder / MIRROR_FILE, msgspec.json.format(msgspec.json.encode(content), indent=2) + b"\n")


def pinned_in(objects: ReadObjects) -> tuple[str, PublicKey]:
    """Read origin and key that a mirror anywhere says it was made for; raises `NotFound` where it cannot."""
    try:
        found = msgspec.json.decode(objects.get(MIRROR_FILE), type=_MirrorFile)
        return found.origin, parse_public_key_pem(found.key.encode())
    except (msgspec.MsgspecError, UnicodeDecodeError, HallmarkError) as error:
        raise NotFound(f"there is no {MIRROR_FILE} to go by: {error}") from None


def pinned_identity(folder: Path) -> tuple[str, PublicKey] | None:
    """Read origin and key that a mirror was made for; None where it keeps none."""
    found = _read_pinned(folder)
    return None if found is None else (found.origin, parse_public_key_pem(found.key.encode()))


def pinned_progress(folder: Path) -> int:
    """Read which bundle the next pass examines."""
    found = _read_pinned(folder)
    return 0 if found is None else found.next_bundle


def _read_pinned(folder: Path) -> _MirrorFile | None:
    path = folder / MIRROR_FILE
    if not path.is_file():
        return None
    try:
        return msgspec.json.decode(read_file(path, max_bytes=_MAX_MIRROR_FILE), type=_MirrorFile)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"{path} is damaged: {error}", code="damaged_state", hint="delete it and pass --log-key again"
        ) from None


def identify_folder(folder: Path, keys: Sequence[PublicKey], *, origin: str | None) -> LogIdentity:
    """Say whose log stands in a folder: by the keys that were given, else by those that it was made with."""
    pinned = pinned_identity(folder)
    known = list(keys) or ([pinned[1]] if pinned else [])
    if not known:
        raise TrustError(
            f"nothing says which key signs the log in {folder}",
            code="unknown_log_key",
            hint="pass the log's own key with --log-key, or a trusted root that has it with --trusted-root",
        )
    note = open_folder(folder).get(CHECKPOINT)
    return identify_log(note, known, origin=origin or (pinned[0] if pinned else None))
