"""The signature log is rotated and frozen beside a running instance, and no client call fails."""

import json
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import urllib3
from tests.support.instance import RunningInstance
from tests.support.load import Load, check_log, entry_request

from hallmark.core.checkpoint import parse_checkpoint
from hallmark.core.note import parse_note
from hallmark.core.signing_config import parse_client_trust_config
from hallmark.core.trusted_root import parse_trusted_root
from hallmark.durable_files import write_durably
from hallmark.errors import ConfigurationError
from hallmark.trustroot.repository import TrustRepository
from hallmark.wiring import rotation
from hallmark.wiring.layout import Layout
from hallmark.wiring.rotation import (
    freeze_due_shards,
    freeze_tlog,
    rotate_tlog,
    trust_locked,
    write_client_files,
)
from hallmark.wiring.shards import Shard, ShardTable

http = urllib3.PoolManager(retries=False, timeout=30)


@pytest.fixture
def instance(tmp_path):
    running = RunningInstance(tmp_path / "data", tmp_path, "--workers", "2")
    yield running
    http.clear()
    assert running.stop() == 0
    assert "Traceback" not in (tmp_path / "up.log").read_text()


def sign(instance, tmp_path, name):
    file = tmp_path / name
    file.write_text(name)
    instance.run("sign", "--instance", instance.base_url, "--identity-token", instance.token(), str(file))
    return file


def verify(instance, file):
    instance.run(
        "verify",
        str(file),
        "--identity",
        "alice@example.com",
        "--issuer",
        f"{instance.base_url}/oidc",
        "--trusted-root",
        str(instance.client / "trusted_root.json"),
    )


def origin_of(file):
    bundle = json.loads(Path(f"{file}.sigstore.json").read_text())
    (entry,) = bundle["verificationMaterial"]["tlogEntries"]
    return entry["inclusionProof"]["checkpoint"]["envelope"].partition("\n")[0]


def post(url):
    return http.request("POST", f"{url}/api/v2/log/entries", body=entry_request())


def test_rotation_under_load_fails_no_call_and_both_shards_verify(instance, tmp_path):
    layout = Layout(instance.root)
    before = sign(instance, tmp_path, "before")
    load = Load(instance.base_url)
    time.sleep(0.3)
    assert rotate_tlog(layout, datetime.now(UTC)) == Shard(2)
    time.sleep(1.2)
    after = sign(instance, tmp_path, "after")
    answers = load.stop()
    assert load.other == set()
    root = parse_trusted_root((instance.client / "trusted_root.json").read_bytes())
    old, new = root.tlogs
    assert check_log(instance.base_url, old.key, answers) >= len(answers) + 2

    assert (origin_of(before), origin_of(after)) == ("127.0.0.1", "2.127.0.0.1")
    verify(instance, before)
    verify(instance, after)
    assert new.base_url == "http://2.127.0.0.1"
    assert old.valid_for.end is not None
    config = json.loads((instance.client / "signing_config.json").read_text())
    first, second = config["rekorTlogUrls"]
    assert first["validFor"]["end"] == second["validFor"]["start"]
    assert second["url"] == f"{instance.base_url}/shards/2"

    url = f"{instance.base_url}/shards/2"
    answer = post(url)
    check_log(url, new.key, [answer.json()])
    served = http.request("GET", f"{instance.base_url}/.well-known/hallmark/trusted_root.json").data
    assert served == (instance.client / "trusted_root.json").read_bytes()


def test_a_frozen_shard_refuses_entries_says_so_and_stays_readable(instance):
    layout = Layout(instance.root)
    answer = post(instance.base_url)
    rotate_tlog(layout, datetime.now(UTC))
    freeze_tlog(layout, 1, datetime.now(UTC))
    refused = post(instance.base_url)
    assert (refused.status, refused.data) == (
        405,
        b"This log has been frozen, please switch to the latest log.\n",
    )
    note = parse_note(http.request("GET", f"{instance.base_url}/checkpoint").data)
    (line,) = parse_checkpoint(note.text).extensions
    assert line.startswith("Log frozen")
    found = http.request("GET", f"{instance.base_url}/api/v2/log/entries/{answer.json()['logIndex']}")
    assert found.json()["canonicalizedBody"] == answer.json()["canonicalizedBody"]
    assert post(f"{instance.base_url}/shards/2").status == 201


