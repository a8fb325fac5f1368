"""`hallmark sign` as people use it: outputs are tried first, what is done is told, and a run goes on."""

import json
import os
import signal
import subprocess
import sys

import msgspec
import pytest
from tests.support.instance import HALLMARK
from tests.support.loopback import LoopbackServer, Reply, in_turn
from tests.support.machine import Machine

from hallmark.client.http import HttpClient
from hallmark.client.identity_token import parse_identity_token
from hallmark.client.outputs import RESERVED_BYTES, Outputs
from hallmark.client.signing import Signer
from hallmark.core.signing_config import ClientTrustConfig, parse_client_trust_config
from hallmark.errors import ConfigurationError, RemoteError

EMAIL = "alice@example.com"
TIMESTAMP = {"Content-Type": "application/timestamp-query"}


@pytest.fixture(scope="module")
def trust(instance) -> ClientTrustConfig:
    return parse_client_trust_config((instance.client / "client_trust_config.json").read_bytes())


@pytest.fixture
def machine(instance, tmp_path):
    found = Machine(instance, tmp_path, EMAIL)
    found.environment |= {
        "SIGSTORE_ID_TOKEN": instance.token(EMAIL),
    }
    found.pin()
    return found


def log_size(instance) -> int:
    answer = HttpClient().get(f"{instance.base_url}/checkpoint", service="the log")
    return int(answer.body.splitlines()[1])


@pytest.fixture
def unlogged(instance):
    """Nothing that the test does makes a log entry; one signature at the end would show the next index."""
    size = log_size(instance)
    yield
    assert log_size(instance) == size


def made_files(folder, count: int):
    files = [folder / f"f{number}" for number in range(count)]
    for file in files:
        file.write_text(file.name)
    return files


