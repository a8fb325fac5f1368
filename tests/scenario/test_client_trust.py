"""The client's trust in a TUF repository: what it believes, and what it refuses."""

import os
import shutil
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from securesystemslib.signer import SSlibKey
from tests.support.tuf_client import serve
from tuf.api.metadata import Metadata

from hallmark.client.contexts import Context
from hallmark.client.http import HttpClient
from hallmark.client.pinned_roots import fingerprint_of, pin_root
from hallmark.client.trust_cache import load_trust, save_trust
from hallmark.client.trust_update import fresh_trust, update_trust
from hallmark.client.tuf import fetch_root, fetch_trust
from hallmark.errors import RemoteError, TrustError
from hallmark.trustroot.keys import add_key_file, create_key_files, load_key_files
from hallmark.trustroot.repository import TrustRepository

FILES = {"trusted_root.json": b"{}", "signing_config.v0.2.json": b"{}"}
NEWER = {**FILES, "trusted_root.json": b'{"newer":1}'}


class Published:
    """A repository on disk with its web server."""

    def __init__(self, folder, url: str, now: datetime) -> None:
        self.folder, self.url, self.now = folder, url, now
        self.repository = TrustRepository.create(folder, FILES, create_key_files(folder.parent / "keys"), now)
        self.root = self.repository.newest_root()

    def rotate(self) -> None:
        keys = add_key_file(self.folder.parent / "keys", "root")
        TrustRepository(self.folder, keys).rotate_root_key(self.now)

    def fetch(self, known=None):
        return fetch_trust(self.url, self.root, HttpClient(), known=known, now=self.now)


@pytest.fixture
def published(tmp_path):
    (tmp_path / "tuf").mkdir()
    with serve(tmp_path / "tuf") as url:
        yield Published(tmp_path / "tuf", url, datetime.now(UTC))


def test_what_a_pinned_root_vouches_for_is_fetched(published):
    material = published.fetch()
    assert (material.trusted_root, material.signing_config) == tuple(FILES.values())
    assert material.expires == min(item.expires for item in published.repository.status())
    assert material.fetched == published.now


def test_an_update_follows_new_files_and_new_keys(published):
    known = published.fetch()
    published.repository.publish(NEWER, published.now)
    published.rotate()
    newer = published.fetch(known)
    assert newer.trusted_root == NEWER["trusted_root.json"]
    assert {"1.root.json", "2.root.json"} <= newer.metadata.keys()


def test_a_repository_cannot_hide_a_root(published):
    """Whoever has an old root key could otherwise go on with it."""
    published.rotate()
    known = published.fetch()
    (published.folder / "2.root.json").unlink()
    assert published.fetch(known).metadata.keys() == known.metadata.keys()


def test_a_repository_cannot_go_back(published, tmp_path):
    shutil.copytree(published.folder, tmp_path / "old")
    published.repository.publish(NEWER, published.now)
    known = published.fetch()
    shutil.rmtree(published.folder)
    shutil.copytree(tmp_path / "old", published.folder)
    assert published.fetch().trusted_root == FILES["trusted_root.json"]
    with pytest.raises(TrustError) as caught:
        published.fetch(known)
    assert caught.value.code == "untrusted_repository"


def test_metadata_that_was_kept_is_not_believed_unchecked(published):
    known = published.fetch()
    damaged = dict.fromkeys(known.metadata, b'{"signed":{}}')
    strange = {"../../escape.json": b"x", "other.json": b"x"}
    material = type(known)(
        **{name: getattr(known, name) for name in known.__struct_fields__ if name != "metadata"},
        metadata=damaged | strange,
    )
    assert published.fetch(material).trusted_root == FILES["trusted_root.json"]


def test_expired_metadata_is_named(tmp_path):
    (tmp_path / "tuf").mkdir()
    with serve(tmp_path / "tuf") as url:
        old = Published(tmp_path / "tuf", url, datetime.now(UTC) - timedelta(days=8))
        with pytest.raises(TrustError, match="timestamp") as caught:
            old.fetch()
    assert caught.value.code == "expired_trust_material"
    assert caught.value.hint


def test_a_root_of_somebody_else_vouches_for_nothing(published, tmp_path):
    other = TrustRepository.create(
        tmp_path / "o" / "tuf", FILES, create_key_files(tmp_path / "o" / "keys"), published.now
    )
    with pytest.raises(TrustError) as caught:
        fetch_trust(published.url, other.newest_root(), HttpClient(), known=None, now=published.now)
    assert caught.value.code == "untrusted_repository"


def test_a_changed_file_is_refused(published):
    for path in (published.folder / "targets").iterdir():
        path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(TrustError):
        published.fetch()


def test_a_repository_without_our_files_is_named(tmp_path):
    (tmp_path / "tuf").mkdir()
    with serve(tmp_path / "tuf") as url:
        now = datetime.now(UTC)
        repository = TrustRepository.create(
            tmp_path / "tuf", {"x": b"y"}, create_key_files(tmp_path / "k"), now
        )
        with pytest.raises(TrustError) as caught:
            fetch_trust(url, repository.newest_root(), HttpClient(), known=None, now=now)
    assert caught.value.code == "missing_trust_material"


def test_a_repository_that_is_away_is_a_fault_of_the_network(published):
    with pytest.raises(RemoteError) as caught:
        fetch_trust("http://127.0.0.1:9", published.root, HttpClient(), known=None, now=published.now)
    assert caught.value.code == "service_unreachable"


def test_the_first_root_must_have_the_fingerprint_that_was_pinned(published):
    url, http = f"{published.url}/1.root.json", HttpClient()
    assert fetch_root(url, fingerprint_of(published.root), http) == published.root
    with pytest.raises(TrustError) as caught:
        fetch_root(url, "0" * 64, http)
    assert caught.value.code == "wrong_root"


