"""Metrics: summed over processes, readable for Prometheus, under Rekor v2's names."""

import asyncio
import os

import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.support.asgi_call import call
from tests.support.rekor import ENTRIES, RekorLog, dsse, hashedrekord, to_body

from hallmark.tlog.config import TlogConfig
from hallmark.web.metrics import SLOT_BYTES, Family, Meter, Sample, shared_memory
from hallmark.web.metrics_route import metrics_routes
from hallmark.wiring.metrics import FAMILIES as INSTANCE_FAMILIES
from hallmark.wiring.metrics import CommitMetrics, InstanceMetrics
from hallmark.wiring.processes import family_of, process_samples

FAMILIES = (
    Family(name="done_total", documentation="What was done."),
    Family(name="by_code_total", documentation="By code.", labels=("code",), values=(("1",), ("2",))),
    Family(name="waiting", documentation="What waits.", kind="gauge"),
    Family(name="seconds", documentation="How long.", kind="histogram", buckets=(0.1, 1.0)),
)


def parse(text: bytes) -> dict:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


@pytest.fixture
def memory():
    descriptor = shared_memory(3)
    yield descriptor
    os.close(descriptor)


def test_any_process_tells_the_sum_of_all(memory):
    meters = [Meter(FAMILIES, memory=memory, slot=slot) for slot in range(3)]
    for number, meter in enumerate(meters, 1):
        meter.number("done_total").add(number)
        meter.number("waiting").set(number)
    for meter in meters:
        found = parse(meter.to_text())
        assert found["done_total", ()] == found["waiting", ()] == 6


def test_counters_go_on_where_a_dead_process_left_them_but_what_it_held_is_gone(memory):
    dead = Meter(FAMILIES, memory=memory, slot=1)
    dead.number("done_total").add(5)
    dead.number("waiting").set(7)
    heir = Meter(FAMILIES, memory=memory, slot=1)
    heir.number("done_total").add()
    found = parse(heir.to_text())
    assert (found["done_total", ()], found["waiting", ()]) == (6, 0)


def test_histograms_count_up_to_each_bound():
    meter = Meter(FAMILIES)
    for value in (0.05, 0.1, 0.5, 3.0):
        meter.histogram("seconds").observe(value)
    found = parse(meter.to_text())
    buckets = [found["seconds_bucket", (("le", bound),)] for bound in ("0.1", "1.0", "+Inf")]
    assert buckets == [2, 3, 4]
    assert (found["seconds_count", ()], found["seconds_sum", ()]) == (4, pytest.approx(3.65))


def test_combinations_that_never_happened_are_left_out():
    meter = Meter(FAMILIES)
    meter.number("by_code_total", "2").add()
    found = parse(meter.to_text([Sample("size", "How large.", {"log": 'a"b\\c\n'}, 3.0)]))
    assert ("by_code_total", (("code", "1"),)) not in found
    assert found["by_code_total", (("code", "2"),)] == 1
    assert found["size", (("log", 'a"b\\c\n'),)] == 3


def test_refuses_more_than_a_slot_holds():
    with pytest.raises(ValueError, match="more than a slot"):
        Meter(
            [Family(name="x", documentation="", labels=("n",), values=tuple((str(n),) for n in range(9000)))]
        )
    assert Meter(INSTANCE_FAMILIES)
    assert SLOT_BYTES % 8 == 0


def test_the_log_counts_under_the_names_of_rekor_v2():
    with RekorLog() as log:
        request = to_body(hashedrekord())
        for body in (request, request, to_body(dsse()), b"{"):
            call(log.routes, "POST", ENTRIES, body, headers={"Content-Length": str(len(body))})
        call(log.routes, "GET", "/api/v2/checkpoint")
        call(log.routes, "GET", "/tile/0/999")
        served = call(metrics_routes(log.meter, list), "GET", "/metrics")
    assert served.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    lines = served.body.decode().splitlines()  # the parser gives these two the suffix that they do not have
    assert "rekor_v2_new_hashedrekord_entries 1.0" in lines
    assert "rekor_v2_new_dsse_entries 1.0" in lines
    found = parse(served.body)
    assert "rekor_v2_inclusion_proof_failure_total 0.0" in lines
    for code, method, count in (
        ("201", "post", 2),
        ("409", "post", 1),
        ("400", "post", 1),
        ("200", "get", 1),
    ):
        labels = (("code", code), ("method", method))
        assert found["rekor_v2_http_requests_total", labels] == count
        assert found["rekor_v2_http_api_latency_count", labels] == count
        assert found["rekor_v2_http_api_request_size_count", labels] == count
    assert found["rekor_v2_http_requests_total", (("code", "404"), ("method", "get"))] == 1
    assert found["rekor_v2_http_api_request_size_sum", (("code", "400"), ("method", "post"))] == 1


