"""Signing configs, and the choice of services."""

import json
from datetime import timedelta

import pytest
from tests.support import world as w

from hallmark.core.signing_config import (
    ALL,
    ANY,
    MAX_CLIENT_TRUST_CONFIG_BYTES,
    MAX_SIGNING_CONFIG_BYTES,
    UNDEFINED,
    ClientTrustConfig,
    Selector,
    Service,
    SigningConfig,
    parse_client_trust_config,
    parse_signing_config,
    select,
    unknown_client_trust_config_fields,
    unknown_signing_config_fields,
)
from hallmark.core.trusted_root import MAX_INSTANCES, Validity
from hallmark.errors import MalformedInput, TrustError

HOUR = timedelta(hours=1)


def service(
    name: str, *, version: int = 1, since: int = 24, until: int | None = None, operator: str = ""
) -> Service:
    end = None if until is None else w.NOW + until * HOUR
    return Service(
        url=f"http://{name}.test",
        major_api_version=version,
        valid_for=Validity(w.NOW - since * HOUR, end),
        operator=operator or name,
    )


CONFIG = SigningConfig(
    ca_urls=(service("ca"),),
    oidc_urls=(service("oidc"),),
    rekor_tlog_urls=(service("rekor", version=2), service("rekor1")),
    rekor_tlog_config=ANY,
    tsa_urls=(service("tsa", until=3),),
    tsa_config=Selector("EXACT", 1),
)
BOTH = ClientTrustConfig(w.World().root, CONFIG)


def document() -> dict:
    return json.loads(CONFIG.to_json())


def names(chosen: tuple[Service, ...]) -> list[str]:
    return [item.url.removeprefix("http://").removesuffix(".test") for item in chosen]


def test_prints_what_it_reads():
    assert parse_signing_config(CONFIG.to_json()) == CONFIG
    assert parse_signing_config(CONFIG.to_json()).to_json() == CONFIG.to_json()
    assert parse_client_trust_config(BOTH.to_json()) == BOTH


def test_a_config_may_name_no_services():
    empty = SigningConfig()
    assert parse_signing_config(empty.to_json()) == empty
    assert select(empty.rekor_tlog_urls, {1, 2}, empty.rekor_tlog_config, w.NOW) == ()


@pytest.mark.parametrize(
    "change",
    [
        lambda c: c.update(mediaType="application/vnd.dev.sigstore.signingconfig.v0.1+json"),
        lambda c: c["caUrls"][0].update(url="ftp://x"),
        lambda c: c["caUrls"][0].update(url="file:///etc/passwd"),
        lambda c: c["caUrls"][0].update(url="http://" + "x" * 3000),
        lambda c: c["caUrls"][0].pop("url"),
        lambda c: c["caUrls"][0].update(majorApiVersion=-1),
        lambda c: c["caUrls"][0].update(majorApiVersion="one"),
        lambda c: c["caUrls"][0].update(validFor={"start": "soon"}),
        lambda c: c["tsaConfig"].update(selector="SOME"),
        lambda c: c["tsaConfig"].update(selector="EXACT", count=0),
        lambda c: c["tsaConfig"].update(selector="EXACT", count=33),
        lambda c: c["caUrls"].extend(c["caUrls"] * 300),
    ],
)
def test_refuses_a_config_that_breaks_a_rule(change):
    found = document()
    change(found)
    with pytest.raises(MalformedInput):
        parse_signing_config(json.dumps(found).encode())


def test_refuses_a_client_trust_config_of_another_kind():
    found = json.loads(ClientTrustConfig(w.World().root, CONFIG).to_json())
    with pytest.raises(MalformedInput):
        parse_client_trust_config(json.dumps({**found, "mediaType": "x"}).encode())
    del found["signingConfig"]
    with pytest.raises(MalformedInput):
        parse_client_trust_config(json.dumps(found).encode())


def test_only_the_highest_supported_version_counts():
    services = (service("one"), service("two", version=2), service("three", version=3))
    assert names(select(services, {1, 2}, ALL, w.NOW)) == ["two"]
    assert names(select(services, {1}, ALL, w.NOW)) == ["one"]


