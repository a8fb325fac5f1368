"""What an instance needs to do its work, tried for real: its directory, its logs, all that ends one day."""

import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import msgspec
from cryptography import x509

from hallmark.adapters.keys.file import read_key
from hallmark.client.files import file_error
from hallmark.core.trusted_root import parse_trusted_root
from hallmark.durable_files import write_durably
from hallmark.errors import ConfigurationError, HallmarkError, TrustError
from hallmark.ports import HeadStore, StorageFailed
from hallmark.trustroot.client_files import TRUSTED_ROOT_TARGET
from hallmark.trustroot.keys import TufKeys
from hallmark.trustroot.repository import Lifetimes, TrustRepository
from hallmark.web.health import HealthCheck
from hallmark.wiring.chains import read_chain
from hallmark.wiring.checking import log_names, open_log
from hallmark.wiring.layout import Layout
from hallmark.wiring.logs import OpenLog
from hallmark.wiring.outside import check_published_within, look
from hallmark.wiring.place import COPY_HINT
from hallmark.wiring.shards import ShardTable, open_shard
from hallmark.wiring.witnessing import open_witnessed, open_witnesses, read_setting
from hallmark.witness.config import WitnessMode

SOON: Final = timedelta(days=90)
"""How long before the end of a certificate it is announced: replacing one takes its operator's planning."""

_LEAST_BYTES: Final = 16 << 20  # less than one batch of the largest entries, its tiles and the database's log
_FEW_BYTES: Final = 1 << 30  # some ten million entries' tiles: time enough to find more room
_RENEWED: Final = (
    "a running instance renews it: start it, or see on the standard error of `hallmark up` why not"
)
_REPLACED: Final = "see that this machine's clock is right; then make a new instance, in another directory"
_SERVED: Final = "put a newer certificate and its key in their files, then restart the instance"
_SERVED_SOON: Final = timedelta(days=14)  # made for 90 days or fewer, and renewed in their last third
_FREE: Final = "free some space, or move the directory to a larger disk; nothing was lost"
_ASK: Final = (
    "see that the instance runs and reaches its witnesses; its standard error says who does not answer"
)
_STARTED: Final = "start the instance, which publishes them; where it runs, see why on its standard error"
_LATE: Final = timedelta(seconds=60)  # publication takes a second, a round of witnesses less than thirty


class Expiry(msgspec.Struct, frozen=True):
    """Something that ends, and how long before that it is worth a word."""

    name: str
    ends: datetime
    notice: timedelta
    hint: str = ""

    def check(self, now: datetime) -> HealthCheck:
        """Say how long it lasts."""
        left = self.ends - now
        when = f"{self.ends:%Y-%m-%d %H:%M} UTC"
        ok = left > timedelta(0)
        found = f"ends {when}, in {_duration(left)}" if ok else f"ended {when}, {_duration(-left)} ago"
        ends = int(self.ends.timestamp())
        soon = ok and left < self.notice
        return HealthCheck(
            check=self.name, ok=ok, found=found, soon=soon, ends=ends, hint="" if ok else self.hint
        )


class _Late(StorageFailed):
    """Entries that wait for publication: nothing is broken yet."""


def examine_instance(
    layout: Layout, now: datetime, grpc_certificate: str | None = None
) -> tuple[HealthCheck, ...]:
    """Try everything that serving needs; what fails is a finding, never an exception.

    `grpc_certificate` is the file that the settings name: the directory does not know it.
    """
    return tuple(_examine(layout, now, grpc_certificate))


def ask_witnesses(layout: Layout) -> tuple[HealthCheck, ...]:
    """Ask the log's witnesses now; `examine_instance` does not, because callers of `/healthz` would wait.

    Takes as long as the slowest, three seconds at most. Nothing where the state is damaged, which is told
    elsewhere.
    """
    with suppress(HallmarkError, OSError, StorageFailed):
        return tuple(_ask_witnesses(layout))
    return ()


