"""The log of a real instance: what its workers count together, gRPC on its own port, and a clean end."""

import base64
import os
import signal
import socket
import time

import pytest
import urllib3
from prometheus_client.parser import text_string_to_metric_families
from tests.support.instance import RunningInstance
from tests.support.load import Load, check_log, entry_request
from tests.support.rekor import hashedrekord

from hallmark.core.trusted_root import parse_trusted_root


@pytest.fixture
def pool():
    connections = urllib3.PoolManager(retries=False, timeout=30)
    yield connections
    connections.clear()


def read_metrics(base_url: str) -> dict:
    pool = urllib3.PoolManager(retries=False, timeout=30)
    text = pool.request("GET", f"{base_url}/metrics", headers={"Connection": "close"}).data.decode()
    pool.clear()
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def post(base_url: str) -> int:
    """Send one entry over a connection of its own, so that any worker may get it."""
    pool = urllib3.PoolManager(retries=False, timeout=30)
    answer = pool.request(
        "POST", f"{base_url}/api/v2/log/entries", body=entry_request(), headers={"Connection": "close"}
    )
    pool.clear()
    return answer.status


def test_every_worker_tells_what_all_have_counted_and_forgets_nothing_of_a_dead_one(tmp_path):
    instance = RunningInstance(tmp_path / "data", tmp_path, "--workers", "2")
    try:
        assert {post(instance.base_url) for _ in range(30)} == {201}
        created = ("rekor_v2_http_requests_total", (("code", "201"), ("method", "post")))
        log = (("log", "tlog"),)
        for _ in range(6):
            found = read_metrics(instance.base_url)
            assert found[created] == found["hallmark_log_entries_total", log] == 30
            assert found["hallmark_log_size", log] == 31
        os.kill(instance.workers()[0], signal.SIGKILL)
        deadline = time.monotonic() + 30
        while len(instance.workers()) < 2:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        for _ in range(6):
            assert read_surely(instance.base_url, deadline)[created] == 30
        while read_surely(instance.base_url, deadline)["hallmark_log_unpublished_entries", log]:
            assert time.monotonic() < deadline
            time.sleep(0.05)
    finally:
        assert instance.stop() == 0


def read_surely(base_url: str, deadline: float):
    """Read the metrics although a connection may have gone with the worker at its other end."""
    while True:
        try:
            return read_metrics(base_url)
        except urllib3.exceptions.HTTPError:
            assert time.monotonic() < deadline
            time.sleep(0.05)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def create_over_grpc(address: str, *, wait: bool = False):
    """Add an entry over gRPC; with `wait`, once somebody serves there."""
    grpc = pytest.importorskip("grpc", reason="the grpc extra is not installed")
    from google.protobuf import json_format

    from hallmark.tlog.grpc.rekor_v2_pb2 import CreateEntryRequest
    from hallmark.tlog.grpc.sigstore_rekor_pb2 import TransparencyLogEntry

    with grpc.insecure_channel(address) as channel:
        create = channel.unary_unary(
            "/dev.sigstore.rekor.v2.Rekor/CreateEntry",
            request_serializer=CreateEntryRequest.SerializeToString,
            response_deserializer=TransparencyLogEntry.FromString,
        )
        request = json_format.ParseDict(hashedrekord(), CreateEntryRequest())
        return create(request, timeout=60, wait_for_ready=wait)


def test_an_instance_serves_its_log_over_grpc_where_it_is_told_to(tmp_path, pool):
    address = f"127.0.0.1:{free_port()}"
    instance = RunningInstance(tmp_path / "data", tmp_path, "--workers", "2", "--grpc-listen", address)
    try:
        created = create_over_grpc(address)
        found = pool.request("GET", f"{instance.base_url}/api/v2/log/entries/{created.log_index}").json()
        assert base64.b64decode(found["canonicalizedBody"]) == created.canonicalized_body
    finally:
        pool.clear()
        assert instance.stop() == 0


def test_a_shard_that_is_opened_meanwhile_is_served_over_grpc_on_the_next_port(tmp_path, pool):
    port = free_port()
    while not is_free(port + 1):
        port = free_port()
    listen = f"127.0.0.1:{port}"
    instance = RunningInstance(tmp_path / "data", tmp_path, "--workers", "2", "--grpc-listen", listen)
    try:
        first = create_over_grpc(listen)
        instance.run("log", "rotate", "--data", str(instance.root))
        second = create_over_grpc(f"127.0.0.1:{port + 1}", wait=True)
        assert second.log_id.key_id != first.log_id.key_id
        found = pool.request("GET", f"{instance.base_url}/shards/2/api/v2/log/entries/{second.log_index}")
        assert base64.b64decode(found.json()["canonicalizedBody"]) == second.canonicalized_body
        assert create_over_grpc(listen).log_id == first.log_id  # until it is frozen
    finally:
        pool.clear()
        assert instance.stop() == 0
    assert "Traceback" not in (tmp_path / "up.log").read_text()


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def test_whoever_is_in_the_log_was_answered_when_the_instance_ends_under_load(tmp_path):
    instance = RunningInstance(tmp_path / "data", tmp_path, "--workers", "2")
    load = Load(instance.base_url, threads=24)
    while len(load.answers) < 100:
        time.sleep(0.02)
    assert instance.stop() == 0
    answers = load.stop()
    again = RunningInstance(tmp_path / "data", tmp_path, listen=None)
    try:
        key = parse_trusted_root((again.client / "trusted_root.json").read_bytes()).tlogs[0].key
        assert check_log(again.base_url, key, answers) == 1 + len(answers)
    finally:
        assert again.stop() == 0


def test_clients_that_hold_half_a_request_do_not_hold_up_the_end(tmp_path):
    instance = RunningInstance(tmp_path / "data", tmp_path)
    host, _, port = instance.base_url.removeprefix("http://").partition(":")
    head = b"POST /api/v2/log/entries HTTP/1.1\r\nHost: log\r\nContent-Length: 100\r\n"
    halves = [socket.create_connection((host, int(port))) for _ in range(3)]
    for connection, sent in zip(halves, (b"", head, head + b"\r\n{"), strict=True):
        connection.sendall(sent)
    time.sleep(0.3)  # let the server see them
    assert instance.stop() == 0
    for connection in halves:
        connection.close()
    assert "has not ended" not in (tmp_path / "up.log").read_text()
