"""The TUF repository: when each role is renewed, and which keys it takes."""

from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from tests.support.asgi_call import call
from tuf.api.metadata import Metadata

from hallmark.errors import ConfigurationError, TrustError
from hallmark.trustroot.http import routes
from hallmark.trustroot.keys import TufKeys, add_key_file, create_key_files, load_key_files
from hallmark.trustroot.repository import Lifetimes, TrustRepository

START = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
FILES = {"trusted_root.json": b"{}", "signing_config.v0.2.json": b"{}"}
DAY = timedelta(days=1)


@pytest.fixture
def keys(tmp_path):
    return create_key_files(tmp_path / "keys")


@pytest.fixture
def repository(tmp_path, keys):
    return TrustRepository.create(tmp_path / "tuf", FILES, keys, START)


def test_a_role_is_renewed_after_half_of_its_life(repository):
    assert repository.refresh(START + timedelta(days=3.5)) == ()
    assert repository.refresh(START + timedelta(days=3.5, microseconds=1)) == ("timestamp",)


def test_what_names_a_renewed_role_is_renewed_with_it(repository):
    repository.refresh(START + 14 * DAY)
    assert repository.refresh(START + 15 * DAY + timedelta(seconds=1)) == ("snapshot", "timestamp")
    repository.refresh(START + 180 * DAY)
    renewed = repository.refresh(START + 183 * DAY)
    assert renewed == ("root", "targets", "snapshot", "timestamp")


def test_publishing_the_same_files_refreshes(repository):
    before = repository.status()
    repository.publish(FILES, START + 4 * DAY)
    changed = {new.role for old, new in zip(before, repository.status(), strict=True) if old != new}
    assert changed == {"timestamp"}


def test_lifetimes_may_be_chosen(tmp_path, keys):
    chosen = Lifetimes(timestamp=DAY)
    repository = TrustRepository.create(tmp_path / "tuf", FILES, keys, START, chosen)
    assert {item.role: item.expires for item in repository.status()} == {
        "root": START + 365 * DAY,
        "targets": START + 365 * DAY,
        "snapshot": START + 30 * DAY,
        "timestamp": START + DAY,
    }


def missing(act) -> None:
    with pytest.raises(ConfigurationError) as caught:
        act()
    assert caught.value.code == "tuf_key_missing"


def without(keys: TufKeys, role: str) -> TufKeys:
    return TufKeys({name: signers for name, signers in keys.by_role.items() if name != role})


@pytest.mark.parametrize("role", ["root", "targets", "snapshot", "timestamp"])
def test_a_repository_needs_a_key_of_every_role(tmp_path, keys, role):
    missing(lambda: without(keys, role).newest(role))
    missing(lambda: TrustRepository.create(tmp_path / "tuf", FILES, without(keys, role), START))


def test_nothing_is_published_without_its_key(tmp_path, keys, repository):
    later = START + 4 * DAY
    missing(lambda: TrustRepository(tmp_path / "tuf", without(keys, "timestamp")).refresh(later))
    assert repository.refresh(later) == ("timestamp",)


def test_the_root_is_not_handed_over_without_the_old_key(tmp_path, repository):
    folder = tmp_path / "keys"
    add_key_file(folder, "root")
    (folder / "root.pem").unlink()
    missing(lambda: TrustRepository(tmp_path / "tuf", load_key_files(folder)).rotate_root_key(START))


def test_keys_are_numbered_in_a_folder_of_their_owner(tmp_path):
    folder = tmp_path / "deep" / "keys"
    create_key_files(folder)
    assert folder.stat().st_mode & 0o777 == 0o700
    for _ in range(2):
        add_key_file(folder, "root")
    assert {path.name for path in folder.glob("root*")} == {"root.pem", "root-2.pem", "root-3.pem"}
    (tmp_path / "other").mkdir()
    add_key_file(tmp_path / "other", "root")
    assert [path.name for path in (tmp_path / "other").iterdir()] == ["root-1.pem"]


@pytest.mark.parametrize("kind", ["rsa", "p384"])
def test_refuses_a_kind_of_key_that_clients_do_not_take(tmp_path, keys, kind):
    key = rsa.generate_private_key(65537, 2048) if kind == "rsa" else ec.generate_private_key(ec.SECP384R1())
    path = tmp_path / "keys" / "root.pem"
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    with pytest.raises(ConfigurationError) as caught:
        load_key_files(tmp_path / "keys")
    assert caught.value.code == "malformed_key"
    assert "neither" in caught.value.message


@pytest.mark.parametrize("name", ["1.root.json", "1.targets.json", "1.snapshot.json", "timestamp.json"])
def test_a_role_that_its_keys_did_not_sign_is_damage(tmp_path, repository, name):
    path = tmp_path / "tuf" / name
    found = Metadata.from_bytes(path.read_bytes())
    found.signed.expires += DAY
    path.write_bytes(found.to_bytes())
    with pytest.raises(TrustError) as caught:
        repository.refresh(START)
    assert caught.value.code == "repository_damaged"


@pytest.mark.parametrize("content", [None, b"{ }"])
def test_a_target_that_is_missing_or_changed_is_damage(tmp_path, repository, content):
    assert repository.targets() == FILES
    (path,) = (tmp_path / "tuf" / "targets").glob("*.trusted_root.json")
    path.unlink() if content is None else path.write_bytes(content)
    with pytest.raises(TrustError) as caught:
        repository.targets()
    assert caught.value.code == "repository_damaged"


def test_versions_count_from_one(repository):
    assert {item.version for item in repository.status()} == {1}
    for version in (2, 3):
        repository.publish({**FILES, "trusted_root.json": b"%d" % version}, START)
        assert {item.role: item.version for item in repository.status()} == {
            "root": 1,
            "targets": version,
            "snapshot": version,
            "timestamp": version,
        }


def test_a_root_that_is_handed_over_lists_the_new_key_alone_and_both_sign_it(tmp_path, keys, repository):
    old, keys = keys.newest("root"), add_key_file(tmp_path / "keys", "root")
    TrustRepository(tmp_path / "tuf", keys).rotate_root_key(START)
    handed = Metadata.from_bytes(repository.newest_root())
    root, new = handed.signed, keys.newest("root")
    assert root.roles["root"].keyids == [new.public_key.keyid]
    assert handed.signatures.keys() == {old.public_key.keyid, new.public_key.keyid}
    assert len(root.keys) == 4


def test_metadata_is_sent_as_json_and_other_files_as_bytes(tmp_path, keys):
    TrustRepository.create(tmp_path / "tuf", {**FILES, "ca.pem": b"pem"}, keys, START)
    kinds = {}
    for path in [tmp_path / "tuf" / "timestamp.json", *(tmp_path / "tuf" / "targets").iterdir()]:
        answer = call(routes(tmp_path / "tuf"), "GET", f"/{path.relative_to(tmp_path / 'tuf')}")
        assert (answer.status, answer.body) == (200, path.read_bytes())
        kinds[path.suffix] = answer.headers["content-type"]
    assert kinds == {".json": "application/json", ".pem": "application/octet-stream"}


@pytest.mark.parametrize("more", [0, 1])
def test_a_key_file_has_up_to_16_kibibytes(tmp_path, keys, more):
    path = tmp_path / "keys" / "root.pem"
    path.write_bytes(path.read_bytes().strip().rjust(16 * 1024 + more, b"\n"))
    if more:
        with pytest.raises(ConfigurationError):
            load_key_files(tmp_path / "keys")
    else:
        assert load_key_files(tmp_path / "keys").newest("root").public_key == keys.newest("root").public_key
