"""The TUF repository as clients see it: over time, over crashes, over changes of keys."""

import hashlib
import os
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from tests.support.asgi_call import call
from tests.support.tuf_client import Client, FakeTime, serve
from tuf.api.exceptions import ExpiredMetadataError

from hallmark import durable_files
from hallmark.errors import ConfigurationError, TrustError
from hallmark.trustroot.http import routes
from hallmark.trustroot.keys import add_key_file, create_key_files, load_key_files
from hallmark.trustroot.repository import TrustRepository

START = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)
ROOT_FILE, CONFIG_FILE = "trusted_root.json", "signing_config.v0.2.json"
FIRST = {ROOT_FILE: b'{"first":1}', CONFIG_FILE: b'{"config":1}'}
SECOND = {ROOT_FILE: b'{"second":2}', CONFIG_FILE: b'{"config":1}'}


@pytest.fixture
def keys(tmp_path):
    return create_key_files(tmp_path / "keys")


@pytest.fixture
def repository(tmp_path, keys):
    return TrustRepository.create(tmp_path / "tuf", FIRST, keys, START)


@pytest.fixture
def url(tmp_path):
    (tmp_path / "tuf").mkdir(exist_ok=True)
    with serve(tmp_path / "tuf") as url:
        yield url


@pytest.fixture
def time(monkeypatch):
    return FakeTime(monkeypatch, START)


def test_clients_find_the_targets(tmp_path, repository, url, time):
    client = Client(tmp_path / "client", url, repository.newest_root())
    assert client.fetch(*FIRST) == FIRST


def test_clients_follow_keys_on_p256(tmp_path, url, time):
    folder = tmp_path / "keys"
    create_key_files(folder)
    for path in folder.iterdir():
        key = ec.generate_private_key(ec.SECP256R1())
        path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    repository = TrustRepository.create(tmp_path / "tuf", FIRST, load_key_files(folder), START)
    assert Client(tmp_path / "client", url, repository.newest_root()).fetch(*FIRST) == FIRST


def test_clients_find_new_targets(tmp_path, repository, url, time):
    client = Client(tmp_path / "client", url, repository.newest_root())
    client.fetch(*FIRST)
    time.now += timedelta(hours=1)
    repository.publish(SECOND, time.now)
    assert client.fetch(*SECOND) == SECOND


def test_the_same_targets_again_make_no_new_version(repository):
    before = repository.status()
    repository.publish(FIRST, START + timedelta(hours=1))
    assert repository.status() == before


def test_expiry_follows_the_lifetimes_in_whole_seconds(repository):
    expires = {item.role: item.expires for item in repository.status()}
    start = START.replace(microsecond=0)
    assert expires["timestamp"] == start + timedelta(days=7)
    assert expires["snapshot"] == start + timedelta(days=30)
    assert expires["targets"] == expires["root"] == start + timedelta(days=365)


def test_nothing_is_signed_anew_before_half_of_its_life(repository):
    assert repository.refresh(START + timedelta(days=3)) == ()
    assert repository.refresh(START + timedelta(days=4)) == ("timestamp",)
    assert repository.refresh(START + timedelta(days=4)) == ()
    assert repository.refresh(START + timedelta(days=16)) == ("snapshot", "timestamp")
    assert repository.refresh(START + timedelta(days=200)) == ("root", "targets", "snapshot", "timestamp")


def test_clients_always_update_over_400_days_when_it_is_refreshed(tmp_path, repository, url, time):
    first_root = repository.newest_root()
    client = Client(tmp_path / "client", url, first_root)
    for _ in range(80):
        time.now += timedelta(days=5)
        repository.refresh(time.now)
        assert client.fetch(*FIRST) == FIRST
    late = Client(tmp_path / "late", url, first_root)
    assert late.fetch(*FIRST) == FIRST
    assert {item.role: item.version for item in repository.status()}["root"] == 3


def test_an_instance_that_slept_for_years_serves_clients_after_one_refresh(tmp_path, repository, url, time):
    first_root = repository.newest_root()
    time.now += timedelta(days=1500)
    repository.refresh(time.now)
    assert Client(tmp_path / "client", url, first_root).fetch(*FIRST) == FIRST


def test_without_refresh_clients_are_told_that_it_expired(tmp_path, repository, url, time):
    client = Client(tmp_path / "client", url, repository.newest_root())
    time.now += timedelta(days=8)
    with pytest.raises(ExpiredMetadataError, match=r"timestamp\.json is expired"):
        client.fetch(*FIRST)


def test_the_root_key_is_handed_over(tmp_path, repository, url, time):
    first_root = repository.newest_root()
    client = Client(tmp_path / "client", url, first_root)
    client.fetch(*FIRST)
    for _ in range(2):
        repository = TrustRepository(tmp_path / "tuf", add_key_file(tmp_path / "keys", "root"))
        repository.rotate_root_key(START)
    (tmp_path / "keys" / "root.pem").unlink()
    repository = TrustRepository(tmp_path / "tuf", load_key_files(tmp_path / "keys"))
    time.now += timedelta(days=200)
    assert "root" in repository.refresh(time.now)
    assert client.fetch(*FIRST) == FIRST
    assert Client(tmp_path / "late", url, first_root).fetch(*FIRST) == FIRST


