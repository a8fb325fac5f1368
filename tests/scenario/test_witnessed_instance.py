"""An instance with three witnesses in processes of their own: signing, demanding, killing, restarting."""

import json
import subprocess
import threading
import urllib.error
import urllib.request

import pytest
from tests.support.instance import HALLMARK, RunningInstance, isolated_environment
from tests.support.load import entry_request
from tests.support.witness_server import RunningWitness, wait_until

from hallmark.core.note import parse_note
from hallmark.core.vkey import ED25519_COSIGNATURE, parse_vkey

PATIENCE = 3.0  # seconds that a caller waits


def get(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return answer.read()


class Witnessed:
    """An instance whose log needs two of three witnesses."""

    def __init__(self, folder) -> None:
        self.folder = folder
        self.home = folder / "home"
        self.home.mkdir()
        self.instance = RunningInstance(folder / "instance", self.home)
        described = json.loads(get(f"{self.instance.base_url}/.well-known/hallmark.json"))
        self.log = described["vkeys"]["tlog"]
        self.witnesses = [
            RunningWitness(folder / f"w{n}", self.home, self.log, name=f"w.example/{n}") for n in range(3)
        ]
        self.config = folder / "hallmark.toml"
        self.config.write_text(f"[tlog]\nappend_timeout = {PATIENCE}\n")
        self.logs = [self.log]
        self.policy = folder / "policy"
        self.policy.write_text("\n".join([*self._lines(), "group g 2 w0 w1 w2", "quorum g", ""]))
        self.named = folder / "named"
        self.named.write_text(f"log {self.log}\n{self.policy.read_text()}")
        assert self.instance.stop() == 0
        self.restart("--witness-policy", str(self.named))

    def _lines(self) -> list[str]:
        keys = [
            next(key for key in item.vkeys if parse_vkey(key).signature_type == ED25519_COSIGNATURE)
            for item in self.witnesses
        ]
        return [f"witness w{n} {key} {self.witnesses[n].url}" for n, key in enumerate(keys)]

    def restart(self, *options: str) -> None:
        settings = ("--config", str(self.config))
        self.instance = RunningInstance(self.folder / "instance", self.home, *settings, *options, listen=None)

    def sign(self, name: str, *options: str, check: bool = True):
        artifact = self.folder / name
        artifact.write_text(name)
        arguments = [
            "--instance",
            self.instance.base_url,
            "--identity-token",
            self.instance.token(),
            "--json",
        ]
        return self.instance.run("sign", *arguments, *options, str(artifact), check=check)

    def verify(self, name: str, *options: str, check: bool = True):
        who = ["--identity", "alice@example.com", "--issuer", f"{self.instance.base_url}/oidc", "--json"]
        trust = ["--trusted-root", str(self.instance.client / "trusted_root.json")]
        return self.instance.run("verify", str(self.folder / name), *who, *trust, *options, check=check)

    def signers(self) -> list[str]:
        return [line.name for line in parse_note(get(f"{self.instance.base_url}/checkpoint")).signatures[1:]]

    def size(self) -> int:
        return int(get(f"{self.instance.base_url}/checkpoint").split(b"\n")[1])

    def revive(self, number: int) -> None:
        old = self.witnesses[number]
        self.witnesses[number] = RunningWitness(
            old.root, self.home, *self.logs, listen=old.url.removeprefix("http://")
        )
        assert self.witnesses[number].vkeys == old.vkeys


@pytest.fixture(scope="module")
def witnessed(tmp_path_factory):
    running = Witnessed(tmp_path_factory.mktemp("witnessed"))
    yield running
    assert running.instance.stop() == 0
    for witness in running.witnesses:
        assert witness.end() == 0
    for log in ("up.log", "witness.log"):
        assert "Traceback" not in (running.home / log).read_text()


def test_the_checkpoint_carries_the_witnesses(witnessed):
    wait_until(lambda: witnessed.signers() == ["w.example/0", "w.example/1", "w.example/2"])


def post(witnessed) -> tuple[int, dict, dict]:
    """Submit an entry as a client does that knows nothing of witnesses."""
    request = urllib.request.Request(f"{witnessed.instance.base_url}/api/v2/log/entries", entry_request())
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, json.loads(answer.read()), dict(answer.headers)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read()), dict(error.headers)


def test_a_client_that_knows_nothing_of_witnesses_gets_their_cosignatures(witnessed):
    status, entry, _ = post(witnessed)
    assert status == 201
    note = entry["inclusionProof"]["checkpoint"]["envelope"]
    assert len(parse_note(note.encode()).signatures) >= 3


def test_what_is_signed_is_witnessed_as_verifying_demands(witnessed):
    demand = ("--require-witnesses", str(witnessed.policy))
    witnessed.sign("patient")
    found = json.loads(witnessed.verify("patient", *demand).stdout)
    assert len(found["results"][0]["logEntries"][0]["witnesses"]) >= 2
    witnessed.verify("patient")