class TestOutputs:
    @pytest.mark.usefixtures("unlogged")
    def test_a_bundle_name_too_long_is_found_before_the_log_has_an_entry(self, machine, tmp_path):
        for size in (255, 256 - len(".sigstore.json")):
            long = tmp_path / ("x" * size)
            long.write_text("x")
            done = machine.run("sign", str(long), exit_code=2)
            assert "name too long" in done.stderr

    def test_a_name_is_as_long_as_its_bytes(self, machine, tmp_path):
        longest = tmp_path / ("x" * (255 - len(".sigstore.json")))
        wide = tmp_path / ("\u732b" * 77)
        for file in (longest, wide):
            file.write_text("x")
            machine.run("sign", str(file))
            machine.run("verify", str(file), *machine.who())

    @pytest.mark.usefixtures("unlogged")
    @pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
    def test_a_folder_that_cannot_be_written_is_found_before_the_log_has_an_entry(self, machine, tmp_path):
        folder = tmp_path / "closed"
        folder.mkdir()
        (folder / "f").write_text("x")
        folder.chmod(0o500)
        assert "permission denied" in machine.run("sign", str(folder / "f"), exit_code=2).stderr

    @pytest.mark.usefixtures("unlogged")
    def test_a_disk_that_is_full_is_found_before_the_log_has_an_entry(self, machine, tmp_path):
        (file,) = made_files(tmp_path, 1)
        program = (
            "import resource, signal, sys\nfrom hallmark.cli.main import main\n"
            "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
            f"resource.setrlimit(resource.RLIMIT_FSIZE, ({RESERVED_BYTES - 1},) * 2)\n"
            "sys.exit(main(sys.argv[1:]))"
        )
        done = subprocess.run(
            [sys.executable, "-c", program, "sign", str(file)],
            env=machine.environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 2, done.stderr
        assert "cannot write" in done.stderr
        assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []

    @pytest.mark.usefixtures("unlogged")
    @pytest.mark.parametrize("options", [[], ["--overwrite"], ["--skip-signed"]])
    def test_a_folder_or_a_pipe_is_refused_whatever_the_options(self, machine, tmp_path, options):
        (file,) = made_files(tmp_path, 1)
        os.mkfifo(tmp_path / "pipe")
        (tmp_path / "folder").mkdir()
        for name in ("pipe", "folder"):
            place = str(tmp_path / name)
            done = machine.run("sign", str(file), "--bundle", place, *options, exit_code=2)
            assert f"{place} is not a bundle, so it is not replaced" in done.stderr
            assert "--overwrite" not in done.stderr

    @pytest.mark.usefixtures("unlogged")
    def test_a_file_that_is_no_bundle_is_not_offered_to_be_replaced(self, machine, tmp_path):
        file, notes = made_files(tmp_path, 2)
        words = ["sign", str(file), "--bundle", str(notes)]
        done = machine.run(*words, exit_code=2)
        assert "is not a bundle, so it is not replaced" in done.stderr
        assert "hint: move " in machine.run(*words, "--skip-signed", exit_code=2).stderr

    def test_the_place_for_a_bundle_is_cleared_when_nothing_comes_of_it(self, tmp_path):
        path, outputs = tmp_path / "f.sigstore.json", Outputs()
        with outputs.reserve(path, overwrite=False) as place:
            (temporary,) = tmp_path.iterdir()
            assert temporary.stat().st_size == RESERVED_BYTES
            place.write(b"{}")
        assert path.read_bytes() == b"{}"
        with pytest.raises(ConfigurationError), outputs.reserve(path, overwrite=False):
            pass
        with pytest.raises(ZeroDivisionError), outputs.reserve(path, overwrite=True):
            raise ZeroDivisionError
        with outputs.reserve(path, overwrite=True):
            outputs.discard()
        assert list(tmp_path.iterdir()) == [path]


def a_signer(trust: ClientTrustConfig, instance) -> Signer:
    return Signer(trust, lambda: parse_identity_token(instance.token(EMAIL)), HttpClient())


class TestEvidence:
    @pytest.mark.usefixtures("unlogged")
    def test_without_a_timestamp_nothing_is_logged(self, trust, instance):
        with LoopbackServer(in_turn(Reply(500, b"no"))) as broken:
            tsa = tuple(msgspec.structs.replace(x, url=broken.url) for x in trust.signing_config.tsa_urls)
            config = msgspec.structs.replace(trust.signing_config, tsa_urls=tsa)
            with (
                a_signer(ClientTrustConfig(trust.trusted_root, config), instance) as signer,
                pytest.raises(RemoteError),
            ):
                signer.sign_artifact(b"x")

    @pytest.mark.usefixtures("unlogged")
    @pytest.mark.parametrize("unknown", ["ctlogs", "certificate_authorities", "timestamp_authorities"])
    def test_what_does_not_verify_is_not_logged(self, trust, instance, unknown):
        root = msgspec.structs.replace(trust.trusted_root, **{unknown: ()})
        with (
            a_signer(ClientTrustConfig(root, trust.signing_config), instance) as signer,
            pytest.raises(RemoteError) as caught,
        ):
            signer.sign_artifact(b"x")
        assert caught.value.code == "unverifiable_answer"
        assert "log entry" not in caught.value.message

    def test_an_entry_that_was_made_is_named_in_the_error(self, trust, instance):
        root = msgspec.structs.replace(trust.trusted_root, tlogs=())
        size = log_size(instance)
        with (
            a_signer(ClientTrustConfig(root, trust.signing_config), instance) as signer,
            pytest.raises(RemoteError, match=rf"; log entry {size} of 127\.0\.0\.1\S* was made"),
        ):
            signer.sign_artifact(b"x")

    def test_an_entry_whose_bundle_is_lost_is_named_in_the_error(self, machine, instance, tmp_path):
        """Somebody removes the folder between the check and the end."""
        (file,) = made_files(tmp_path, 1)
        gone = tmp_path / "gone"
        gone.mkdir()
        program = (
            "import shutil, sys\nfrom hallmark.cli.main import main\n"
            "from hallmark.core import bundle\nwhole = bundle.Bundle.to_json\n"
            f"def cut(self):\n    shutil.rmtree({str(gone)!r})\n    return whole(self)\n"
            "bundle.Bundle.to_json = cut\nsys.exit(main(sys.argv[1:]))"
        )
        size = log_size(instance)
        done = subprocess.run(
            [sys.executable, "-c", program, "sign", str(file), "--bundle", str(gone / "b.json")],
            env=machine.environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 2
        assert f"log entry {size} of " in done.stderr


class TestStreams:
    def shell(self, machine, folder, script: str, exit_code: int = 0):
        program = f'hallmark() {{ {" ".join(HALLMARK)} "$@"; }}\n{script}'
        done = subprocess.run(
            ["bash", "-c", program],
            cwd=folder, env=machine.environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == exit_code, (script, done.stdout, done.stderr)
        return done

    def test_what_comes_from_a_pipe_is_signed_and_verified(self, machine, tmp_path):
        who = " ".join(machine.who())
        script = f"""set -e
            unset SIGSTORE_ID_TOKEN
            printf %s '{machine.environment["SIGSTORE_ID_TOKEN"]}' > token
            echo data > f
            hallmark sign <(echo data) --bundle one --identity-token <(cat token)
            echo data | hallmark sign - --bundle two --identity-token token
            cat token | hallmark sign f --bundle - --identity-token - > three
            hallmark sign f --bundle /dev/stdout --identity-token token | cat > four
            hallmark sign f --bundle >(cat > five) --identity-token token
            sleep 0.2
            for bundle in one two three four five; do
                echo data | hallmark verify - --bundle $bundle {who}
                hallmark verify f --bundle - {who} < $bundle
                hallmark verify <(echo data) --bundle <(cat $bundle) {who}
            done
            """
        done = self.shell(machine, tmp_path, script)
        assert done.stdout.count("verified") == 15
        assert done.stderr.count("signed f") == 2

    @pytest.mark.usefixtures("unlogged")
    def test_a_pipe_has_no_place_beside_it(self, machine, tmp_path):
        for script in ("echo | hallmark sign -", "hallmark sign <(echo)", "hallmark sign /dev/stdin <<< x"):
            assert "pass --bundle FILE, or --bundle -" in self.shell(machine, tmp_path, script, 2).stderr
        made_files(tmp_path, 1)
        assert "cannot both" in self.shell(machine, tmp_path, "hallmark sign f0 --bundle - --json", 2).stdout

    @pytest.mark.usefixtures("unlogged")
    @pytest.mark.parametrize("output", ["/dev/fd/77", "- >&-", "/dev/stdout >&-", "/dev/fd/0 < f0"])
    def test_a_closed_descriptor_is_no_place_for_a_bundle(self, machine, tmp_path, output):
        made_files(tmp_path, 1)
        done = self.shell(machine, tmp_path, f"hallmark sign f0 --bundle {output}", 2)
        assert "bad file descriptor" in done.stderr
        assert "hint: name a file with --bundle" in done.stderr

    def test_an_output_that_fills_up_is_named(self, machine, instance, tmp_path):
        made_files(tmp_path, 1)
        size = log_size(instance)
        done = self.shell(machine, tmp_path, "hallmark sign f0 --bundle - > /dev/full", 2)
        expected = f"cannot write standard output: no space left on device; log entry {size} of "
        assert expected in done.stderr

    def test_another_stream_than_the_signed_one_is_refused(self, machine, tmp_path):
        made_files(tmp_path, 1)
        machine.run("sign", str(tmp_path / "f0"))
        who = " ".join(machine.who())
        verify = f"hallmark verify - --bundle f0.sigstore.json {who}"
        self.shell(machine, tmp_path, f"printf f0 | {verify}")
        self.shell(machine, tmp_path, f"printf f1 | {verify}", 1)
        assert "one stream" in self.shell(machine, tmp_path, "hallmark verify - --bundle -", 2).stderr
        assert "pass --bundle" in self.shell(machine, tmp_path, "hallmark verify -", 2).stderr


class TestManyFiles:
    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
    def test_a_run_that_was_cut_goes_on(self, machine, tmp_path, number):
        files = made_files(tmp_path, 300)
        words = [*HALLMARK, "sign", *map(str, files)]
        process = subprocess.Popen(
            words, env=machine.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        first = process.stdout.readline()
        process.send_signal(number)
        rest, errors = process.communicate(timeout=60)
        assert process.returncode == 128 + number
        told = [line.split()[1] for line in (first + rest).splitlines()]
        assert 1 <= len(told) < 300
        assert f"interrupted: {len(told)} of 300 files are signed" in errors
        there = sorted(path.name for path in tmp_path.glob("*.sigstore.json"))
        assert there == sorted(f"{name.rpartition('/')[2]}.sigstore.json" for name in told)
        assert list(tmp_path.glob(".hallmark-*")) == []

        assert "exists already" in machine.run("sign", *map(str, files), exit_code=2).stderr
        done = machine.run("sign", "--skip-signed", *map(str, files))
        assert done.stdout.count("signed ") == 300
        assert done.stdout.count("skipped ") == len(told)
        machine.run("verify", *map(str, files), *machine.who())
        results = json.loads(machine.run("sign", "--skip-signed", "--json", *map(str, files)).stdout)
        assert all(item["skipped"] for item in results["results"])

    def test_a_bundle_that_does_not_hold_is_not_skipped(self, machine, tmp_path):
        files = made_files(tmp_path, 3)
        machine.run("sign", str(files[0]))
        files[0].write_text("changed")
        damaged = tmp_path / "f1.sigstore.json"
        damaged.write_text("{")
        done = machine.run("sign", "--skip-signed", *map(str, files), exit_code=1)
        assert done.stderr.count("the bundle that is there does not hold") == 2
        assert damaged.read_text() == "{"

    @pytest.mark.parametrize("good", [1, 5])
    def test_what_fails_for_one_file_after_the_other_ends_the_run(self, machine, trust, tmp_path, good):
        """The authority of times answers a few, and then refuses."""
        tsa = HttpClient()
        url = trust.signing_config.tsa_urls[0].url

        def answer(asked):
            if len(server.asked) > good:
                return Reply(500, b"no")
            got = tsa.post(url, asked.body, service="x", headers=TIMESTAMP, idempotent=True)
            return Reply(got.status, got.body)

        with LoopbackServer(answer) as server:
            services = (msgspec.structs.replace(trust.signing_config.tsa_urls[0], url=server.url),)
            config = msgspec.structs.replace(trust.signing_config, tsa_urls=services)
            file = tmp_path / "trust.json"
            file.write_bytes(ClientTrustConfig(trust.trusted_root, config).to_json())
            files = made_files(tmp_path, 40)
            sign = ["sign", "--trust-config", str(file), *map(str, files)]
            done = machine.run(*sign, exit_code=6)
        failed = done.stderr.count("error: ")
        assert 8 <= failed < 40 - good  # those that had begun when it was enough are told too
        assert done.stdout.count("signed ") == good
        left = 40 - good - failed
        assert f"{left} more files were not tried, {good} of 40 files are signed" in done.stderr
        assert "the same command with --skip-signed goes on from here" in done.stderr

    def test_what_contradicts_itself_is_refused(self, machine, tmp_path):
        (file,) = made_files(tmp_path, 1)
        machine.run("sign", "--skip-signed", "--overwrite", str(file), exit_code=2)


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_an_output_that_cannot_be_written_does_not_hide_that_the_bundle_was(machine, tmp_path, options):
    file = tmp_path / "f"
    file.write_text("x")
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [*HALLMARK, "sign", *options, str(file)],
            env=machine.environment, stdout=full, stderr=subprocess.PIPE, text=True, check=False, timeout=60,
        )  # fmt: skip
    assert done.returncode == 2
    error = done.stderr.splitlines()[0]
    assert error.startswith(
        "error: 1 of 1 bundles are written, but standard output cannot be written: no space"
    )
    machine.run("verify", str(file), *machine.who())