def test_a_new_root_key_counts_only_once_published(tmp_path, repository, url, time):
    TrustRepository(tmp_path / "tuf", add_key_file(tmp_path / "keys", "root")).refresh(
        START + timedelta(days=200)
    )
    time.now += timedelta(days=200)
    assert Client(tmp_path / "client", url, repository.newest_root()).fetch(*FIRST) == FIRST


def test_clients_follow_an_older_copy_once_its_versions_have_leapt(tmp_path, keys, repository, url, time):
    client = Client(tmp_path / "client", url, repository.newest_root())
    copy = shutil.copytree(tmp_path / "tuf", tmp_path / "copy")
    for hours in range(1, 4):
        repository.publish({**SECOND, ROOT_FILE: b"%d" % hours}, START + timedelta(hours=hours))
    client.fetch(*SECOND)
    shutil.rmtree(tmp_path / "tuf")
    copy.rename(tmp_path / "tuf")
    time.now += timedelta(days=6)
    TrustRepository(tmp_path / "tuf", keys).leap(time.now, 10)
    assert client.fetch(*FIRST) == FIRST
    versions = {item.role: item.version for item in repository.status()}
    assert versions == {"root": 1, "targets": 11, "snapshot": 11, "timestamp": 11}
    assert repository.refresh(time.now + timedelta(days=3)) == ()


def test_refuses_to_hand_the_root_over_to_the_key_it_has(repository):
    with pytest.raises(ConfigurationError):
        repository.rotate_root_key(START)


def test_renews_the_rest_while_the_root_key_is_kept_elsewhere(tmp_path, repository):
    (tmp_path / "keys" / "root.pem").unlink()
    repository = TrustRepository(tmp_path / "tuf", load_key_files(tmp_path / "keys"))
    assert repository.refresh(START + timedelta(days=300)) == ("targets", "snapshot", "timestamp")


# Crashes


class PowerCut(BaseException):
    """Nothing catches this."""


class _CutOs:
    """`os`, but the power fails at the n-th step that touches the disk."""

    def __init__(self, steps: int) -> None:
        self._left = steps

    def __getattr__(self, name):
        return getattr(os, name)

    def _step(self, call, *arguments):
        if self._left == 0:
            raise PowerCut
        self._left -= 1
        return call(*arguments)

    def open(self, *arguments):
        return self._step(os.open, *arguments)

    def replace(self, *arguments):
        return self._step(os.replace, *arguments)

    def fsync(self, *arguments):
        return self._step(os.fsync, *arguments)


OPERATIONS = {
    "publish": lambda repository: repository.publish(SECOND, START + timedelta(days=1)),
    "refresh": lambda repository: repository.refresh(START + timedelta(days=250)),
    "rotate": lambda repository: repository.rotate_root_key(START + timedelta(days=1)),
}


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_crash_at_any_step_leaves_a_repository_that_clients_and_writers_can_use(
    tmp_path, monkeypatch, time, operation
):
    keys = create_key_files(tmp_path / "keys")
    for step in range(200):
        folder = tmp_path / f"tuf-{step}"
        TrustRepository.create(folder, FIRST, keys, START)
        repository = TrustRepository(folder, add_key_file(tmp_path / "keys", "root"))
        first_root = (folder / "1.root.json").read_bytes()
        with serve(folder) as url:
            time.now = START + timedelta(days=1)
            known = Client(tmp_path / f"known-{step}", url, first_root)
            known.fetch(*FIRST)
            finished = cut_after(step, monkeypatch, OPERATIONS[operation], repository)
            assert known.fetch(*FIRST) in (FIRST, SECOND)
            assert Client(tmp_path / f"fresh-{step}", url, first_root).fetch(*FIRST) in (FIRST, SECOND)
            time.now += timedelta(days=251)
            repository.refresh(time.now)
            repository.publish(SECOND, time.now)
            assert known.fetch(*SECOND) == SECOND
        if finished:
            assert step > 3
            return
    pytest.fail("the operation never came to its end")


def cut_after(steps, monkeypatch, operation, repository) -> bool:
    with monkeypatch.context() as patch:
        patch.setattr(durable_files, "os", _CutOs(steps))
        try:
            operation(repository)
        except PowerCut:
            return False
    return True