def test_the_shard_in_use_and_a_missing_one_are_not_frozen(instance):
    with pytest.raises(ConfigurationError) as refused:
        freeze_tlog(Layout(instance.root), 1, datetime.now(UTC))
    assert refused.value.code == "shard_in_use"
    with pytest.raises(ConfigurationError, match="no shard"):
        freeze_tlog(Layout(instance.root), 7, datetime.now(UTC))


def test_a_shard_whose_day_has_passed_is_frozen_by_the_instance_itself(instance):
    layout, now = Layout(instance.root), datetime.now(UTC)
    rotate_tlog(layout, now)
    freeze_due_shards(layout, now + timedelta(hours=23))
    assert post(instance.base_url).status == 201
    freeze_due_shards(layout, now + timedelta(hours=25))
    assert post(instance.base_url).status == 405


def test_several_rotations_keep_every_key(instance, tmp_path):
    layout = Layout(instance.root)
    files = [sign(instance, tmp_path, "shard1")]
    for number in (2, 3):
        rotate_tlog(layout, datetime.now(UTC))
        time.sleep(1.1)  # services change in whole seconds
        files.append(sign(instance, tmp_path, f"shard{number}"))
    assert [origin_of(file) for file in files] == ["127.0.0.1", "2.127.0.0.1", "3.127.0.0.1"]
    for file in files:
        verify(instance, file)


class Killed(BaseException):
    pass


def kill(*_arguments):
    raise Killed


def test_a_rotation_killed_before_it_was_published_is_taken_up_again(instance, monkeypatch):
    layout = Layout(instance.root)
    with monkeypatch.context() as patched:
        patched.setattr(TrustRepository, "publish", kill)
        with pytest.raises(Killed):
            rotate_tlog(layout, datetime.now(UTC))
    assert rotate_tlog(layout, datetime.now(UTC)) == Shard(2)
    assert ShardTable(layout).read() == (Shard(1), Shard(2))


@pytest.mark.parametrize("written", [0, 1, 2])
def test_a_rotation_killed_after_it_was_published_is_finished_by_the_instance(instance, monkeypatch, written):
    layout = Layout(instance.root)
    left = iter(range(written))

    def write_some(path, data):
        if next(left, None) is None:
            raise Killed
        write_durably(path, data)

    with monkeypatch.context() as patched:
        patched.setattr(rotation, "write_durably", write_some)
        with pytest.raises(Killed):
            rotate_tlog(layout, datetime.now(UTC))
    with trust_locked(layout) as repository:
        write_client_files(layout, repository)
    trust = parse_client_trust_config((layout.client / "client_trust_config.json").read_bytes())
    assert (layout.client / "trusted_root.json").read_bytes() == trust.trusted_root.to_json()
    assert (layout.client / "signing_config.json").read_bytes() == trust.signing_config.to_json()
    assert [log.base_url for log in trust.trusted_root.tlogs][1:] == ["http://2.127.0.0.1"]
    services = [service.url for service in trust.signing_config.rekor_tlog_urls]
    assert services == [instance.base_url, f"{instance.base_url}/shards/2"]
    assert rotate_tlog(layout, datetime.now(UTC)) == Shard(3)


@pytest.mark.parametrize("work", [rotate_tlog, lambda layout, now: freeze_tlog(layout, 1, now)])
def test_a_directory_without_an_instance_is_named_and_left_alone(tmp_path, work):
    with pytest.raises(ConfigurationError) as refused:
        work(Layout(tmp_path), datetime.now(UTC))
    assert refused.value.code == "no_instance"
    assert list(tmp_path.iterdir()) == []