def test_one_witness_may_be_killed_two_hold_answers_back_and_they_say_why(witnessed):
    demand = ("--require-witnesses", str(witnessed.policy))
    witnessed.witnesses[0].end(kill=True)
    witnessed.sign("with two")
    witnessed.verify("with two", *demand)
    witnessed.witnesses[1].end(kill=True)
    held = witnessed.size()
    status, problem, headers = post(witnessed)
    assert (status, headers["retry-after"]) == (503, "5")
    assert problem["details"][0]["reason"] == "WITNESSES_MISSING"
    assert witnessed.size() == held
    assert "is NOT published" in (witnessed.home / "up.log").read_text()
    done = witnessed.sign("with one", check=False)
    assert done.returncode == 6
    told = json.loads(done.stdout)["error"]
    assert "no quorum of witnesses has signed a checkpoint that covers it yet" in told["message"]
    assert told["hint"]
    for number in (0, 1):
        witnessed.revive(number)
    wait_until(lambda: witnessed.size() == held + 2)
    assert len(witnessed.signers()) >= 2
    witnessed.sign("with all again")
    witnessed.verify("with all again", *demand)


def test_an_instance_ends_in_order_while_callers_wait_for_witnesses(witnessed):
    for number in (0, 1):
        witnessed.witnesses[number].end(kill=True)
    answers = []
    callers = [threading.Thread(target=lambda: answers.append(post(witnessed)[0])) for _ in range(8)]
    size = int(metric(witnessed, 'hallmark_log_size{log="tlog"}'))
    for caller in callers:
        caller.start()
    wait_until(lambda: int(metric(witnessed, 'hallmark_log_size{log="tlog"}')) == size + 8)
    assert witnessed.instance.stop() == 0
    for caller in callers:
        caller.join()
    assert answers == [503] * 8
    witnessed.restart()
    for number in (0, 1):
        witnessed.revive(number)
    wait_until(lambda: witnessed.size() == size + 8)


def metric(witnessed, name: str) -> float:
    text = get(f"{witnessed.instance.base_url}/metrics").decode()
    return next(float(line.rpartition(" ")[2]) for line in text.splitlines() if line.startswith(name))


def test_a_rotation_waits_until_the_witnesses_know_the_new_shard(witnessed):
    """Else no call to the new shard would be answered."""
    arguments = ("log", "rotate", "--data", str(witnessed.instance.root), "--json")
    done = witnessed.instance.run(*arguments, check=False)
    assert done.returncode == 2
    error = json.loads(done.stdout)["error"]
    assert error["code"] == "no_witness_quorum"
    witnessed.sign("before")
    vkey = error["hint"].split("--log ")[1].split()[0]
    witnessed.logs.append(vkey)
    for number in range(3):
        witnessed.witnesses[number].end()
        witnessed.revive(number)
    rotated = json.loads(witnessed.instance.run(*arguments).stdout)
    assert rotated["shard"] == 2
    witnessed.sign("after")
    bundle = json.loads((witnessed.folder / "after.sigstore.json").read_text())
    (entry,) = bundle["verificationMaterial"]["tlogEntries"]
    note = entry["inclusionProof"]["checkpoint"]["envelope"]
    assert note.startswith("2.127.0.0.1\n")
    assert len(parse_note(note.encode()).signatures) >= 3
    witnessed.verify("after", "--require-witnesses", str(witnessed.policy))


def test_the_keys_of_all_shards_are_told_and_any_of_them_names_the_log_in_a_policy(witnessed):
    described = json.loads(get(f"{witnessed.instance.base_url}/.well-known/hallmark.json"))
    shards = described["shards"]
    assert [shard["origin"] for shard in shards] == ["127.0.0.1", "2.127.0.0.1"]
    assert [shard["url"] for shard in shards] == [
        witnessed.instance.base_url,
        f"{witnessed.instance.base_url}/shards/2",
    ]
    assert (shards[0]["vkey"], shards[1]["vkey"]) == (witnessed.log, described["vkeys"]["tlog"])
    done = witnessed.instance.run("log", "vkeys", "--data", str(witnessed.instance.root))
    lines = [line.split() for line in done.stdout.splitlines()]
    assert lines == [
        [shards[0]["vkey"], "tlog"],
        [shards[1]["vkey"], "shards/2"],
        [described["vkeys"]["ctlog"], "ctlog"],
    ]
    newest = witnessed.folder / "newest"
    newest.write_text(f"log {shards[1]['vkey']}\n{witnessed.policy.read_text()}")
    assert witnessed.instance.stop() == 0
    witnessed.restart("--witness-policy", str(newest))
    witnessed.sign("under the policy of the newest shard")


