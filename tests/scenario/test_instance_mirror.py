"""A mirror of an instance follows its shards, and heals what was lost or damaged, a part in each pass."""

import base64
import hashlib
import json
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import urllib3
from tests.support.instance import RunningInstance
from tests.support.load import entry_request
from tests.support.small_log import SmallLog

from hallmark.adapters.storage.memory import MemoryHeadStore, MemoryObjectStore
from hallmark.core.trusted_root import parse_trusted_root
from hallmark.core.x509.certificate import load_certificate
from hallmark.tiledlog.mirror import Mirror
from hallmark.tiledlog.records import TLOG_TILES
from hallmark.wiring import mirroring

EMAIL = "alice@example.com"


@pytest.fixture
def instance(tmp_path):
    running = RunningInstance(tmp_path / "data", tmp_path)
    pin = hashlib.sha256((running.client / "root.json").read_bytes()).hexdigest()
    running.run("context", "add", "mine", running.base_url, "--root-fingerprint", pin)
    yield running
    running.stop()


def sign(running: RunningInstance, name: str) -> Path:
    artifact = running.home / name
    artifact.write_text(name)
    who = ("--instance", running.base_url, "--identity-token", running.token(EMAIL))
    running.run("sign", *who, str(artifact))
    return artifact


def submit(running: RunningInstance, count: int) -> None:
    with urllib3.PoolManager() as pool:
        for _ in range(count):
            url = f"{running.base_url}/api/v2/log/entries"
            assert pool.request("POST", url, body=entry_request()).status == 201


def mirror(running: RunningInstance, source: str, target: Path, code: int = 0) -> dict:
    done = running.run("log", "mirror", source, str(target), "--json", check=False)
    assert done.returncode == code, done.stdout + done.stderr
    return json.loads(done.stdout)


def sizes(found: dict) -> dict[str, int]:
    return {name: log["size"] for name, log in found["logs"].items()}


@pytest.mark.parametrize("by", ["name", "url", "directory"])
def test_a_mirror_of_an_instance_follows_its_rotations(instance, by, tmp_path):
    source = {"name": "mine", "url": instance.base_url, "directory": str(instance.root)}[by]
    sign(instance, "one")
    assert sizes(mirror(instance, source, tmp_path / "m")) == {"tlog": 2, "ctlog": 1}
    instance.run("log", "rotate", "--data", str(instance.root))
    sign(instance, "two")
    assert sizes(mirror(instance, source, tmp_path / "m")) == {"tlog": 2, "shards/2": 2, "ctlog": 2}
    for log in ("tlog", "shards/2", "ctlog"):
        instance.run("log", "fsck", str(tmp_path / "m" / log))


def test_a_log_that_fails_stops_no_other_and_is_told(instance, tmp_path):
    sign(instance, "one")
    mirror(instance, "mine", tmp_path / "m")
    sign(instance, "two")
    (tmp_path / "m" / "tlog" / "mirror.json").write_text("{}")
    assert mirror(instance, "mine", tmp_path / "m", code=2)["error"]["code"] == "damaged_state"
    found = json.loads(instance.run("log", "fsck", str(tmp_path / "m" / "ctlog"), "--json").stdout)
    assert [log["size"] for log in found["logs"].values()] == [2]


def test_a_lone_mirror_of_a_frozen_shard_says_that_it_is_frozen(instance, tmp_path):
    trust = ("--trusted-root", str(instance.client / "trusted_root.json"))
    command = ("log", "mirror", instance.base_url, str(tmp_path / "m"), *trust)
    assert "frozen" not in instance.run(*command).stderr
    instance.run("log", "rotate", "--data", str(instance.root))
    instance.run("log", "freeze", "--data", str(instance.root), "--shard", "1")
    assert "mirror the instance" in instance.run(*command).stderr


def test_a_replaced_ct_log_is_mirrored_beside_the_one_before(instance, tmp_path):
    sign(instance, "one")
    mirror(instance, "mine", tmp_path / "m")
    assert instance.stop() == 0
    shutil.copytree(instance.root, tmp_path / "copy")
    instance.run("log", "restore", "--data", str(tmp_path / "copy"), "--replace-logs")
    copy = RunningInstance(tmp_path / "copy", tmp_path, listen=None)
    found = mirror(instance, "mine", tmp_path / "m")
    told = {name: instance.run("log", "mirror", "mine", str(tmp_path / name)).stderr for name in ("m", "new")}
    assert copy.stop() == 0
    assert "what is there stays" in told["m"]
    assert "what is there stays" not in told["new"]
    assert "ctlog has ended and is not served any more; nothing of it was mirrored before" in told["new"]
    assert sizes(found) == {"tlog": 2, "shards/2": 1, "ctlog-2": 0}
    assert found["ended"] == ["ctlog"]


