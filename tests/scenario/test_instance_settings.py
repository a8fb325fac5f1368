"""An instance does what its settings file says."""

import time

import pytest
import urllib3
from tests.support.instance import RunningInstance
from tests.support.load import Load, entry_request
from tests.support.rekor import dsse, hashedrekord, to_body

http = urllib3.PoolManager(retries=False, timeout=30)


@pytest.fixture
def start(tmp_path):
    started = []

    def start(text: str) -> RunningInstance:
        (tmp_path / "hallmark.toml").write_text(text)
        started.append(
            RunningInstance(tmp_path / "data", tmp_path, "--config", str(tmp_path / "hallmark.toml"))
        )
        return started[-1]

    yield start
    for instance in started:
        assert instance.stop() == 0


def post(instance, body: bytes):
    return http.request("POST", f"{instance.base_url}/api/v2/log/entries", body=body)


def reason(answer) -> str:
    return answer.json()["details"][0]["reason"]


def test_a_read_only_log_refuses_entries_as_a_frozen_one_and_is_read(start):
    instance = start("[tlog]\nread_only = true\n")
    answer = post(instance, entry_request())
    assert answer.status == 405
    assert answer.data == b"This log has been frozen, please switch to the latest log.\n"
    assert http.request("GET", f"{instance.base_url}/checkpoint").status == 200
    assert http.request("GET", f"{instance.base_url}/api/v2/log/entries/0").status == 200


def test_a_log_takes_only_what_it_is_set_to_take(start):
    instance = start(
        "[tlog]\naccept_dsse = false\nalgorithms = ['PKIX_ECDSA_P256_SHA_256']\nmax_body_bytes = 8192\n"
    )
    assert post(instance, to_body(hashedrekord("PKIX_ECDSA_P256_SHA_256"))).status == 201
    refused = post(instance, to_body(dsse("PKIX_ECDSA_P256_SHA_256")))
    assert (refused.status, refused.json()["message"]) == (400, "invalid type, must be hashedrekord")
    assert reason(post(instance, to_body(hashedrekord("PKIX_ED25519_PH")))) == "ALGORITHM_NOT_ALLOWED"
    assert reason(post(instance, b" " * 8193)) == "BODY_TOO_LARGE"


def test_a_log_lets_only_so_many_wait(start):
    instance = start("[tlog]\nmax_waiting_entries = 1\n")
    load = Load(instance.base_url, threads=16)
    deadline = time.monotonic() + 60
    while 503 not in load.other:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert load.stop()
    assert load.other == {503}


def test_a_wrong_file_is_refused_before_anything_is_made(tmp_path):
    (tmp_path / "hallmark.toml").write_text("[tlog]\nread_onyl = true\n")
    with pytest.raises(AssertionError) as failed:
        RunningInstance(tmp_path / "data", tmp_path, "--config", str(tmp_path / "hallmark.toml"))
    assert "read_onyl" in str(failed.value)
    assert "hint: docs/operate/settings.md" in str(failed.value)
    assert not (tmp_path / "data").exists()