def test_a_restart_keeps_the_policy_and_its_mode_which_may_be_changed(witnessed):
    assert witnessed.instance.stop() == 0
    for witness in witnessed.witnesses:
        witness.end()
    witnessed.restart()
    held = witnessed.size()
    assert post(witnessed)[0] == 503
    assert witnessed.size() == held
    assert witnessed.instance.stop() == 0
    witnessed.restart("--witness-mode", "fail-open")
    assert witnessed.size() == held + 1
    assert witnessed.signers() == []
    witnessed.sign("hasty")
    witnessed.verify("hasty")
    done = witnessed.verify("hasty", "--require-witnesses", str(witnessed.policy), check=False)
    assert done.returncode == 1
    assert json.loads(done.stdout)["error"]["code"] == "not_witnessed"
    demand = ("--require-witnesses", str(witnessed.policy))
    done = witnessed.sign("impatient", "--wait-for-witnesses", "1", *demand, check=False)
    assert done.returncode == 7, done.stderr
    assert json.loads(done.stdout)["error"]["code"] == "not_witnessed"
    for number in range(3):
        witnessed.revive(number)
    wait_until(lambda: len(witnessed.signers()) >= 2)
    witnessed.sign("patient again", "--wait-for-witnesses", "30", *demand)
    witnessed.verify("patient again", *demand)


def test_the_ct_log_is_witnessed_where_the_policy_names_its_key(witnessed):
    described = json.loads(get(f"{witnessed.instance.base_url}/.well-known/hallmark.json"))
    ctlog = described["vkeys"]["ctlog"]
    url = f"{witnessed.instance.base_url}/ctlog/checkpoint"
    assert len(parse_note(get(url)).signatures) == 1
    witnessed.logs.append(ctlog)
    for number in range(3):
        witnessed.witnesses[number].end()
        witnessed.revive(number)
    witnessed.named.write_text(f"log {ctlog}\n{witnessed.named.read_text()}")
    assert witnessed.instance.stop() == 0
    witnessed.restart("--witness-policy", str(witnessed.named), "--witness-mode", "strict")
    wait_until(lambda: len(parse_note(get(url)).signatures) >= 3)
    before = int(get(url).split(b"\n")[1])
    witnessed.sign("one more certificate")
    wait_until(lambda: int(get(url).split(b"\n")[1]) == before + 1)
    assert len(parse_note(get(url)).signatures) >= 3


def refused(home, *arguments: str) -> dict:
    done = subprocess.run(
        [*HALLMARK, *arguments, "--json"],
        env=isolated_environment(home),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2, (done.stdout, done.stderr)
    return json.loads(done.stdout)["error"]


def test_refuses_what_cannot_be_meant(witnessed, tmp_path):
    other = tmp_path / "policy"
    other.write_text(witnessed.policy.read_text().replace("group g 2", "group g 4"))
    error = refused(
        tmp_path,
        "up",
        "--data",
        str(tmp_path / "i"),
        "--listen",
        "127.0.0.1:0",
        "--witness-policy",
        str(other),
    )
    assert error["code"] == "malformed_witness_policy"
    same = ("up", "--data", str(tmp_path / "i"), "--witness-policy", str(witnessed.named))
    assert refused(tmp_path, *same)["code"] == "log_not_in_policy"
    assert (
        refused(tmp_path, "up", "--data", str(tmp_path / "i"), "--witness-mode", "strict")["code"] == "usage"
    )
    root = ("witness", "--data", str(witnessed.witnesses[0].root), "--listen", "127.0.0.1:0")
    assert refused(tmp_path, *root, "--log", witnessed.log)["code"] == "instance_running"
    assert (
        refused(tmp_path, "witness", "--data", str(tmp_path / "w"), "--log", "x")["code"] == "malformed_vkey"
    )


def test_a_witness_keeps_its_name_and_refuses_to_go_on_without_its_memory(witnessed, tmp_path):
    arguments = ("witness", "--data", str(tmp_path / "w"), "--log", witnessed.log, "--listen", "127.0.0.1:0")
    RunningWitness(tmp_path / "w", tmp_path, witnessed.log, name="first").end()
    assert refused(tmp_path, *arguments, "--name", "second")["code"] == "name_is_fixed"
    (tmp_path / "w" / "heads.db").unlink()
    assert refused(tmp_path, *arguments)["code"] == "damaged_state"


def test_a_witness_serves_health_and_its_newest_checkpoints(witnessed):
    witness = witnessed.witnesses[2]
    assert json.loads(get(f"{witness.url}/healthz")) == {"status": "SERVING"}
    with pytest.raises(urllib.error.HTTPError) as missing:
        get(f"{witness.url}/{'0' * 64}/checkpoint")
    assert missing.value.code == 404
    missing.value.close()
