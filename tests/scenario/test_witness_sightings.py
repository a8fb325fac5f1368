"""What witnesses have seen of a log keeps an older copy of it from signing a second history."""

import contextlib
import json
import shutil
from datetime import UTC, datetime

import pytest
import urllib3
from tests.support.asgi_call import Answer
from tests.support.instance import RunningInstance
from tests.support.load import entry_request
from tests.support.small_log import SmallLog
from tests.support.witness_server import RunningWitness, wait_until
from tests.support.witnessed_log import Setting

from hallmark.adapters.storage.memory import MemoryHeadStore, MemoryObjectStore
from hallmark.core.note import parse_note
from hallmark.errors import TrustError
from hallmark.instance.directory import install
from hallmark.tiledlog.log import end_log
from hallmark.wiring.create import create_instance
from hallmark.wiring.layout import VERSION, InstanceFile, Layout
from hallmark.wiring.outside import check_published_within, check_sighting, check_witnesses_saw
from hallmark.wiring.shards import open_tlog
from hallmark.witness.client import Sighting
from hallmark.witness.config import WitnessMode
from hallmark.witness.requests import print_size


@pytest.fixture
def setting(tmp_path):
    made = Setting(tmp_path, WitnessMode.FAIL_OPEN)
    made.log.append(b"one")
    made.publish()
    yield made
    made.close()


def go_back(setting: Setting) -> None:
    """Put an older copy in the place of the log: the same first entry, and nothing after it."""
    older = SmallLog(MemoryHeadStore(), MemoryObjectStore(), key=setting.log.key).create()
    older.append(b"one")
    setting.log = older
    setting.start()


def looked(setting: Setting):
    note = setting.log.store.head().checkpoint
    asking = setting.publisher._cosigner
    return asking.look(note, setting.log.signer.verify(note))


def test_a_witness_shows_the_newest_checkpoint_that_it_has_signed(setting):
    setting.log.append(b"two", b"three")
    setting.publish()
    go_back(setting)
    seen = looked(setting)
    assert {name: item.size for name, item in seen.items()} == {"w0": 3, "w1": 3, "w2": 3}
    assert [setting.log.signer.verify(item.note).size for item in seen.values()] == [3, 3, 3]


def test_a_witness_that_shows_nothing_tells_its_size_when_it_is_asked_to_sign(setting):
    setting.log.append(b"two")
    setting.publish()
    go_back(setting)
    for server in setting.servers:
        server.show = lambda _path: Answer(404, {"Content-Length": "0"}, b"")
    seen = looked(setting)
    assert {(item.size, item.note, item.other) for item in seen.values()} == {(2, b"", False)}
    setting.log.append(b"another")
    assert {(item.size, item.other) for item in looked(setting).values()} == {(2, True)}


def test_a_witness_that_is_as_far_as_the_log_says_so(setting):
    assert {(item.size, item.other) for item in looked(setting).values()} == {(1, False)}


def test_a_witness_that_does_not_answer_is_left_out(setting):
    setting.unavailable(1)
    setting.servers[1].show = lambda _path: Answer(503, {"Content-Length": "0"}, b"")
    assert set(looked(setting)) == {"w0", "w2"}


def test_a_publisher_stops_when_a_witness_shows_more_than_its_log_has(setting):
    setting.log.append(b"two", b"three")
    setting.publish()
    go_back(setting)
    setting.log.append(b"another")
    with pytest.raises(TrustError) as stopped:
        setting.publish()
    assert stopped.value.code == "log_behind_its_checkpoint"


def test_a_witness_that_cannot_prove_what_it_says_does_not_stop_a_running_log(setting):
    for server in setting.servers:
        server.handle = lambda _body: Answer(
            409, {"Content-Type": "text/x.tlog.size", "Content-Length": "3"}, print_size(99)
        )
        server.show = lambda _path: Answer(200, {"Content-Length": "4"}, b"what")
    setting.log.append(b"two")
    setting.publish()
    assert setting.published_size() == 2


def test_a_frozen_log_may_stay_behind_what_witnesses_have_seen(setting):
    setting.log.append(b"two", b"three")
    setting.publish()
    go_back(setting)
    with setting.log.store.transaction() as transaction:
        transaction.freeze(setting.log.store.head().checkpoint)
    setting.publish()
    assert setting.published_size() == 1


def own_log(folder):
    layout = Layout(folder)
    instance = InstanceFile(version=VERSION, base_url="http://localhost:8", host="localhost", port=8)
    create_instance(layout, instance, now=datetime.now(UTC))
    install(layout)
    return open_tlog(layout, instance)[0]


class Ahead:
    """Witnesses that have seen another entry than the log has."""

    def look(self, _note, _stated):
        return {"w": Sighting(witness="w", size=2, note=b"", other=False)}


