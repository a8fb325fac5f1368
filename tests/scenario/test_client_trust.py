"""The client's trust in a TUF repository: what it believes, and what it refuses."""

import shutil
from datetime import UTC, datetime, timedelta

import pytest
from tests.support.tuf_client import serve

from hallmark.client.http import HttpClient
from hallmark.client.pinned_roots import fingerprint_of
from hallmark.client.tuf import fetch_root, fetch_trust
from hallmark.errors import RemoteError, TrustError
from hallmark.trustroot.keys import add_key_file, create_key_files
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
