"""The loads of hostile callers against a whole instance: nobody else's call fails, and no worker is replaced.

How long others wait is measured by `python -m bench.hostile`; how much work is done in one turn of the loop,
tests/unit counts.
"""

import subprocess
import sys

import pytest
from bench.hostile import call
from bench.hostile_loads import LOADS, fill_large_bundle
from tests.support.instance import RunningInstance
from tests.support.load import entry_request

pytestmark = pytest.mark.torment

SECONDS = 5


@pytest.mark.parametrize("name", sorted(LOADS))
def test_a_hostile_load_fails_nobody_and_kills_no_worker(name, tmp_path):
    load = LOADS[name]
    grpc = ["--grpc-listen", "127.0.0.1:0"] if load.grpc else []
    instance = RunningInstance(tmp_path / "data", tmp_path, "--workers", "1", *grpc)
    try:
        if load.large_bundle:
            fill_large_bundle(instance.base_url)
        (worker,) = instance.workers()
        command = [sys.executable, "-m", "bench.hostile_loads", name, instance.base_url]
        with subprocess.Popen(
            [*command, str(instance.root), str(worker), str(SECONDS)], stdout=subprocess.PIPE, text=True
        ) as hostile:
            assert hostile.stdout.readline().startswith("begin")
            honest = call(instance.base_url, [entry_request() for _ in range(5000)], SECONDS)
            hostile.wait(120)
        assert honest.failures == 0
        assert len(honest.latencies) > 1
        assert instance.workers() == [worker]
    finally:
        instance.stop()
