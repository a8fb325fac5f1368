"""The TUF repository that carries the trusted root and the signing config to clients (TUF 1.0).

One folder of static files with consistent snapshots:

    N.root.json  N.targets.json  N.snapshot.json  timestamp.json  targets/<sha256>.<name>

A numbered file never changes once it is there. Clients see a release when `timestamp.json` names it, and
that file is written last: whenever the writer dies, the folder shows the old release or the new one. One
writer at a time; the state is on disk alone.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, Self, TypeVar

import msgspec
from securesystemslib.signer import CryptoSigner
from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata, MetaFile, Root, Snapshot, TargetFile, Targets, Timestamp
from tuf.api.serialization import DeserializationError

from hallmark.durable_files import sync_folder, write_durably
from hallmark.errors import ConfigurationError, TrustError
from hallmark.trustroot.keys import ROLES, TufKeys

TARGET_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")

_Signed = TypeVar("_Signed", Root, Targets, Snapshot, Timestamp)


class Lifetimes(msgspec.Struct, frozen=True, kw_only=True):
    """How long each role's metadata lasts; it is renewed after half of that."""

    root: timedelta = timedelta(days=365)
    targets: timedelta = timedelta(days=365)
    snapshot: timedelta = timedelta(days=30)
    timestamp: timedelta = timedelta(days=7)


class RoleStatus(msgspec.Struct, frozen=True):
    """What is published for one role."""

    role: str
    version: int
    expires: datetime


class _Release(msgspec.Struct, frozen=True, kw_only=True):
    """What the folder shows to clients now."""

    root: Metadata[Root]
    targets: Metadata[Targets]
    snapshot: Metadata[Snapshot]
    timestamp: Metadata[Timestamp]


