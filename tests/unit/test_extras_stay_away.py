"""Extras are imported by who asks for them, and by nobody else."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("hallmark.verify.verifier", {"Crypto", "grpc", "google.protobuf"}),
        ("hallmark.client.signing", {"Crypto", "grpc", "google.protobuf"}),
        ("hallmark.wiring.application", {"grpc", "google.protobuf", "prometheus_client"}),
        ("hallmark.instance.run", {"grpc", "google.protobuf", "prometheus_client"}),
    ],
)
def test_does_not_import_what_was_not_asked_for(module, absent):
    program = f"import sys, {module}; print(sorted({absent!r} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
