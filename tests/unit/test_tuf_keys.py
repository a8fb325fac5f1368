"""Keys of TUF metadata that nobody holds, or everybody does, vouch for nothing."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from tuf.api.metadata import Metadata, Root

from hallmark.client.kept_trust import check_kept
from hallmark.client.trust_cache import KeptTrust
from hallmark.client.tuf_keys import check_tuf_keys
from hallmark.errors import TrustError
from hallmark.trustroot.keys import create_key_files
from hallmark.trustroot.repository import TrustRepository

NOW = datetime(2026, 3, 1, tzinfo=UTC)
SMALL_ORDER = json.loads((Path(__file__).parent.parent / "support/ed25519_small_order.json").read_text())


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> bytes:
    folder = tmp_path_factory.mktemp("tuf")
    return TrustRepository.create(folder / "tuf", {}, create_key_files(folder / "keys"), NOW).newest_root()


def with_key(root: bytes, keytype: str, scheme: str, public: str) -> bytes:
    found: Metadata[Root] = Metadata.from_bytes(root)
    key = next(iter(found.signed.keys.values()))
    key.keytype, key.scheme, key.keyval = keytype, scheme, {"public": public}
    return found.to_bytes()


def test_takes_the_keys_of_an_instance(root):
    check_tuf_keys([root])


def test_refuses_keys_of_small_order_and_of_no_order(root):
    for public in (*[item["encoding"] for item in SMALL_ORDER], "ff" * 32, "zz", "00"):
        with pytest.raises(TrustError) as caught:
            check_tuf_keys([with_key(root, "ed25519", "ed25519", public)])
        assert caught.value.code == "weak_key"


def test_refuses_an_rsa_key_with_another_exponent(root):
    key = rsa.generate_private_key(3, 2048).public_key()
    pem = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    with pytest.raises(TrustError, match="exponent"):
        check_tuf_keys([with_key(root, "rsa", "rsassa-pss-sha256", pem)])


def test_material_below_a_root_with_such_a_key_is_not_believed(root):
    weak = with_key(root, "ed25519", "ed25519", "01" + "00" * 31)
    kept = KeptTrust(
        tuf_url="https://sigstore.example/tuf",
        fetched=NOW,
        trusted_root=b"{}",
        signing_config=b"{}",
        metadata={},
    )
    with pytest.raises(TrustError) as caught:
        check_kept(kept, weak)
    assert caught.value.code == "weak_key"