@pytest.mark.parametrize("frozen", [False, True])
def test_a_log_may_stand_before_what_it_has_published_only_where_it_was_ended(tmp_path, frozen):
    log = own_log(tmp_path)
    log.objects().put("tile/entries/000.p/2", b"of a larger tree")
    if frozen:
        with contextlib.closing(log.store()) as store:
            end_log(store)
    expected = contextlib.nullcontext() if frozen else pytest.raises(TrustError, match="older copy")
    with expected:
        check_published_within(log)


def test_witnesses_are_asked_at_a_start_unless_the_log_signs_nothing_more(tmp_path):
    log = own_log(tmp_path)
    publisher, store = log.publisher()
    with contextlib.closing(store):
        check_witnesses_saw(None, log, publisher)
        with pytest.raises(TrustError, match="the witness w says"):
            check_witnesses_saw(Ahead(), log, publisher)
        with store.transaction() as transaction:
            transaction.freeze(store.head().checkpoint)
        check_witnesses_saw(Ahead(), log, publisher)


@pytest.mark.parametrize("note", [b"", b"what", b"log.example\n2\nAAAA\n"])
@pytest.mark.parametrize(("size", "other", "refused"), [(1, False, False), (2, False, True), (1, True, True)])
def test_a_witness_that_shows_no_note_of_the_log_is_believed_where_it_has_seen_more_or_another_tree(
    tmp_path, size, other, refused, note
):
    log = own_log(tmp_path)
    publisher, store = log.publisher()
    expected = pytest.raises(TrustError, match="the witness w says") if refused else contextlib.nullcontext()
    with contextlib.closing(store), expected as stopped:
        check_sighting(Sighting(witness="w", size=size, note=note, other=other), log, publisher)
    if stopped is not None:
        assert stopped.value.code == "log_behind_its_checkpoint"


def post(running: RunningInstance) -> int:
    with urllib3.PoolManager(retries=False) as pool:
        return pool.request("POST", f"{running.base_url}/api/v2/log/entries", body=entry_request()).status


def test_an_older_copy_that_looks_like_the_original_is_stopped_by_its_witness(tmp_path):
    data, policy = tmp_path / "data", tmp_path / "policy"
    running = RunningInstance(data, tmp_path)
    log = running.run("log", "vkeys", "--data", str(data)).stdout.split()[0]
    witness = RunningWitness(tmp_path / "w", tmp_path, log, name="w.example")
    policy.write_text(f"witness w {witness.vkeys[0]} {witness.url}\nquorum w\n")
    assert running.stop() == 0
    running = RunningInstance(data, tmp_path, "--witness-policy", str(policy), listen=None)
    assert post(running) == 201
    assert running.stop() == 0
    shutil.copytree(data, tmp_path / "backup")
    running = RunningInstance(data, tmp_path, listen=None)
    assert [post(running) for _ in range(3)] == [201] * 3
    assert running.stop() == 0
    shutil.rmtree(data)
    shutil.copytree(tmp_path / "backup", data)
    (data / "place.json").unlink()  # as in a snapshot of a whole machine, nothing inside tells

    done = running.run("up", "--data", str(data), "--json", check=False)
    assert done.returncode == 5
    assert json.loads(done.stdout)["error"]["code"] == "log_behind_its_checkpoint"
    certain = ("log", "restore", "--data", str(data), "--nothing-newer-exists", "--json")
    done = running.run(*certain, check=False)
    assert json.loads(done.stdout)["error"]["code"] == "log_behind_its_checkpoint"

    (data / "restoring").unlink()
    witness.end()
    running = RunningInstance(data, tmp_path, listen=None)  # its witness is not there to tell
    witness = RunningWitness(tmp_path / "w", tmp_path, log, listen=witness.url.removeprefix("http://"))
    with contextlib.suppress(urllib3.exceptions.HTTPError):  # it ends before it answers
        assert post(running) == 503
    wait_until(lambda: running.process.poll() is not None, 60)
    running.process.stdout.close()
    assert "this is an older copy" in (tmp_path / "up.log").read_text()

    done = running.run("log", "restore", "--data", str(data), "--replace-logs", "--json", check=False)
    vkey = json.loads(done.stdout)["error"]["hint"].split("--log ")[1].split()[0]
    witness.end()
    witness = RunningWitness(tmp_path / "w", tmp_path, log, vkey, listen=witness.url.removeprefix("http://"))
    running.run("log", "restore", "--data", str(data), "--replace-logs")
    running = RunningInstance(data, tmp_path, listen=None)
    note = running.run("log", "fsck", "--data", str(data), "--json").stdout
    assert {name: log["size"] for name, log in json.loads(note)["logs"].items()} == {
        "tlog": 3,
        "shards/2": 1,
        "ctlog": 0,
    }
    shown = (data / "shards" / "2" / "public" / "checkpoint").read_bytes()
    assert len(parse_note(shown).signatures) == 2
    assert running.stop() == 0
    witness.end()
