"""A folder with files as a user may have them, signed by a little Sigstore in memory."""

import json

import msgspec
import pytest
from tests.support.foreign import cosign_bundle, own_bundle
from tests.support.instance import isolated_environment
from tests.support.world import (
    EMAIL,
    MESSAGE,
    OIDC_ISSUER,
    World,
    a_statement,
    b64,
    certificate_pem,
    public_key,
)

from hallmark.core.bundle import BUNDLE_V01


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
        **foreign_files(world),
        "--strange": MESSAGE,
        "--strange.sigstore.json": bundle,
    }
    for name, content in named.items():
        (work / name).write_bytes(content)
    return work


def foreign_files(world):
    """What other tools write, and what they do not write."""
    bundle, other = world.bundle(), world.bundle(b"another")
    old = world.v1_bundle(version=BUNDLE_V01)
    own, own_root = own_bundle(world)
    newer = json.loads(bundle.to_json())
    newer["futureField"] = newer["verificationMaterial"]["futureProof"] = {}
    unlogged = world.bundle(certificate=world.certificate(scts=()), tlog_entries=())
    without_logs = msgspec.structs.replace(world.root, tlogs=(), ctlogs=())
    elsewhere = msgspec.structs.replace(world.root, certificate_authorities=())
    attestations = [{"bundle": json.loads(item.to_json())} for item in (bundle, world.key_bundle())]
    return {
        "lines": MESSAGE,
        "lines.sigstore.jsonl": bundle.to_json() + b"\n" + other.to_json() + b"\n",
        "cut.jsonl": bundle.to_json() + b"\n" + bundle.to_json()[:-20],
        "newer.sigstore.json": json.dumps(newer).encode(),
        "npm.json": json.dumps({"attestations": attestations}, indent=1).encode(),
        "cosign.bundle": json.dumps(cosign_bundle(old, certificate_pem(old.certificate))).encode(),
        "detached": MESSAGE,
        "detached.sig": b64(bundle.signature).encode(),
        "detached.pem": b64(certificate_pem(bundle.certificate)).encode(),
        "keysigned": MESSAGE,
        "keysigned.sig": b64(world.key_bundle().signature).encode(),
        "own": MESSAGE,
        "own.sigstore.json": own,
        "own-root.pem": own_root,
        "other-root.pem": certificate_pem(world.ca_chain[-1]),
        "unlogged": MESSAGE,
        "unlogged.sigstore.json": unlogged.to_json(),
        "roots.jsonl": elsewhere.to_json() + b"\n" + without_logs.to_json() + b"\n",
        "newer-root.json": world.root.to_json().replace(b"{", b'{"laterField":[],', 1),
        "statement.json": json.dumps(a_statement()).encode(),
    }


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