def test_a_service_counts_only_in_its_time_ends_included():
    services = (service("old", until=0), service("future", since=-1), service("past", until=-1))
    assert names(select(services, {1}, ALL, w.NOW)) == ["old"]
    assert names(select((service("starts", since=0),), {1}, ALL, w.NOW)) == ["starts"]


def test_an_expired_newer_version_does_not_hide_an_older_one():
    services = (service("two", version=2, until=-1), service("one"))
    assert names(select(services, {1, 2}, ANY, w.NOW)) == ["one"]


def test_the_newest_service_of_each_operator_counts():
    services = (
        service("a1", operator="a", since=3),
        service("a2", operator="a", since=1),
        service("b", operator="b"),
        service("a3", operator="a", since=2),
    )
    assert names(select(services, {1}, ALL, w.NOW)) == ["a2", "b"]
    assert names(select(services, {1}, ANY, w.NOW)) == ["a2"]


def test_of_two_that_start_together_the_first_counts():
    services = (service("a1", operator="a"), service("a2", operator="a"))
    assert names(select(services, {1}, ALL, w.NOW)) == ["a1"]


def test_prints_a_count_for_exact_alone():
    assert document()["rekorTlogConfig"] == {"selector": "ANY"}
    assert document()["tsaConfig"] == {"selector": "EXACT", "count": 1}


def test_a_selector_without_name_selects_nothing():
    for selector in ({}, {"selector": ""}, {"selector": None}, {"selector": 0}):
        found = {**document(), "tsaConfig": selector}
        assert parse_signing_config(json.dumps(found).encode()).tsa_config == UNDEFINED


def test_a_service_without_version_has_version_0():
    found = document()
    del found["caUrls"][0]["majorApiVersion"]
    assert parse_signing_config(json.dumps(found).encode()).ca_urls[0].major_api_version == 0


def test_exact_means_exactly():
    services = (service("a"), service("b"), service("c"))
    assert names(select(services, {1}, Selector("EXACT", 2), w.NOW)) == ["a", "b"]
    with pytest.raises(TrustError):
        select(services, {1}, Selector("EXACT", 4), w.NOW)


@pytest.mark.parametrize(
    ("services", "selector"),
    [
        ((service("a", version=9),), ANY),
        ((service("a", version=0),), ALL),
        ((service("a", until=-1),), ALL),
        ((service("a"),), UNDEFINED),
    ],
)
def test_refuses_to_select_nothing(services, selector):
    with pytest.raises(TrustError) as caught:
        select(services, {1, 2}, selector, w.NOW)
    assert caught.value.code == "no_service"


@pytest.mark.parametrize("more", [0, 1])
def test_a_signing_config_has_bounds(more):
    found = json.loads(CONFIG.to_json())
    (ca,) = found["caUrls"]
    for services in ([ca] * (MAX_INSTANCES + more), [{**ca, "url": "http://x/".ljust(2048 + more, "x")}]):
        data = json.dumps({**found, "caUrls": services}).encode()
        if more:
            with pytest.raises(MalformedInput):
                parse_signing_config(data)
        else:
            assert len(parse_signing_config(data).ca_urls) == len(services)


@pytest.mark.parametrize(
    ("read", "value", "most"),
    [
        (parse_signing_config, CONFIG, MAX_SIGNING_CONFIG_BYTES),
        (unknown_signing_config_fields, CONFIG, MAX_SIGNING_CONFIG_BYTES),
        (parse_client_trust_config, BOTH, MAX_CLIENT_TRUST_CONFIG_BYTES),
        (unknown_client_trust_config_fields, BOTH, MAX_CLIENT_TRUST_CONFIG_BYTES),
    ],
)
def test_reads_configs_of_so_many_bytes(read, value, most):
    read(value.to_json().ljust(most))
    with pytest.raises(MalformedInput) as caught:
        read(value.to_json().ljust(most + 1))
    assert caught.value.code == "too_large"