def _ask_witnesses(layout: Layout) -> Iterator[HealthCheck]:
    setting, witnesses = read_setting(layout), open_witnesses(layout)
    if setting is None or witnesses is None:
        return
    log, _ = open_shard(layout, layout.read_instance(), ShardTable(layout).read()[-1])
    policy, heard = setting.parse(), look(witnesses, log)
    silent = ", ".join(item.name for item in policy.witnesses if item.name not in heard)
    ok = policy.holds(heard.keys()) or setting.mode is not WitnessMode.STRICT
    found = f"{len(heard)} of {len(policy.witnesses)} answer" + (f", not {silent}" if silent else "")
    yield HealthCheck(check="witnesses now", ok=ok, found=found, hint="" if ok else _ASK)


def _examine(layout: Layout, now: datetime, grpc_certificate: str | None) -> Iterator[HealthCheck]:
    yield _attempt("directory", lambda: _probe(layout))
    yield _space(layout)
    try:
        for expiry in expiries(layout, grpc_certificate):
            yield expiry.check(now)
        yield _attempt("log keys", lambda: _keys(layout))
        for name in log_names(layout):
            yield _attempt(name, lambda name=name: _log(open_log(layout, name), now))  # type: ignore[misc]
        yield from _witnesses(layout, now)
    except (HallmarkError, OSError, StorageFailed) as error:
        yield _wrong("state", error)


def expiries(layout: Layout, grpc_certificate: str | None = None) -> tuple[Expiry, ...]:
    """Say when each thing of the instance ends; raises what reading them raises."""
    own = (*_certificates(layout, "ca"), *_certificates(layout, "tsa"), *_roles(layout))
    return own if grpc_certificate is None else (*own, _served(Path(grpc_certificate)))


def _served(path: Path) -> Expiry:
    """The certificate that gRPC is served with, renewed by others; the first of its file."""
    try:
        certificate = x509.load_pem_x509_certificates(path.read_bytes())[0]
    except ValueError:
        raise ConfigurationError(
            f"{path} holds no certificate in PEM", code="wrong_setting", hint=_SERVED
        ) from None
    return Expiry("grpc certificate", certificate.not_valid_after_utc, _SERVED_SOON, _SERVED)


def _certificates(layout: Layout, service: str) -> Iterator[Expiry]:
    leaf, *above = read_chain(layout, service)
    names = {"ca": "issuing certificate", "tsa": "timestamping certificate"}
    yield Expiry(names[service], _end_of(leaf), SOON, _REPLACED)
    for der in above:
        yield Expiry(f"{service} root certificate", _end_of(der), SOON, _REPLACED)


def _end_of(der: bytes) -> datetime:
    return x509.load_der_x509_certificate(der).not_valid_after_utc


def _roles(layout: Layout) -> Iterator[Expiry]:
    """The roles are renewed after half of their lives: one in its last quarter was not."""
    lifetimes = Lifetimes()
    for status in TrustRepository(layout.tuf, TufKeys({}), lifetimes).status():
        yield Expiry(f"tuf {status.role}", status.expires, getattr(lifetimes, status.role) / 4, _RENEWED)


def _attempt(name: str, look: Callable[[], str]) -> HealthCheck:
    try:
        return HealthCheck(check=name, ok=True, found=look())
    except (HallmarkError, OSError, StorageFailed) as error:
        return _wrong(name, error)


def _wrong(name: str, error: Exception) -> HealthCheck:
    """Say what is wrong; the error's own hint tells a full disk from a damaged file."""
    hint = error.hint if isinstance(error, HallmarkError) else ""
    if isinstance(error, OSError):
        hint = file_error(error, Path(), doing="use").hint
    if isinstance(error, _Late):
        hint = _STARTED
    return HealthCheck(check=name, ok=False, found=str(error), hint=hint)


