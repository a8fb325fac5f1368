"""The commands of `hallmark log` on a real instance: beside it while it runs, and on its mirrors."""

import contextlib
import json
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import urllib3
from tests.support.instance import RunningInstance
from tests.support.load import Load, entry_request
from tests.support.small_disk import SmallDisk

EMAIL = "alice@example.com"


@pytest.fixture(scope="module")
def instance(tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    running = RunningInstance(tmp_path_factory.mktemp("data") / "instance", home)
    (home / "token").write_text(running.token(EMAIL))
    sign(running, "first")
    submit(running, 280)
    yield running
    assert running.stop() == 0
    assert "Traceback" not in (home / "up.log").read_text()


def sign(running: RunningInstance, name: str) -> None:
    artifact = running.home / name
    artifact.write_text(name)
    url, token = running.base_url, str(running.home / "token")
    running.run("sign", "--instance", url, "--identity-token", token, str(artifact))


def submit(running: RunningInstance, count: int) -> None:
    pool = urllib3.PoolManager()
    for _ in range(count):
        answer = pool.request("POST", f"{running.base_url}/api/v2/log/entries", body=entry_request())
        assert answer.status == 201
    pool.clear()


def told(running: RunningInstance, *arguments: str, code: int = 0) -> dict:
    done = running.run("log", *arguments, "--json", check=False)
    assert done.returncode == code, done.stdout + done.stderr
    assert done.stderr == ""
    return json.loads(done.stdout)


def mirror(running: RunningInstance, log: str, target: Path, *options: str, code: int = 0) -> dict:
    url = running.base_url + ("/ctlog" if log == "ctlog" else "")
    trusted = options or ("--trusted-root", str(running.client / "trusted_root.json"))
    return told(running, "mirror", url, str(target), *trusted, code=code)


def test_fsck_examines_a_running_instance(instance):
    found = told(instance, "fsck", "--data", str(instance.root))["logs"]
    assert set(found) == {"tlog", "ctlog"}
    assert [report["count"] for report in found.values()] == [0, 0]
    assert (found["tlog"]["size"], found["ctlog"]["size"]) == (282, 1)


def test_fsck_and_mirror_are_not_misled_by_entries_that_come_meanwhile(instance, tmp_path):
    load = Load(instance.base_url, threads=2)
    try:
        for _ in range(3):
            found = told(instance, "fsck", "--data", str(instance.root), "--log", "tlog")["logs"]["tlog"]
            assert found["findings"] == []
            mirror(instance, "tlog", tmp_path / "m")
    finally:
        assert len(load.stop()) > 0
    found = told(instance, "fsck", str(tmp_path / "m"))["logs"][str(tmp_path / "m")]
    assert found["findings"] == []


@pytest.mark.parametrize("log", ["tlog", "ctlog"])
def test_a_log_is_mirrored_over_http_and_grows_with_it(instance, log, tmp_path):
    target = tmp_path / "mirror"
    first = mirror(instance, log, target)
    assert (first["oldSize"], first["size"] > 0) == (0, True)
    assert told(instance, "fsck", str(target))["logs"][str(target)]["count"] == 0
    sign(instance, f"later-{log}")
    second = told(instance, "mirror", instance.base_url + ("/ctlog" if log == "ctlog" else ""), str(target))
    assert (second["oldSize"], second["size"]) == (first["size"], first["size"] + 1)
    found = told(instance, "fsck", str(target))["logs"][str(target)]
    assert (found["origin"], found["size"], found["count"]) == (second["origin"], second["size"], 0)


def test_a_mirror_can_be_mirrored(instance, tmp_path):
    mirror(instance, "ctlog", tmp_path / "one")
    trusted = str(instance.client / "trusted_root.json")
    told(instance, "mirror", str(tmp_path / "one"), str(tmp_path / "two"), "--trusted-root", trusted)
    files = {path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*") if path.is_file()}
    assert {path.parts[0] for path in files} == {"checkpoint", "tile", "issuer", "mirror.json"}
    for path in files:
        assert (tmp_path / "two" / path).read_bytes() == (tmp_path / "one" / path).read_bytes()


def test_a_damaged_issuer_of_a_mirror_is_found(instance, tmp_path):
    mirror(instance, "ctlog", tmp_path / "ct")
    issuer = min((tmp_path / "ct" / "issuer").iterdir())
    issuer.write_bytes(issuer.read_bytes()[:-1] + b"!")
    found = told(instance, "fsck", str(tmp_path / "ct"), code=1)
    finding = found["logs"][str(tmp_path / "ct")]["findings"][0]
    assert (finding["code"], finding["where"]) == ("entry_invalid", "entry 0")
    assert issuer.name in finding["what"]
    issuer.unlink()
    assert told(instance, "fsck", str(tmp_path / "ct"), code=1)["error"]["code"] == "damaged_log"


def test_damage_of_a_mirror_is_told_to_people_too(instance, tmp_path):
    mirror(instance, "tlog", tmp_path / "m")
    (tmp_path / "m" / "tile" / "0" / "000").unlink()
    done = instance.run("log", "fsck", str(tmp_path / "m"), check=False)
    assert done.returncode == 1
    assert "tile/0/000: the tile is missing" in done.stdout
    assert "error:" in done.stderr
    assert "hint:" in done.stderr


REFUSALS = [
    (["--origin", "other.example"], "unknown_log_key", 5),
    (["--log-key", "{home}/missing.pem"], "file_not_found", 2),
]


@pytest.mark.parametrize(("options", "error", "code"), REFUSALS)
def test_a_log_of_another_name_or_key_is_refused(instance, options, error, code, tmp_path):
    trusted = ["--trusted-root", str(instance.client / "trusted_root.json")]
    given = [option.format(home=instance.home) for option in options]
    found = mirror(instance, "tlog", tmp_path / "m", *given, *trusted, code=code)
    assert found["error"]["code"] == error
    assert not (tmp_path / "m").exists()


def test_nothing_is_mirrored_without_a_key(instance, tmp_path):
    url = instance.base_url
    assert told(instance, "mirror", url, str(tmp_path / "m"), code=2)["error"]["code"] == "no_log_key"


def test_a_mirror_stays_with_its_log(instance, tmp_path):
    mirror(instance, "tlog", tmp_path / "m")
    assert mirror(instance, "ctlog", tmp_path / "m", code=5)["error"]["code"] in {
        "other_log",
        "unknown_log_key",
    }


def test_a_folder_with_other_things_in_it_is_refused(instance, tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    assert mirror(instance, "tlog", tmp_path, code=2)["error"]["code"] == "not_a_mirror"


def test_an_address_without_a_log_is_refused(instance, tmp_path):
    trusted = str(instance.client / "trusted_root.json")
    url = instance.base_url + "/nothing"
    found = told(instance, "mirror", url, str(tmp_path / "m"), "--trusted-root", trusted, code=6)
    assert found["error"]["code"] == "not_a_log"


def test_the_signature_log_is_exported_with_its_signers(instance, tmp_path):
    output = tmp_path / "entries.parquet"
    found = told(instance, "export", str(instance.root), "--output", str(output))
    table = pq.read_table(output)
    assert table.num_rows == found["size"]
    rows = table.to_pylist()
    assert [row["index"] for row in rows] == list(range(len(rows)))
    (signed,) = [row for row in rows[:2] if row["verifier"] == "certificate"]
    assert (signed["kind"], signed["version"], signed["identity"]) == ("hashedrekord", "0.0.2", EMAIL)
    assert signed["oidc_issuer"] == f"{instance.base_url}/oidc"
    assert signed["not_before"] <= signed["time"] <= signed["not_after"]
    assert {row["verifier"] for row in rows} == {"certificate", "public_key"}
    assert table.schema.metadata[b"size"] == str(found["size"]).encode()


def test_a_mirror_of_the_ct_log_is_exported(instance, tmp_path):
    mirror(instance, "ctlog", tmp_path / "ct")
    output = tmp_path / "ct.parquet"
    told(instance, "export", str(tmp_path / "ct"), "--output", str(output))
    first = pq.read_table(output).to_pylist()[0]
    assert (first["kind"], first["identity"]) == ("precertificate", EMAIL)


def test_a_damaged_log_is_not_exported(instance, tmp_path):
    mirror(instance, "tlog", tmp_path / "m")
    (tmp_path / "m" / "tile" / "0" / "000").unlink()
    output = tmp_path / "out" / "entries.parquet"
    output.parent.mkdir()
    found = told(instance, "export", str(tmp_path / "m"), "--output", str(output), code=1)
    assert found["error"]["code"] == "damaged_log"
    assert list(output.parent.iterdir()) == []


def test_an_existing_file_is_not_replaced_by_chance(instance, tmp_path):
    output = tmp_path / "entries.parquet"
    output.write_text("mine")
    found = told(instance, "export", str(instance.root), "--output", str(output), code=2)
    assert found["error"]["code"] == "file_exists"
    assert output.read_text() == "mine"


def test_a_table_that_cannot_be_written_names_its_file_and_the_reason(instance, tmp_path):
    output = tmp_path / "out" / "entries.parquet"
    output.parent.mkdir()
    program = (
        "import resource, signal, sys\nfrom hallmark.cli.main import main\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (64, 64))\n"
        f"sys.exit(main(['log', 'export', {str(instance.root)!r}, '--output', {str(output)!r}]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, env=instance.environment
    )
    assert done.returncode == 2, done.stderr
    assert f"cannot write {output}: file too large" in done.stderr
    assert list(output.parent.iterdir()) == []


def test_a_table_on_a_full_disk_says_that_it_is_full(instance, tmp_path):
    small = SmallDisk(tmp_path, 4)
    try:
        with contextlib.suppress(OSError), (small.path / "filler").open("wb", buffering=0) as filler:
            while filler.write(bytes(1024)):
                pass
        output = small.path / "entries.parquet"
        error = told(instance, "export", str(instance.root), "--output", str(output), code=2)["error"]
        assert error["code"] == "disk_full"
        assert error["message"] == f"cannot write {output}: the disk of {small.path} is full"
        assert not list(small.path.glob("*entries*"))
    finally:
        small.unmount()


def test_a_context_or_nothing_in_place_of_a_folder_says_what_is_meant(instance, tmp_path):
    options = ("--output", str(tmp_path / "x"))
    error = told(instance, "export", "work", *options, code=2)["error"]
    assert error["code"] == "not_a_log"
    assert "hallmark log mirror CONTEXT DEST" in error["hint"]
    error = told(instance, "mirror", "nosuch", str(tmp_path / "m"), code=2)["error"]
    assert error["message"] == "nosuch is neither a folder nor the name of a context"
    assert "hallmark context list" in error["hint"]


def test_export_without_its_library_says_which_extra_to_install(instance, tmp_path):
    program = (
        "import sys; sys.modules['pyarrow'] = None\n"
        "from hallmark.cli.main import main\n"
        f"sys.exit(main(['log', 'export', {str(instance.root)!r}, '--output', {str(tmp_path / 'x')!r}]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, env=instance.environment
    )
    assert done.returncode == 2
    assert "hallmark-sigstore[export]" in done.stderr


def test_fsck_names_a_mirror_or_an_instance(instance):
    assert told(instance, "fsck", code=2)["error"]["code"] == "usage"
    found = told(instance, "fsck", "--data", str(instance.root), "--log", "nolog", code=2)
    assert found["error"]["code"] == "unknown_log"
