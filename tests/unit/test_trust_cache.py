import hashlib
import os
from datetime import UTC, datetime

import pytest

from hallmark.client.trust_cache import _MAX_BYTES, KeptTrust, load_trust, save_trust

HEX = "cd" * 32
MATERIAL = KeptTrust(
    tuf_url="https://sigstore.example/tuf",
    fetched=datetime(2026, 3, 1, tzinfo=UTC),
    trusted_root=b"{}",
    signing_config=b"{}",
    metadata={"root.json": b"root"},
)


def test_material_is_kept(tmp_path):
    save_trust(HEX, MATERIAL, tmp_path)
    assert load_trust(HEX, tmp_path) == MATERIAL
    assert load_trust("ef" * 32, tmp_path) is None


def test_any_damage_makes_it_missing(tmp_path):
    save_trust(HEX, MATERIAL, tmp_path)
    (path,) = (tmp_path / "trust").iterdir()
    whole = path.read_bytes()
    for position in range(0, len(whole), 7):
        damaged = bytearray(whole)
        damaged[position] ^= 1
        path.write_bytes(bytes(damaged))
        assert load_trust(HEX, tmp_path) is None
    path.write_bytes(whole[:-1])
    assert load_trust(HEX, tmp_path) is None


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_nothing_breaks_where_the_folder_cannot_be_written(tmp_path):
    tmp_path.chmod(0o500)
    save_trust(HEX, MATERIAL, tmp_path)
    assert load_trust(HEX, tmp_path) is None


def test_nothing_breaks_where_there_cannot_be_a_folder(tmp_path):
    (tmp_path / "file").touch()
    save_trust(HEX, MATERIAL, tmp_path / "file")
    assert load_trust(HEX, tmp_path / "file") is None


@pytest.mark.parametrize("more", [0, 1])
def test_what_is_kept_has_up_to_32_mebibytes(tmp_path, more):
    save_trust(HEX, MATERIAL, tmp_path)
    (path,) = (tmp_path / "trust").iterdir()
    content = path.read_bytes()[65:].ljust(_MAX_BYTES - 65 + more)
    path.write_bytes(hashlib.sha256(content).hexdigest().encode() + b"\n" + content)
    assert path.stat().st_size == (32 << 20) + more
    assert load_trust(HEX, tmp_path) == (None if more else MATERIAL)
