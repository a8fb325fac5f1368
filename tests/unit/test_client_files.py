import json
from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from tests.support.tsa_authority import NOW, Authority

from hallmark.core.keys import wrap_public_key
from hallmark.core.note import ed25519_key_hash
from hallmark.core.signing_config import parse_client_trust_config, parse_signing_config
from hallmark.core.trusted_root import parse_trusted_root
from hallmark.trustroot.client_files import (
    InstanceFacts,
    client_files,
    instance_signing_config,
    instance_trusted_root,
    tuf_targets,
)

BASE = "http://127.0.0.1:8080"
START = NOW.replace(microsecond=0) - timedelta(hours=1)
CHAIN = Authority().chain
LOG_KEY = ed25519.Ed25519PrivateKey.generate().public_key()


def facts(**changed: object) -> InstanceFacts:
    fields = {
        "base_url": BASE,
        "operator": "127.0.0.1",
        "start": START,
        "ca_chain": CHAIN,
        "ct_log_key": wrap_public_key(ec.generate_private_key(ec.SECP256R1()).public_key()),
        "log_key": wrap_public_key(LOG_KEY),
        "log_origin": "127.0.0.1",
        "log_url": BASE,
        "tsa_chain": CHAIN,
        **changed,
    }
    return InstanceFacts(**fields)


def test_the_files_say_the_same_as_the_values():
    given = facts()
    root, config = instance_trusted_root(given), instance_signing_config(given)
    files = client_files(root, config, b"{}")
    assert parse_trusted_root(files["trusted_root.json"]) == root
    assert parse_signing_config(files["signing_config.json"]) == config
    both = parse_client_trust_config(files["client_trust_config.json"])
    assert (both.trusted_root, both.signing_config) == (root, config)
    assert tuf_targets(root, config).keys() == {"trusted_root.json", "signing_config.v0.2.json"}


def test_the_log_is_known_by_its_origin_and_key():
    (log,) = instance_trusted_root(facts()).tlogs
    assert log.log_id == ed25519_key_hash("127.0.0.1", LOG_KEY.public_bytes_raw())
    assert (log.base_url, log.key_details) == (BASE, "PKIX_ED25519")


def test_the_ct_log_is_known_by_its_key():
    given = facts()
    (log,) = instance_trusted_root(given).ctlogs
    assert (log.base_url, log.log_id) == (f"{BASE}/ctlog", given.ct_log_key.key_id)


def test_an_authority_is_named_as_its_issuing_certificate_is():
    """Not as its root; a name that the certificate lacks is left empty."""
    root = instance_trusted_root(facts())
    for found in (*root.certificate_authorities, *root.timestamp_authorities):
        assert (found.organization, found.common_name) == ("", "tsa")
        assert found.certificates == CHAIN


def test_clients_find_every_service_by_the_url_they_expect():
    config = json.loads(instance_signing_config(facts()).to_json())
    found = {
        kind: [(item["url"], item["majorApiVersion"]) for item in config[kind]]
        for kind in config
        if "Urls" in kind
    }
    assert found == {
        "caUrls": [(BASE, 1)],
        "oidcUrls": [(f"{BASE}/oidc", 1)],
        "rekorTlogUrls": [(BASE, 2)],
        "tsaUrls": [(f"{BASE}/api/v1/timestamp", 1)],
    }


def test_refuses_a_start_within_a_second():
    with pytest.raises(ValueError, match="whole second"):
        facts(start=START + timedelta(milliseconds=1))
