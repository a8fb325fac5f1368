"""A folder with files as a user may have them, signed by a little Sigstore in memory."""

import msgspec
import pytest
from tests.support.instance import isolated_environment
from tests.support.world import EMAIL, MESSAGE, OIDC_ISSUER, World, public_key


@pytest.fixture(scope="session")
def world():
    return World()


@pytest.fixture
def folder(tmp_path, world):
    """`app` is signed well; the others each have one thing wrong, which their names say."""
    work = tmp_path / "work"
    (work / "folder").mkdir(parents=True)
    bundle = world.bundle().to_json()
    named = {
        "root.json": world.root.to_json(),
        "old-root.json": msgspec.structs.replace(world.root, certificate_authorities=()).to_json(),
        "broken-root.json": b"{",
        "key.pem": public_key("p256-bare").to_pem().encode(),
        "other-key.pem": public_key("p256-leaf").to_pem().encode(),
        "no-key.pem": b"nothing",
        "keyed.sigstore.json": world.key_bundle().to_json(),
        "keyed": MESSAGE,
        "app": MESSAGE,
        "app.sigstore.json": bundle,
        "second": MESSAGE,
        "second.sigstore": bundle,
        "attested": MESSAGE,
        "attested.sigstore.json": world.attestation().to_json(),
        "tampered": MESSAGE + b"!",
        "tampered.sigstore.json": bundle,
        "unsigned": MESSAGE,
        "damaged": MESSAGE,
        "damaged.sigstore.json": bundle[: len(bundle) // 2],
        "empty": MESSAGE,
        "empty.sigstore.json": b"",
        "--strange": MESSAGE,
        "--strange.sigstore.json": bundle,
    }
    for name, content in named.items():
        (work / name).write_bytes(content)
    return work


@pytest.fixture
def environment(tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    return isolated_environment(home)


@pytest.fixture
def values(world):
    return {
        "EMAIL": EMAIL,
        "ISSUER": OIDC_ISSUER,
        "WHO": f"--identity {EMAIL} --issuer {OIDC_ISSUER}",
        "TRUST": "--trusted-root root.json",
        "DIGEST": f"sha256:{world.bundle().message_signature.digest.hex()}",
    }