def test_what_was_lost_or_damaged_in_a_mirror_is_there_again_after_a_pass(instance, tmp_path):
    submit(instance, 300)
    sign(instance, "one")
    mirror(instance, "mine", tmp_path / "m")
    before = files(tmp_path / "m")
    for damage in (
        lambda path: path.unlink(),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(bytes([path.read_bytes()[0] ^ 1]) + path.read_bytes()[1:]),
    ):
        for name in before:
            if "tile" in name.parts or "issuer" in name.parts:
                damage(tmp_path / "m" / name)
        found = mirror(instance, "mine", tmp_path / "m")
        tiles = sum("tile" in name.parts for name in before)
        assert sum(log["repairedObjects"] for log in found["logs"].values()) == tiles
        assert files(tmp_path / "m") == before
    found = mirror(instance, "mine", tmp_path / "m")
    assert [log["repairedObjects"] for log in found["logs"].values()] == [0, 0]


def files(folder: Path) -> dict[Path, bytes]:
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_each_pass_goes_on_where_the_last_one_ended(instance, tmp_path, monkeypatch):
    submit(instance, 599)  # three bundles, with the bootstrap entry
    source, target = str(instance.root / "tlog" / "public"), tmp_path / "m"
    (log,) = parse_trusted_root((instance.client / "trusted_root.json").read_bytes()).tlogs
    monkeypatch.setattr(mirroring, "BUNDLES_PER_PASS", 2)

    def run() -> tuple[int, int]:
        done = mirroring.mirror_log(source, target, [log.key], origin=None, progress=lambda _a, _b: None)
        return done.repair.verified, done.repair.next

    assert [run() for _ in range(3)] == [(2, 2), (1, 0), (2, 2)]


@pytest.mark.parametrize(("first", "count", "verified", "following"), [
    (0, None, 3, 0), (0, 3, 3, 0), (0, 2, 2, 2), (2, 1, 1, 0), (2, 5, 1, 0), (3, 1, 1, 1),
])  # fmt: skip
def test_a_repair_reaches_from_where_it_is_told_to_the_end(first, count, verified, following):
    log, target = SmallLog(MemoryHeadStore(), MemoryObjectStore()).create(), MemoryObjectStore()
    log.append(*(b"%d" % n for n in range(600)))
    log.publisher.recover()
    mirror = Mirror(log.objects, target, TLOG_TILES, log.signer.verify, on_records=lambda _a, _b: None)
    note = log.objects.get("checkpoint")
    mirror.update(note, lambda _a, _b: None)
    for name in ("000", "001"):
        target.put(f"tile/entries/{name}", b"damaged")
    done = mirror.repair(note, lambda _a, _b: None, first=first, count=count)
    assert (done.verified, done.next) == (verified, following)
    reached = range(first if first < 3 else 0, (first if first < 3 else 0) + verified)
    healed = [target.get(f"tile/entries/00{n}") != b"damaged" for n in (0, 1)]
    assert healed == [n in reached for n in (0, 1)]


def test_all_shards_are_exported_and_join_the_ct_log(instance, tmp_path):
    one = sign(instance, "one")
    instance.run("log", "rotate", "--data", str(instance.root))
    sign(instance, "two")
    mirror(instance, "mine", tmp_path / "m")
    tables = []
    for place in (instance.root, tmp_path / "m"):
        for log in (None, "ctlog"):
            output = tmp_path / f"{place.name}-{log}.parquet"
            chosen = () if log is None else ("--log", log)
            instance.run("log", "export", str(place), "--output", str(output), *chosen)
            tables.append(pq.read_table(output).to_pylist())
    entries, certificates, mirrored, mirrored_certificates = tables
    assert [(row["origin"], row["index"]) for row in entries] == [
        ("127.0.0.1", 0),
        ("127.0.0.1", 1),
        ("2.127.0.0.1", 0),
        ("2.127.0.0.1", 1),
    ]
    signed = [row for row in entries if row["verifier"] == "certificate"]
    assert [row["tbs_sha256"] for row in signed] == [row["tbs_sha256"] for row in certificates]
    bundle = json.loads(Path(f"{one}.sigstore.json").read_text())
    der = base64.b64decode(bundle["verificationMaterial"]["certificate"]["rawBytes"])
    assert load_certificate(der)
    assert signed[0]["certificate_sha256"] == hashlib.sha256(der).hexdigest()
    assert len(signed[0]["leaf_hash"]) == 64
    without_time = [{**row, "time": None} for row in entries]
    assert [{**row, "time": None} for row in mirrored] == without_time
    assert mirrored_certificates == certificates