@pytest.fixture
def context(published, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    made = Context(
        name="work", url=published.url, tuf_url=published.url, root_fingerprint=fingerprint_of(published.root)
    )
    pin_root(made, published.root)
    return made


def test_an_update_is_kept(published, context):
    material = update_trust(context, HttpClient(), published.now)
    kept = load_trust(context.root_fingerprint)
    assert (kept.metadata, kept.tuf_url) == (material.metadata, published.url)
    assert kept.trusted_root == FILES["trusted_root.json"]


def test_what_another_repository_said_does_not_bind_this_one(published, context, tmp_path):
    shutil.copytree(published.folder, tmp_path / "old")
    published.repository.publish(NEWER, published.now)
    newer = update_trust(context, HttpClient(), published.now)
    shutil.rmtree(published.folder)
    shutil.copytree(tmp_path / "old", published.folder)
    with pytest.raises(TrustError):
        update_trust(context, HttpClient(), published.now)
    elsewhere = msgspec.structs.replace(newer, tuf_url="https://elsewhere.example/tuf")
    save_trust(context.root_fingerprint, elsewhere)
    assert update_trust(context, HttpClient(), published.now).trusted_root == FILES["trusted_root.json"]


@pytest.mark.parametrize("name", ["2.root.json", "timestamp.json", "targets.json"])
def test_material_that_was_damaged_where_it_was_kept_is_fetched_again(published, context, name):
    material = update_trust(context, HttpClient(), published.now)
    damaged = msgspec.structs.replace(material, metadata={**material.metadata, name: b"\xff"})
    save_trust(context.root_fingerprint, damaged)
    assert update_trust(context, HttpClient(), published.now).metadata == material.metadata


def test_a_pipe_in_the_place_of_what_was_kept_is_not_waited_for(published, context, tmp_path):
    path = tmp_path / "cache" / "hallmark" / "trust" / f"{context.root_fingerprint}.json"
    path.parent.mkdir(parents=True)
    os.mkfifo(path)
    assert load_trust(context.root_fingerprint) is None
    assert update_trust(context, HttpClient(), published.now).trusted_root == FILES["trusted_root.json"]


@pytest.mark.parametrize(
    ("age", "fresh"),
    [
        (timedelta(0), True),
        (timedelta(hours=1) - timedelta(microseconds=1), True),
        (timedelta(hours=1), False),
        (-timedelta(microseconds=1), False),
    ],
)
def test_signing_takes_what_was_fetched_within_the_last_hour(published, context, age, fresh):
    first = fresh_trust(context, HttpClient(), published.now)
    assert first.trusted_root == FILES["trusted_root.json"]
    published.repository.publish(NEWER, published.now)
    found = fresh_trust(context, HttpClient(), published.now + age)
    assert found.trusted_root == (FILES if fresh else NEWER)["trusted_root.json"]


def test_a_server_error_is_told_as_the_service_said_it(published):
    (published.folder / "timestamp.json").unlink()
    with pytest.raises(RemoteError) as caught:
        published.fetch()
    assert "404" in caught.value.message
    with pytest.raises(RemoteError):
        fetch_root(f"{published.url}/none.json", fingerprint_of(published.root), HttpClient())


@pytest.mark.parametrize(("more", "fetched"), [(0, True), (1, False)])
def test_a_file_has_up_to_eight_mebibytes(tmp_path, more, fetched):
    (tmp_path / "tuf").mkdir()
    now, keys = datetime.now(UTC), create_key_files(tmp_path / "keys")
    files = {**FILES, "trusted_root.json": b" " * ((8 << 20) + more)}
    with serve(tmp_path / "tuf") as url:
        root = TrustRepository.create(tmp_path / "tuf", files, keys, now).newest_root()
        if fetched:
            assert fetch_trust(url, root, HttpClient(), known=None, now=now).trusted_root
        else:
            with pytest.raises(TrustError, match="too many") as caught:
                fetch_trust(url, root, HttpClient(), known=None, now=now)
            assert caught.value.code == "untrusted_repository"


def test_a_folder_for_temporary_files_that_cannot_be_used_is_named(published, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "file"))
    with pytest.raises(TrustError) as caught:
        published.fetch()
    assert caught.value.code == "no_temporary_folder"


@pytest.mark.parametrize(("public", "good"), [("5e" * 32, True), ("01" + "00" * 31, False)])
@pytest.mark.parametrize("newer", [False, True])
def test_a_root_with_a_key_that_nobody_holds_is_not_followed(published, newer, public, good):
    """Pinned or published later, it lists the key beside those that sign; everything else holds."""
    name = "2.root.json" if newer else "1.root.json"
    root = Metadata.from_bytes(published.root)
    root.signed.version = 2 if newer else 1
    root.signed.add_key(SSlibKey("ab" * 32, "ed25519", "ed25519", {"public": public}), "timestamp")
    root.signatures.clear()
    root.sign(load_key_files(published.folder.parent / "keys").newest("root"))
    (published.folder / name).write_bytes(root.to_bytes())
    if not newer:
        published.root = root.to_bytes()
    if good:
        assert published.fetch().trusted_root
    else:
        with pytest.raises(TrustError) as caught:
            published.fetch()
        assert caught.value.code == "weak_key"


def test_nothing_is_asked_for_below_a_root_with_a_key_that_nobody_holds(published):
    root = Metadata.from_bytes(published.root)
    root.signed.add_key(SSlibKey("ab" * 32, "ed25519", "ed25519", {"public": "01" + "00" * 31}), "timestamp")
    with pytest.raises(TrustError) as caught:
        fetch_trust("http://127.0.0.1:9", root.to_bytes(), HttpClient(), known=None, now=published.now)
    assert caught.value.code == "weak_key"
