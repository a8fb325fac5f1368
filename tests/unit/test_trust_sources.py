"""Which trust material a command takes, and how files that hold it are read."""

from datetime import UTC, datetime

import msgspec
import pytest
from tests.support.world import World

from hallmark.client.contexts import Context, Contexts, save_contexts
from hallmark.client.instances import note_instance
from hallmark.client.trust import (
    _MAX_INSTANCE_BYTES,
    LocalInstance,
    choose_source,
    parse_material,
    parse_material_root,
    read_client_trust_config,
    read_instance_url,
    read_signing_config,
    read_trusted_root,
    read_trusted_roots,
)
from hallmark.client.trust_cache import TrustMaterial
from hallmark.core.trusted_root import parse_trusted_root
from hallmark.errors import ConfigurationError, TrustError

URL = "https://sigstore.example"
OTHER = "https://other.example"


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    for name in ("CONFIG", "STATE", "CACHE"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / name))


def context(name: str, url: str = URL) -> Context:
    return Context(name=name, url=url, tuf_url=f"{url}/tuf", root_fingerprint="ab" * 32)


def keep(*contexts: Context, current: str = "") -> None:
    save_contexts(Contexts(current=current, contexts={item.name: item for item in contexts}))


def test_without_a_name_the_current_context_counts():
    assert choose_source("") is None
    keep(context("work"), context("play", OTHER))
    assert choose_source("") is None
    keep(context("work"), context("play", OTHER), current="play")
    assert choose_source("") == context("play", OTHER)


def test_a_context_is_chosen_by_its_name_or_url():
    keep(context("work"), context("play", OTHER), current="play")
    assert choose_source("work") == context("work")
    assert choose_source(f"{URL}/") == context("work")


def test_an_instance_of_this_machine_comes_before_a_context_of_its_url(tmp_path):
    keep(context("work"), current="work")
    note_instance(URL, tmp_path)
    assert choose_source(f"{URL}/") == LocalInstance(URL, tmp_path)
    assert choose_source("work") == context("work")


@pytest.mark.parametrize("url", [URL, "http://127.0.0.1:8080"])
def test_a_url_alone_vouches_for_nothing(url):
    with pytest.raises(TrustError) as caught:
        choose_source(url)
    assert caught.value.code == "unpinned_instance"
    assert url in caught.value.hint


def test_an_unknown_name_is_said_to_be_one():
    with pytest.raises(ConfigurationError) as caught:
        choose_source("work")
    assert caught.value.code == "unknown_context"


def test_the_url_of_an_instance_is_read_from_its_directory(tmp_path):
    (tmp_path / "instance.json").write_text('{"base_url":"http://127.0.0.1:8080/"}')
    assert read_instance_url(tmp_path) == "http://127.0.0.1:8080"


@pytest.mark.parametrize(
    ("content", "code"), [(None, "no_instance"), (b"{}", "damaged_instance"), (b"\xff", "damaged_instance")]
)
def test_a_directory_without_a_whole_instance_is_named(tmp_path, content, code):
    if content is not None:
        (tmp_path / "instance.json").write_bytes(content)
    with pytest.raises(ConfigurationError) as caught:
        read_instance_url(tmp_path)
    assert caught.value.code == code


@pytest.mark.parametrize("more", [0, 1])
def test_the_file_of_an_instance_has_up_to_64_kibibytes(tmp_path, more):
    data = b'{"base_url":"http://127.0.0.1:8080"}'
    (tmp_path / "instance.json").write_bytes(data.ljust(_MAX_INSTANCE_BYTES + more))
    if more:
        with pytest.raises(ConfigurationError, match="more than 65536 bytes"):
            read_instance_url(tmp_path)
    else:
        assert read_instance_url(tmp_path) == "http://127.0.0.1:8080"


READERS = [read_trusted_root, read_trusted_roots, read_signing_config, read_client_trust_config]


@pytest.mark.parametrize("read", READERS)
def test_a_file_that_is_damaged_or_missing_is_a_fault_of_trust(tmp_path, read):
    with pytest.raises(TrustError) as caught:
        read(tmp_path / "missing")
    assert caught.value.code == "missing_trust_material"
    (tmp_path / "file").write_bytes(b"{")
    with pytest.raises(TrustError) as caught:
        read(tmp_path / "file")
    assert caught.value.code == "damaged_trust_material"


@pytest.mark.parametrize("damaged", ["trusted_root", "signing_config"])
def test_material_that_does_not_parse_is_a_fault_of_trust(damaged):
    material = material_of(**{damaged: b"{"})
    with pytest.raises(TrustError) as caught:
        parse_material(material)
    assert caught.value.code == "damaged_trust_material"
    if damaged == "trusted_root":
        with pytest.raises(TrustError):
            parse_material_root(material)


def test_material_is_parsed():
    material = material_of()
    assert parse_material(material).trusted_root == parse_trusted_root(material.trusted_root)
    assert parse_material_root(material) == parse_trusted_root(material.trusted_root)


def material_of(**changes) -> TrustMaterial:
    config = {"mediaType": "application/vnd.dev.sigstore.signingconfig.v0.2+json"}
    whole = TrustMaterial(
        tuf_url=f"{URL}/tuf",
        fetched=datetime(2026, 3, 1, tzinfo=UTC),
        trusted_root=World().root.to_json(),
        signing_config=msgspec.json.encode(config),
        metadata={},
        expires=datetime(2026, 3, 8, tzinfo=UTC),
    )
    return msgspec.structs.replace(whole, **changes)