def test_an_answer_that_never_came_is_counted_as_a_failure():
    async def fail(_scope, _receive, _send):
        raise OSError("gone")

    log = RekorLog()
    with pytest.raises(OSError, match="gone"):
        asyncio.run(log.metrics.measured(fail)({"method": "GET", "headers": []}, None, None))
    found = parse(log.meter.to_text())
    assert found["rekor_v2_http_requests_total", (("code", "500"), ("method", "get"))] == 1


def test_what_a_frozen_log_refuses_is_counted():
    with RekorLog(TlogConfig(read_only=True)) as log:
        call(log.routes, "POST", ENTRIES, to_body(hashedrekord()))
    found = parse(log.meter.to_text())
    assert found["rekor_v2_http_requests_total", (("code", "405"), ("method", "post"))] == 1


@pytest.mark.parametrize(("stated", "size"), [(b"7", 7), (b"-7", 0), (b"nonsense", 0), (None, 0)])
def test_a_size_that_is_none_is_counted_as_nothing(stated, size):
    log = RekorLog()
    headers = [] if stated is None else [(b"content-length", stated)]
    log.metrics.count({"method": "POST", "headers": headers}, 400, 0.1)
    found = parse(log.meter.to_text())
    assert found["rekor_v2_http_api_request_size_sum", (("code", "400"), ("method", "post"))] == size


def test_the_engine_counts_its_commits():
    meter = Meter(INSTANCE_FAMILIES)
    metrics = CommitMetrics(meter, "tlog")
    metrics.committed(seconds=0.002, added=3, duplicates=1, waiting=2)
    metrics.committed(seconds=0.002, added=0, duplicates=1, waiting=0)
    found = parse(meter.to_text())
    label = (("log", "tlog"),)
    assert found["hallmark_log_commit_seconds_count", label] == 2
    assert found["hallmark_log_batch_entries_sum", label] == 5
    assert found["hallmark_log_entries_total", label] == 3
    assert found["hallmark_log_duplicates_total", label] == 2
    assert found["hallmark_log_queue_entries", label] == 0


@pytest.mark.parametrize(
    ("folder", "label"),
    [
        ("tlog", "tlog"),
        ("ctlog", "ctlog"),
        ("shards/2", "shards/2"),
        ("shards/32", "shards/32"),
        ("shards/33", "shards/later"),
        ("shards/1000", "shards/later"),
    ],
)
def test_each_shard_is_counted_apart_as_far_as_there_is_room(folder, label):
    metrics = InstanceMetrics(Meter(INSTANCE_FAMILIES))
    metrics.log(folder).committed(seconds=0.002, added=3, duplicates=0, waiting=0)
    found = parse(metrics.meter.to_text())
    counted = {
        labels: value for (name, labels), value in found.items() if name == "hallmark_log_entries_total"
    }
    assert counted == {(("log", label),): 3}


def test_processes_are_summed_and_one_that_has_ended_counts_nothing():
    once = {sample.name: sample.value for sample in process_samples([os.getpid()])}
    twice = {sample.name: sample.value for sample in process_samples([os.getpid(), os.getpid(), 1 << 22])}
    assert twice["hallmark_processes"] == 2 * once["hallmark_processes"] == 2
    assert once["process_open_fds"] > 2
    assert twice["process_resident_memory_bytes"] > once["process_resident_memory_bytes"]
    assert os.getpid() in family_of(os.getppid())
    assert list(process_samples([1 << 22])) == []


def test_every_counter_of_ours_ends_as_counters_do():
    fixed = ("rekor_v2_",)  # the names of Rekor v2
    counters = [item.name for item in INSTANCE_FAMILIES if item.kind == "counter"]
    counters += [item.name for item in process_samples([os.getpid()]) if item.kind == "counter"]
    assert [name for name in counters if not name.endswith("_total") and not name.startswith(fixed)] == []