class _WatchedOs:
    """`os`, noting which folders were synced before which file took its place."""

    def __init__(self) -> None:
        self.steps: list[str] = []
        self._opened: dict[int, str] = {}

    def __getattr__(self, name):
        return getattr(os, name)

    def open(self, path, *arguments):
        descriptor = os.open(path, *arguments)
        self._opened[descriptor] = Path(path).name
        return descriptor

    def fsync(self, descriptor):
        self.steps.append(self._opened[descriptor])
        os.fsync(descriptor)

    def replace(self, source, target):
        self.steps.append(target.name)
        os.replace(source, target)


def test_a_target_that_an_interrupted_writer_left_is_durable_before_it_is_named(
    tmp_path, monkeypatch, repository
):
    """The file stands in its folder already; its name may have been lost all the same."""
    for name, data in SECOND.items():
        (tmp_path / "tuf" / "targets" / f"{hashlib.sha256(data).hexdigest()}.{name}").write_bytes(data)
    watched = _WatchedOs()
    monkeypatch.setattr(durable_files, "os", watched)
    repository.publish(SECOND, START + timedelta(days=1))
    assert watched.steps.index("targets") < watched.steps.index("2.targets.json")


def test_a_numbered_file_never_changes(tmp_path, monkeypatch, keys, repository):
    folder = tmp_path / "tuf"
    for step in (3, 7, 11, 15):
        cut_after(step, monkeypatch, OPERATIONS["publish"], repository)
        before = {path.name: path.read_bytes() for path in folder.glob("[0-9]*.json")}
        repository.publish({**FIRST, "other.json": b"%d" % step}, START + timedelta(days=2))
        for name, data in before.items():
            assert (folder / name).read_bytes() == data


# Refusals


def test_refuses_a_second_repository_in_one_folder(tmp_path, keys, repository):
    with pytest.raises(ConfigurationError):
        TrustRepository.create(tmp_path / "tuf", FIRST, keys, START)


@pytest.mark.parametrize("name", ["../evil", "a/b", "", ".hidden", "a\n"])
def test_refuses_target_names_that_lead_elsewhere(repository, name):
    with pytest.raises(ConfigurationError):
        repository.publish({name: b""}, START)


@pytest.mark.parametrize("damage", ["missing", "torn", "swapped", "forged"])
def test_says_that_a_repository_is_damaged(tmp_path, repository, damage):
    path = tmp_path / "tuf" / "timestamp.json"
    data = path.read_bytes()
    changed = {
        "torn": data[:50],
        "swapped": (tmp_path / "tuf" / "1.snapshot.json").read_bytes(),
        "forged": data.replace(b'"version":1', b'"version":2').replace(b'"version": 1', b'"version": 2'),
    }
    path.unlink() if damage == "missing" else path.write_bytes(changed[damage])
    with pytest.raises(TrustError) as caught:
        repository.refresh(START)
    assert caught.value.code == "repository_damaged"


def test_refuses_a_key_that_others_can_read(tmp_path, keys):
    (tmp_path / "keys" / "targets.pem").chmod(0o644)
    with pytest.raises(ConfigurationError) as caught:
        load_key_files(tmp_path / "keys")
    assert caught.value.code == "key_permissions"


def test_refuses_a_key_file_without_a_key(tmp_path, keys):
    (tmp_path / "keys" / "targets.pem").write_bytes(b"junk")
    with pytest.raises(ConfigurationError):
        load_key_files(tmp_path / "keys")


def test_keys_are_kept_and_private(tmp_path, keys):
    assert create_key_files(tmp_path / "keys").newest("root").public_key == keys.newest("root").public_key
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "keys").iterdir()} == {0o600}


# HTTP


def test_serves_the_files_with_the_caching_they_allow(tmp_path, repository):
    def get(path):
        return call(routes(tmp_path / "tuf"), "GET", path)

    assert get("/1.root.json").body == repository.newest_root()
    assert "immutable" in get("/1.root.json").headers["cache-control"]
    assert get("/timestamp.json").headers["cache-control"] == "no-cache"
    (target,) = (tmp_path / "tuf" / "targets").glob(f"*.{ROOT_FILE}")
    assert get(f"/targets/{target.name}").body == FIRST[ROOT_FILE]
    missing = get("/2.root.json")
    assert (missing.status, missing.headers["cache-control"]) == (404, "no-cache")


@pytest.mark.parametrize(
    "path",
    [
        "/targets/../../keys/root.pem",
        "/../keys/root.pem",
        "/targets/..%2f..%2fkeys%2froot.pem",
        "/.timestamp.json.partial",
        "/root.json",
        "/1.keys.json",
        "/1.root.json/",
        "/1.root.json\n",
        "/targets/trusted_root.json",
        "//etc/passwd",
        "/timestamp.json\x00",
        "/1.root.json%00",
    ],
)
def test_serves_nothing_else(tmp_path, repository, path):
    (tmp_path / "tuf" / ".timestamp.json.partial").write_bytes(b"half")
    (tmp_path / "tuf" / "root.json").write_bytes(b"not of the repository")
    assert call(routes(tmp_path / "tuf"), "GET", path).status in {404, 307}