class TrustRepository:
    """The writing side of the repository in `folder`, which may be served as it is.

    Every operation takes the time and reads the folder again. Raises `TrustError` where the folder holds no
    repository or a damaged one, and `OSError` where it cannot be written; clients then see what they saw.
    """

    def __init__(self, folder: Path, keys: TufKeys, lifetimes: Lifetimes | None = None) -> None:
        self._folder = folder
        self._keys = keys
        self._lifetimes = lifetimes or Lifetimes()

    @classmethod
    def create(
        cls,
        folder: Path,
        targets: Mapping[str, bytes],
        keys: TufKeys,
        now: datetime,
        lifetimes: Lifetimes | None = None,
    ) -> Self:
        """Make a repository in an empty folder and publish `targets`, which map file names to contents."""
        repository = cls(folder, keys, lifetimes)
        (folder / "targets").mkdir(parents=True, exist_ok=True)
        if repository._newest_version("root"):
            raise ConfigurationError(f"{folder} holds a TUF repository already", code="repository_exists")
        root = Root(consistent_snapshot=True)
        for role in ROLES:
            root.add_key(keys.newest(role).public_key, role)
        signed_root = repository._publish(root, "root", root, now)
        repository._publish_release(signed_root.signed, targets, now)
        return repository

    def publish(self, targets: Mapping[str, bytes], now: datetime) -> None:
        """Publish `targets` in place of those before; the same ones again are only refreshed."""
        release = self._load()
        if _target_files(targets) == release.targets.signed.targets:
            self.refresh(now)
        else:
            self._publish_release(release.root.signed, targets, now)

    def leap(self, now: datetime, versions: int) -> None:
        """Sign targets, snapshot and timestamp again, with versions that much higher.

        Clients refuse versions below those they know: after an older copy was restored they must be higher
        than any that was signed since it was made. The root's must grow by one, and stays.
        """
        release = self._load()
        root = release.root.signed
        targets = self._publish(release.targets.signed, "targets", root, now, versions=versions).signed
        snapshot = release.snapshot.signed
        snapshot.meta["targets.json"] = MetaFile(targets.version)
        snapshot = self._publish(snapshot, "snapshot", root, now, versions=versions).signed
        timestamp = Timestamp(snapshot_meta=MetaFile(snapshot.version))
        self._publish(timestamp, "timestamp", root, now, versions=versions)

    def refresh(self, now: datetime) -> tuple[str, ...]:
        """Sign again what has passed half of its life, and all that names it; tells the roles it signed.

        The root is left out while its key is not there.
        """
        release = self._load()
        root, renewed = release.root.signed, []
        if self._is_due(root, "root", now) and self._keys.signers("root", root.roles["root"].keyids):
            root = self._publish(root, "root", root, now).signed
            renewed.append("root")
        snapshot = release.snapshot.signed
        if self._is_due(release.targets.signed, "targets", now):
            targets = self._publish(release.targets.signed, "targets", root, now).signed
            snapshot.meta["targets.json"] = MetaFile(targets.version)
            renewed.append("targets")
        timestamp = release.timestamp.signed
        if "targets" in renewed or self._is_due(snapshot, "snapshot", now):
            snapshot = self._publish(snapshot, "snapshot", root, now).signed
            timestamp.snapshot_meta = MetaFile(snapshot.version)
            renewed.append("snapshot")
        if "snapshot" in renewed or self._is_due(timestamp, "timestamp", now):
            self._publish(timestamp, "timestamp", root, now)
            renewed.append("timestamp")
        return tuple(renewed)

    def rotate_root_key(self, now: datetime) -> None:
        """Hand the root over to the newest root key: the next root, signed by the old key and the new.

        Clients that know any earlier root follow. Raises `ConfigurationError` when there is no newer key.
        """
        root = self._load().root.signed
        old, new = root.roles["root"].keyids, self._keys.newest("root")
        if new.public_key.keyid in old:
            raise ConfigurationError("the newest root key is the current one", code="tuf_key_missing")
        leaving = self._keys.signers("root", old)
        if not leaving:
            raise ConfigurationError("the current root key is not there to sign", code="tuf_key_missing")
        root.add_key(new.public_key, "root")
        for key_id in list(old):
            if key_id != new.public_key.keyid:
                root.revoke_key(key_id, "root")
        self._publish(root, "root", root, now, also=leaving)

    def status(self) -> tuple[RoleStatus, ...]:
        """Tell version and expiry of each role."""
        release = self._load()
        signed = (
            release.root.signed,
            release.targets.signed,
            release.snapshot.signed,
            release.timestamp.signed,
        )
        return tuple(RoleStatus(item.type, item.version, item.expires) for item in signed)

    def targets(self) -> dict[str, bytes]:
        """Read the target files that clients see now, by name."""
        found: dict[str, bytes] = {}
        for name, expected in self._load().targets.signed.targets.items():
            path = f"targets/{expected.hashes['sha256']}.{name}"
            data = self._read(path)
            try:
                expected.verify_length_and_hashes(data)
            except RepositoryError as error:
                raise self._damaged(f"{path}: {error}") from None
            found[name] = data
        return found

    def newest_root(self) -> bytes:
        """Read the newest root metadata, from which a new client starts."""
        return self._read(f"{self._newest_version('root')}.root.json")

    def _publish_release(self, root: Root, targets: Mapping[str, bytes], now: datetime) -> None:
        """Publish targets, snapshot and timestamp, each after what it names."""
        files = _target_files(targets)
        for name, data in targets.items():
            digest = files[name].hashes["sha256"]
            path = self._folder / "targets" / f"{digest}.{name}"
            if not path.exists():
                write_durably(path, data)
        sync_folder(self._folder / "targets")
        version = self._publish(Targets(targets=files), "targets", root, now).signed.version
        meta = {"targets.json": MetaFile(version)}
        snapshot = self._publish(Snapshot(meta=meta), "snapshot", root, now)
        timestamp = Timestamp(snapshot_meta=MetaFile(snapshot.signed.version))
        self._publish(timestamp, "timestamp", root, now)

    def _publish(
        self,
        signed: _Signed,
        role: str,
        root: Root,
        now: datetime,
        also: list[CryptoSigner] | None = None,
        *,
        versions: int = 1,
    ) -> Metadata[_Signed]:
        """Give metadata its next version and a new expiry, sign it and write it."""
        signed.version = self._newest_version(role) + versions
        signed.expires = now.astimezone(UTC).replace(microsecond=0) + self._lifetime(role)
        signers = [*self._keys.signers(role, root.roles[role].keyids), *(also or [])]
        if not signers:
            raise ConfigurationError(f"the key of the TUF role {role} is not there", code="tuf_key_missing")
        metadata = Metadata(signed)
        for signer in signers:
            metadata.sign(signer, append=True)
        name = "timestamp.json" if role == "timestamp" else f"{signed.version}.{role}.json"
        write_durably(self._folder / name, metadata.to_bytes())
        return metadata

    def _is_due(self, signed: Root | Targets | Snapshot | Timestamp, role: str, now: datetime) -> bool:
        return signed.expires - now < self._lifetime(role) / 2

    def _lifetime(self, role: str) -> timedelta:
        lifetime: timedelta = getattr(self._lifetimes, role)
        return lifetime

    def _newest_version(self, role: str) -> int:
        """Find the highest version in the folder, published or left by a writer that died; 0 for none."""
        if role == "timestamp":
            there = (self._folder / "timestamp.json").exists()
            return self._parse("timestamp.json", Timestamp).signed.version if there else 0
        numbers = [path.name.partition(".")[0] for path in self._folder.glob(f"*.{role}.json")]
        return max((int(number) for number in numbers if number.isdigit()), default=0)

    def _load(self) -> _Release:
        root = self._parse(f"{self._newest_version('root')}.root.json", Root)
        timestamp = self._parse("timestamp.json", Timestamp)
        snapshot = self._parse(f"{timestamp.signed.snapshot_meta.version}.snapshot.json", Snapshot)
        targets = self._parse(f"{snapshot.signed.meta['targets.json'].version}.targets.json", Targets)
        for role, metadata in (
            ("root", root),
            ("timestamp", timestamp),
            ("snapshot", snapshot),
            ("targets", targets),
        ):
            try:
                root.verify_delegate(role, metadata)
            except RepositoryError as error:
                raise self._damaged(f"{role}: {error}") from None
        return _Release(root=root, timestamp=timestamp, snapshot=snapshot, targets=targets)

    def _parse(self, name: str, kind: type[_Signed]) -> Metadata[_Signed]:
        try:
            metadata: Metadata[_Signed] = Metadata.from_bytes(self._read(name))
        except DeserializationError:
            raise self._damaged(f"{name} does not parse") from None
        if not isinstance(metadata.signed, kind):
            raise self._damaged(f"{name} is of another role")
        return metadata

    def _read(self, name: str) -> bytes:
        try:
            return (self._folder / name).read_bytes()
        except FileNotFoundError:
            raise self._damaged(f"{name} is missing") from None

    def _damaged(self, reason: str) -> TrustError:
        return TrustError(
            f"the TUF repository in {self._folder} is damaged: {reason}",
            code="repository_damaged",
            hint="restore the folder from a backup",
        )


def _target_files(targets: Mapping[str, bytes]) -> dict[str, TargetFile]:
    for name in targets:
        if not TARGET_NAME.fullmatch(name):
            raise ConfigurationError(f"{name!r} is not a valid name for a target file", code="target_name")
    return {name: TargetFile.from_data(name, data, ["sha256"]) for name, data in targets.items()}
