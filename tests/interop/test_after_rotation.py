"""After a rotation real clients sign into the new shard, and verify what stands in either."""

import time
from datetime import UTC, datetime

import pytest
from tests.interop import test_cosign, test_sigstore_python
from tests.support.instance import RunningInstance

from hallmark.wiring.layout import Layout
from hallmark.wiring.rotation import freeze_tlog, rotate_tlog

pytestmark = pytest.mark.interop


@pytest.fixture
def rotating(tmp_path):
    running = RunningInstance(tmp_path / "instance", tmp_path)
    yield running
    assert running.stop() == 0


def test_cosign_and_sigstore_python_follow_a_rotation(rotating, artifact, tmp_path):
    homes = [tmp_path / "cosign", tmp_path / "sigstore"]
    for home in homes:
        home.mkdir()
    cosign, sigstore = test_cosign.Cosign(homes[0]), test_sigstore_python.SigstorePython(homes[1])
    trust = ("--instance", f"{rotating.base_url}/tuf")
    cosign("initialize", "--mirror", f"{rotating.base_url}/tuf", "--root", rotating.client / "root.json")
    sigstore(*trust, "trust-instance", rotating.client / "root.json")
    bundles = [tmp_path / name for name in ("cosign1", "python1", "cosign2", "python2")]
    cosign.sign(rotating, artifact, bundles[0])
    test_sigstore_python.sign(sigstore, trust, rotating, artifact, bundles[1])

    layout = Layout(rotating.root)
    rotate_tlog(layout, datetime.now(UTC))
    time.sleep(1.1)  # services change in whole seconds
    freeze_tlog(layout, 1, datetime.now(UTC))

    cosign.sign(rotating, artifact, bundles[2])
    test_sigstore_python.sign(sigstore, trust, rotating, artifact, bundles[3])
    for bundle in bundles:
        cosign.verify(rotating, artifact, bundle)
        test_sigstore_python.verify(sigstore, trust, rotating, artifact, bundle)
        test_cosign.hallmark_verify(rotating, artifact, bundle)
    assert "2.127.0.0.1\\n" in bundles[2].read_text()
    assert "2.127.0.0.1\\n" in bundles[3].read_text()
