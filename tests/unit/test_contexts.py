from concurrent.futures import ThreadPoolExecutor

import pytest

from hallmark.client.contexts import (
    Context,
    Contexts,
    change_contexts,
    load_contexts,
    parse_context_name,
    parse_fingerprint,
    save_contexts,
)
from hallmark.errors import ConfigurationError

HEX = "ab" * 32


def context(name: str, url: str = "https://sigstore.example") -> Context:
    return Context(name=name, url=url, tuf_url=f"{url}/tuf", root_fingerprint=HEX)


def test_contexts_survive_being_written(tmp_path):
    contexts = Contexts().with_context(context("one"), use=False).with_context(context("two"), use=False)
    save_contexts(contexts, tmp_path / "new")
    assert load_contexts(tmp_path / "new") == contexts


def test_there_are_none_at_first(tmp_path):
    assert load_contexts(tmp_path) == Contexts()


def test_the_first_context_becomes_current_and_others_on_demand():
    contexts = Contexts().with_context(context("one"), use=False)
    assert contexts.current == "one"
    contexts = contexts.with_context(context("two"), use=False)
    assert contexts.current == "one"
    assert contexts.using("two").current == "two"
    assert contexts.with_context(context("three"), use=True).current == "three"


def test_removing_the_current_context_leaves_none_current():
    contexts = Contexts().with_context(context("one"), use=True).with_context(context("two"), use=False)
    assert contexts.without("one").current == ""
    assert contexts.without("two").current == "one"


def test_a_context_is_found_by_name_and_by_url():
    contexts = (
        Contexts()
        .with_context(context("one"), use=True)
        .with_context(context("two"), use=True)
        .with_context(context("far", "https://far.example"), use=False)
    )
    assert contexts.find("far").name == "far"
    assert contexts.find("https://far.example/").name == "far"
    assert contexts.find("https://sigstore.example").name == "two"
    assert contexts.find("https://none.example") is None


@pytest.mark.parametrize("act", [Contexts.get, Contexts.using, Contexts.without])
def test_an_unknown_context_is_named(act):
    with pytest.raises(ConfigurationError, match="no context 'nope'") as caught:
        act(Contexts(), "nope")
    assert caught.value.code == "unknown_context"


@pytest.mark.parametrize("content", ["", "{", "[]", '{"contexts":{"a":{}}}', '{"current":1}', "\udcff"])
def test_a_damaged_file_is_refused_not_forgotten(tmp_path, content):
    (tmp_path / "contexts.json").write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(ConfigurationError) as caught:
        load_contexts(tmp_path)
    assert caught.value.code == "damaged_contexts"


@pytest.mark.parametrize("name", ["", ".", "-x", "a b", "a/b", "x" * 65, "é", "a\n"])
def test_refuses_names_that_would_mislead(name):
    with pytest.raises(ConfigurationError):
        parse_context_name(name)


def test_reads_fingerprints_as_people_write_them():
    colons = ":".join(["AB"] * 32)
    for text in (HEX, HEX.upper(), f"sha256:{HEX}", colons, f" {HEX}\n"):
        assert parse_fingerprint(text) == HEX


@pytest.mark.parametrize("text", ["", "ab", HEX + "0", "g" * 64, "sha1:" + HEX])
def test_refuses_what_is_no_fingerprint(text):
    with pytest.raises(ConfigurationError):
        parse_fingerprint(text)


def test_readers_never_see_half_a_file(tmp_path):
    states = [Contexts().with_context(context(f"name{n}" * 8), use=True) for n in range(8)]
    save_contexts(states[0], tmp_path)

    def work(number: int) -> bool:
        save_contexts(states[number % 8], tmp_path)
        return load_contexts(tmp_path) in states

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(work, range(200)))
    assert [path.name for path in tmp_path.iterdir()] == ["contexts.json"]


def test_of_many_changes_at_once_none_is_lost(tmp_path):
    def add(number: int) -> None:
        added = context(f"c{number}")
        change_contexts(lambda known: known.with_context(added, use=False), tmp_path)

    with ThreadPoolExecutor(12) as threads:
        list(threads.map(add, range(48)))
    assert len(load_contexts(tmp_path).contexts) == 48


def test_a_context_that_is_removed_takes_no_other_with_it():
    contexts = Contexts().with_context(context("one"), use=False).with_context(context("two"), use=False)
    assert contexts.without("one").contexts.keys() == {"two"}
    assert contexts.without("one").current == ""
    assert contexts.without("two").current == "one"
