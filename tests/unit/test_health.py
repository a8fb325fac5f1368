"""What an instance finds when it looks at itself, and how it tells."""

import json
import os
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding
from tests.support.asgi_call import call
from tests.support.witness_server import SmallWitness, WitnessServer
from tests.support.world import authority_certificate

from hallmark.adapters.keys.file import write_key
from hallmark.core.cosignature import cosigner_vkey
from hallmark.core.vkey import log_vkey
from hallmark.core.x509.authority import ISSUING_LIFETIME
from hallmark.core.x509.certificate import load_certificate
from hallmark.instance.directory import install
from hallmark.web.health import HealthCheck, health_routes
from hallmark.wiring.create import create_instance
from hallmark.wiring.health import SOON, Expiry, ask_witnesses, examine_instance
from hallmark.wiring.layout import VERSION, InstanceFile, Layout
from hallmark.wiring.publishing import Publishing
from hallmark.wiring.shards import Shard, ShardTable, open_tlog
from hallmark.wiring.witnessing import WitnessSetting
from hallmark.witness.config import WitnessMode

NOW = datetime.now(UTC)
SECOND, DAY = timedelta(seconds=1), timedelta(days=1)
WITNESS = cosigner_vkey("w.example/1", Ed25519PrivateKey.generate())
POLICY = f"witness w {WITNESS.to_text()} http://127.0.0.1:9/\nquorum w\n".encode()


@pytest.fixture
def layout(tmp_path):
    """The directory of an instance whose logs are published."""
    made = Layout(tmp_path)
    instance = InstanceFile(version=VERSION, base_url="http://localhost:8", host="localhost", port=8)
    create_instance(made, instance, now=NOW)
    install(made)
    Publishing(made, instance, on_failure=os.abort).recover()
    return made


def examined(layout: Layout, now: datetime) -> dict[str, HealthCheck]:
    return {item.check: item for item in examine_instance(layout, now)}


def wrong(layout: Layout, now: datetime = NOW) -> set[str]:
    return {name for name, item in examined(layout, now).items() if not item.ok}


def test_a_new_instance_is_well_and_says_how_long(layout):
    found = examined(layout, NOW)
    assert [item for item in found.values() if not item.ok or (item.soon and item.check != "disk")] == []
    assert set(found) >= {
        *("directory", "disk", "tlog", "ctlog", "log keys"),
        *("issuing certificate", "ca root certificate", "timestamping certificate", "tsa root certificate"),
        *("tuf root", "tuf targets", "tuf snapshot", "tuf timestamp"),
    }
    assert "in 1095 days" in found["issuing certificate"].found
    assert not list(layout.root.glob(".*probe*"))


@pytest.mark.parametrize(
    ("left", "ok", "soon"),
    [
        (SOON, True, False),
        (SOON - SECOND, True, True),
        (SECOND, True, True),
        (timedelta(0), False, False),
        (-SECOND, False, False),
    ],
)
def test_what_ends_is_announced_beforehand_and_is_wrong_from_then_on(left, ok, soon):
    check = Expiry("it", NOW + left, SOON).check(NOW)
    assert (check.ok, check.soon) == (ok, soon)
    assert check.ends == int((NOW + left).timestamp())


def test_an_issuing_certificate_that_has_ended_is_named(layout):
    assert "issuing certificate" in wrong(layout, NOW + ISSUING_LIFETIME)


def test_whatever_is_wrong_comes_with_what_to_do(layout):
    (layout.root / "tlog" / "log.db").write_bytes(b"no database" * 1000)
    later = [item for item in examined(layout, NOW + 10 * ISSUING_LIFETIME).values() if not item.ok]
    assert {"tlog", "issuing certificate", "tuf root"} <= {item.check for item in later}
    assert [item.check for item in later if not item.hint] == []
    assert [item.check for item in examined(layout, NOW).values() if item.ok and item.hint] == []


def test_trust_metadata_that_nobody_renewed_is_announced_then_named(layout):
    found = examined(layout, NOW + timedelta(days=6))["tuf timestamp"]
    assert (found.ok, found.soon) == (True, True)
    assert wrong(layout, NOW + timedelta(days=8)) == {"tuf timestamp"}


def test_a_directory_that_cannot_be_written_is_named(layout):
    (layout.root / f"..probe-{os.getpid()}.partial").mkdir()
    assert wrong(layout) == {"directory"}


@pytest.mark.parametrize("lost", ["ca/chain.pem", "tuf/timestamp.json", "tlog/log.db"])
def test_lost_state_is_a_finding(layout, lost):
    (layout.root / lost).unlink()
    assert len(wrong(layout)) == 1


