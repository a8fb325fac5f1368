"""An instance below a path, behind a proxy: four clients, before and after a rotation."""

import pytest
from tests.interop.test_cosign import Cosign, hallmark_sign, hallmark_verify
from tests.interop.test_sigstore_go import SigstoreGo
from tests.interop.test_sigstore_python import SigstorePython, verify
from tests.support.instance import RunningInstance
from tests.support.nginx import Nginx, free_port

pytestmark = pytest.mark.interop


@pytest.fixture(scope="module")
def below(tmp_path_factory):
    """Two instances of one host, below paths of their own."""
    port, proxies = free_port(), []
    instances = []
    for path in ("/team/a", "/team-a"):
        home = tmp_path_factory.mktemp("home")
        own = free_port()
        options = ("--public-url", f"http://localhost:{port}{path}")
        listen = f"127.0.0.1:{own}"
        instances.append(RunningInstance(home / "data", home, *options, listen=listen))
        proxies.append(f"location {path}/ {{ proxy_pass http://127.0.0.1:{own}/; }}")
    nginx = Nginx(tmp_path_factory.mktemp("nginx") / "n", port, "\n".join(proxies))
    yield instances
    nginx.stop()
    assert [item.stop() for item in instances] == [0, 0]


@pytest.mark.parametrize("rotated", [False, True])
def test_four_clients_verify_what_three_have_signed(below, artifact, tmp_path, rotated):
    """sigstore-python 4 drops the path of a CA's URL (`urljoin`), so it cannot sign here."""
    for number, instance in enumerate(below):
        if rotated:
            instance.run("log", "rotate", "--data", str(instance.root))
        for name in ("cosign", "sigstore", "go"):
            (tmp_path / f"{name}{number}").mkdir()
        cosign, sigstore = (
            Cosign(tmp_path / f"cosign{number}"),
            SigstorePython(tmp_path / f"sigstore{number}"),
        )
        tuf = f"{instance.base_url}/tuf"
        cosign("initialize", "--mirror", tuf, "--root", instance.client / "root.json")
        trust = ("--instance", tuf)
        sigstore(*trust, "trust-instance", instance.client / "root.json")
        go = SigstoreGo(tmp_path / f"go{number}")
        bundles = [tmp_path / f"{client}{number}.json" for client in ("c", "h", "g")]
        cosign.sign(instance, artifact, bundles[0])
        hallmark_sign(instance, artifact, bundles[1])
        go.sign(instance, artifact, bundles[2])
        for bundle in bundles:
            cosign.verify(instance, artifact, bundle)
            verify(sigstore, trust, instance, artifact, bundle)
            hallmark_verify(instance, artifact, bundle)
            go.verify(instance, artifact, bundle)