def _probe(layout: Layout) -> str:
    """Write a file as everything durable is written, read it, and take it away."""
    path, data = layout.root / f".probe-{os.getpid()}", secrets.token_bytes(16)
    try:
        write_durably(path, data, mode=0o600)
        if path.read_bytes() != data:
            raise OSError("it gives back other bytes than were written")
    finally:
        with suppress(FileNotFoundError):
            path.unlink()
    return "can be written and read"


def _space(layout: Layout) -> HealthCheck:
    """Look at the fullest of the disks that the instance stands on."""
    folders = (layout.root, *(layout.database(name).parent for name in _folders(layout)))
    free = min(_free_bytes(folder) for folder in folders)
    found = f"{free / 2**20:,.0f} MiB free"
    ok = free >= _LEAST_BYTES
    return HealthCheck(check="disk", ok=ok, found=found, soon=free < _FEW_BYTES, hint="" if ok else _FREE)


def _folders(layout: Layout) -> tuple[str, ...]:
    try:
        return log_names(layout)
    except HallmarkError:
        return ()


def _free_bytes(folder: Path) -> int:
    with suppress(FileNotFoundError):
        found = os.statvfs(folder)
        return found.f_bavail * found.f_frsize
    return 0


def _log(log: OpenLog, now: datetime) -> str:
    """Read its head, and see that publication keeps up."""
    with closing(log.store()) as store:
        head = store.head()
        late = _behind(store, head.applied, now)
        if late > _LATE:
            raise _Late(f"{head.size - head.applied} entries wait for publication since {late}")
        check_published_within(log)
        return f"{head.size} entries, {head.size - head.applied} of them not yet in tiles"


def _keys(layout: Layout) -> str:
    """Look for the key of each log in the trusted root that is published: clients believe no other.

    A shard that the root does not name was left by a rotation, whose repetition tells clients of it.
    """
    root = parse_trusted_root(TrustRepository(layout.tuf, TufKeys({})).targets()[TRUSTED_ROOT_TARGET])
    instance = layout.read_instance()
    wrong = [] if _key(layout, "ctlog") in {log.key.spki for log in root.ctlogs} else ["ctlog"]
    for shard in ShardTable(layout).read():
        url = shard.trusted_url(instance)
        told = {log.key.spki for log in root.tlogs if log.base_url == url}
        if told and _key(layout, shard.key_name) not in told:
            wrong.append(shard.folder)
    if wrong:
        raise TrustError(
            f"the trusted root does not have the key that {', '.join(wrong)} signs with",
            code="damaged_state",
            hint=COPY_HINT,
        )
    return "all in the trusted root"


def _key(layout: Layout, name: str) -> bytes:
    return read_key(layout.key(name)).spki


def _behind(store: HeadStore, size: int, now: datetime) -> timedelta:
    """Say how old the first entry is that a tree of this size lacks."""
    if size >= store.head().size:
        return timedelta(0)
    return now - datetime.fromtimestamp(store.time_of(size) / 1000, UTC)


def _witnesses(layout: Layout, now: datetime) -> Iterator[HealthCheck]:
    """Compare the newest entry with the newest checkpoint that a quorum has signed."""
    instance, newest = layout.read_instance(), ShardTable(layout).read()[-1]
    log, _ = open_shard(layout, instance, newest)
    witnessed = open_witnessed(layout, log)
    if witnessed is None:
        return
    published = witnessed.read()
    size = 0 if published is None else published[1].size
    with closing(log.store()) as store:
        late = _behind(store, size, now)
        found = f"a quorum has signed {size} of {store.head().size} entries"
    missing = late > _LATE
    yield HealthCheck(check="witnesses", ok=not (missing and witnessed.strict), found=found, soon=missing)


def _duration(span: timedelta) -> str:
    if span.days >= 2:
        return f"{span.days} days"
    return f"{int(span.total_seconds() // 3600)} hours"