def test_a_log_whose_publication_stands_still_is_named(tmp_path):
    layout = Layout(tmp_path)
    instance = InstanceFile(version=VERSION, base_url="http://localhost:8", host="localhost", port=8)
    create_instance(layout, instance, now=NOW)
    install(layout)
    assert wrong(layout, NOW + 59 * SECOND) == set()
    assert wrong(layout, NOW + 62 * SECOND) == {"tlog"}


@pytest.mark.parametrize(
    ("name", "key"),
    [("tlog", Ed25519PrivateKey.generate()), ("ctlog", ec.generate_private_key(ec.SECP256R1()))],
)
def test_a_log_whose_key_is_in_no_trusted_root_is_named(layout, name, key):
    layout.key(name).unlink()
    write_key(layout.key(name), key)
    found = examined(layout, NOW)["log keys"]
    assert (found.ok, f"the key that {name} signs with" in found.found) == (False, True)


def test_a_shard_that_clients_are_not_told_of_yet_needs_no_key_in_the_trusted_root(layout):
    write_key(layout.key("tlog-2"), Ed25519PrivateKey.generate())
    ShardTable(layout).write((Shard(1), Shard(2)))
    assert examined(layout, NOW)["log keys"].ok


@pytest.mark.parametrize(("mode", "ok"), [(WitnessMode.STRICT, False), (WitnessMode.FAIL_OPEN, True)])
def test_a_quorum_that_is_missing_is_told(layout, mode, ok):
    layout.witnesses.write_bytes(msgspec.json.encode(WitnessSetting(mode, POLICY)))
    assert examined(layout, NOW + 59 * SECOND)["witnesses"].ok
    found = examined(layout, NOW + 62 * SECOND)["witnesses"]
    assert (found.ok, found.soon) == (ok, True)
    assert found.found == "a quorum has signed 0 of 1 entries"


def test_the_health_that_clients_know_is_told_when_all_is_well():
    answer = call(health_routes(), "GET", "/healthz")
    assert (answer.status, answer.body) == (200, b'{"status":"SERVING"}')


def test_what_is_wrong_is_told_with_its_reason_and_what_ends_soon_is_not():
    checks = (
        HealthCheck(check="a", ok=False, found="it broke"),
        HealthCheck(check="b", ok=True, found="ends", soon=True, ends=7),
    )
    answer = call(health_routes(lambda: checks), "GET", "/healthz")
    assert (answer.status, json.loads(answer.body)) == (
        503,
        {"status": "NOT_SERVING", "problems": ["a: it broke"]},
    )
    answer = call(health_routes(lambda: checks), "GET", "/health")
    assert answer.status == 200
    assert msgspec.convert(json.loads(answer.body)["checks"], tuple[HealthCheck, ...]) == checks


def test_however_often_it_is_asked_an_instance_is_examined_once_in_a_while():
    times = []
    routes = health_routes(lambda: times.append(1) or ())
    for _ in range(20):
        call(routes, "GET", "/healthz")
    assert len(times) < 20


def test_the_certificate_of_grpc_ends_as_others_do(layout, tmp_path):
    path = tmp_path / "grpc.pem"
    der = authority_certificate("g", "g", key="p256-g", issuing_key="p256-g", not_after=NOW + 10 * DAY)
    path.write_bytes(load_certificate(der).public_bytes(Encoding.PEM))
    for days, ok, soon in ((-5, True, False), (0, True, True), (10, False, False)):
        now = NOW + days * DAY
        found = {item.check: item for item in examine_instance(layout, now, str(path))}["grpc certificate"]
        assert (found.ok, found.soon) == (ok, soon)
    path.write_bytes(b"")
    found = {item.check: item for item in examine_instance(layout, NOW, str(path))}
    assert not found["state"].ok


@pytest.mark.parametrize(("mode", "ok"), [(WitnessMode.STRICT, False), (WitnessMode.FAIL_OPEN, True)])
def test_witnesses_that_do_not_answer_now_are_named(layout, mode, ok):
    layout.witnesses.write_bytes(msgspec.json.encode(WitnessSetting(mode, POLICY)))
    (found,) = ask_witnesses(layout)
    assert (found.ok, found.found) == (ok, "0 of 1 answer, not w")


def test_a_witness_that_answers_now_is_enough(layout, tmp_path):
    _, signer = open_tlog(layout, layout.read_instance())
    witness = SmallWitness(tmp_path / "heads.db", "w.example/1", log_vkey(signer.origin, signer.public_key))
    server = WitnessServer(witness.post, witness.get)
    policy = f"witness w {witness.keys.vkeys[0].to_text()} {server.url}\nquorum w\n".encode()
    layout.witnesses.write_bytes(msgspec.json.encode(WitnessSetting(WitnessMode.STRICT, policy)))
    (found,) = ask_witnesses(layout)
    server.close()
    witness.close()
    assert (found.ok, found.found) == (True, "1 of 1 answer")


def test_nobody_is_asked_where_there_are_no_witnesses(layout):
    assert ask_witnesses(layout) == ()
