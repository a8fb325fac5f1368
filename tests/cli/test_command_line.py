"""What holds for every command: what it loads, how it ends, and that no traceback reaches a user."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.support.transcript import HALLMARK

from hallmark.cli import exit_codes, lazy_group, main
from hallmark.cli.exit_codes import exit_code_of
from hallmark.errors import (
    ConfigurationError,
    HallmarkError,
    InvalidSignature,
    MalformedInput,
    ProofPending,
    RemoteError,
    SignatureNotFound,
    TrustError,
    UntrustedIdentity,
)

NETWORK = {"urllib3", "tuf", "securesystemslib", "http.client", "ssl", "id", "concurrent.futures"}
SERVERS = {"starlette", "granian", "joserfc", "sqlite3", "asyncio", "rich"}
SLOW = {"json", "shutil", "secrets"}  # a millisecond or two each, and nobody needs them for a good bundle


def loaded(folder, environment, *arguments: str) -> set[str]:
    """The modules that a command has loaded at its end."""
    program = (
        "import sys\nfrom hallmark.cli.main import main\nmain(sys.argv[1:])\n"
        "print('\\n'.join(sys.modules), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        cwd=folder, env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return set(done.stderr.split())


def test_verifying_loads_no_network_and_no_server(folder, environment, values):
    words = f"verify app {values['TRUST']} {values['WHO']}".split()
    modules = loaded(folder, environment, *words)
    assert "hallmark.verify.verifier" in modules
    assert modules & (NETWORK | SERVERS | SLOW) == set()


def test_signing_loads_no_server(folder, environment):
    program = "import sys, hallmark.cli.sign; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=folder, env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert set(done.stdout.split()) & SERVERS == set()


@pytest.mark.parametrize("arguments", [["--help"], ["--version"]])
def test_help_and_version_load_no_command_and_no_cryptography(folder, environment, arguments):
    modules = loaded(folder, environment, *arguments)
    assert not [name for name in modules if name.startswith(("cryptography", "msgspec", "hallmark.client"))]
    assert modules & (NETWORK | SERVERS) == set()


def test_every_command_of_the_table_loads_and_has_help(capsys):
    for name in main.COMMANDS:
        assert main.main([name, "--help"]) == 0
        assert "Usage: hallmark " + name in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "exit_code"),
    [
        ("verify app {TRUST} {WHO}", 0),
        ("verify app --trusted-root old-root.json {WHO}", 1),  # another root could change that verdict
        ("verify tampered unsigned {TRUST} {WHO}", 1),
    ],
)
def test_verifying_against_files_opens_no_socket(folder, environment, values, words, exit_code):
    """With sockets forbidden, everything works as before, whatever the verdict."""
    program = (
        "import socket, sys\n"
        "def refuse(*_, **__): raise AssertionError('a socket')\n"
        "socket.socket.__init__ = refuse; socket.getaddrinfo = refuse\n"
        "from hallmark.cli.main import main\nsys.exit(main(sys.argv[1:]))"
    )
    given = words.format(**values).split()
    done = subprocess.run([sys.executable, "-c", program, *given], cwd=folder, env=environment, check=False)
    assert done.returncode == exit_code


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (InvalidSignature("x"), 1),
        (MalformedInput("x"), 2),
        (ConfigurationError("x"), 2),
        (SignatureNotFound("x"), 3),
        (UntrustedIdentity("x"), 4),
        (TrustError("x"), 5),
        (RemoteError("x"), 6),
        (ProofPending("x"), 7),
    ],
)
def test_errors_have_their_exit_codes(error, code):
    assert exit_code_of(error) == code


def test_every_error_of_the_tree_has_an_exit_code():
    def below(kind):
        return [kind, *(found for child in kind.__subclasses__() for found in below(child))]

    tree = [kind for kind in below(HallmarkError) if kind.__module__ == "hallmark.errors"]
    assert {exit_code_of(kind("x")) for kind in tree} == {1, 2, 3, 4, 5, 6, 7}


def test_the_gravest_failure_decides():
    assert exit_codes.gravest([2, 3, 1]) == 1
    assert exit_codes.gravest([2, 6, 3]) == 3
    assert exit_codes.gravest([]) == 0


def test_a_bug_is_one_line_without_a_traceback(monkeypatch, capsys):
    def fail(*_):
        raise ZeroDivisionError("oops")

    monkeypatch.setattr(main, "_run", fail)
    monkeypatch.delenv("HALLMARK_DEBUG", raising=False)
    assert main.main(["verify", "x"]) == 70
    output, errors = capsys.readouterr()
    assert output == ""
    assert errors.splitlines()[0] == "error: unexpected ZeroDivisionError: oops"
    assert "please report it" in errors
    assert "Traceback" not in errors
    assert main.main(["verify", "x", "--json"]) == 70
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "bug"
    monkeypatch.setenv("HALLMARK_DEBUG", "1")
    main.main(["verify", "x"])
    assert "Traceback" in capsys.readouterr().err


def test_a_missing_library_is_named_with_the_mend(monkeypatch, capsys):
    def missing(_name):
        raise ModuleNotFoundError("No module named 'granian'", name="granian")

    monkeypatch.setattr(lazy_group.importlib, "import_module", missing)
    assert main.main(["up"]) == 2
    told = capsys.readouterr().err
    assert "granian is not installed" in told
    assert "pip install 'hallmark-sigstore[server]'" in told


def test_text_of_strangers_cannot_command_the_terminal(folder, environment, values):
    name = "evil\x1b[2J\nname"
    done = subprocess.run(
        [*HALLMARK, "verify", name, "--trusted-root", "root.json"],
        cwd=folder, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "\x1b" not in done.stderr
    assert len(done.stderr.splitlines()) == 2


def test_output_that_nobody_reads_is_no_verdict(folder, environment):
    """1 would say that verification failed."""
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [*HALLMARK, "inspect", "app.sigstore.json"],
        cwd=folder, env=environment, stdout=writer, stderr=subprocess.PIPE, text=True, check=False,
    )  # fmt: skip
    os.close(writer)
    assert done.returncode == 141
    assert "Error" not in done.stderr
    assert "Traceback" not in done.stderr


def wait_until_asleep(process: subprocess.Popen[str]) -> None:
    """Wait until a process waits: a signal that comes while it imports or collects garbage can be lost."""
    while Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0] != "S":
        time.sleep(0.01)


def test_ctrl_c_ends_a_command_at_once_and_quietly(folder, environment):
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        process = subprocess.Popen(
            [*HALLMARK, "context", "add", "home", url, "--trust-on-first-use"],
            cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        connection, _ = silent.accept()
        assert connection.recv(1)
        wait_until_asleep(process)
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate()
        connection.close()
    assert process.returncode == 130
    assert output == ""
    assert "Traceback" not in errors


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_command_that_a_signal_ends_prints_one_json_object(folder, environment, number):
    os.mkfifo(folder / "fifo")
    process = subprocess.Popen(
        [*HALLMARK, "verify", "app", "--bundle", "fifo", "--trusted-root", "root.json", "--json"],
        cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    with (folder / "fifo").open("wb"):  # both wait for each other; then the reader waits for data
        wait_until_asleep(process)
        process.send_signal(number)
        output, errors = process.communicate()
    assert process.returncode == 128 + number
    error = json.loads(output)["error"]
    assert (error["code"], error["exitCode"]) == ("interrupted", 128 + number)
    assert errors == ""


def test_choices_are_listed_on_one_line(folder, environment):
    done = run(folder, environment, "client-config")
    assert "Choose from: cosign, sigstore-python, sigstore-js, gitsign, env" in done.stderr
    assert "?" not in done.stderr


def test_colour_is_for_terminals_only(folder, environment, values):
    words = f"verify app tampered {values['TRUST']} {values['WHO']}".split()
    done = subprocess.run(
        [*HALLMARK, *words], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert "\x1b" not in done.stdout + done.stderr


def run(folder, environment, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*HALLMARK, *words], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("words", ["verify {0}", "verify --digest sha256:{0} --bundle {0}", "sign {0}"])
def test_a_name_too_long_is_the_users_to_mend(folder, environment, values, words):
    trust = [] if words.startswith("sign") else values["TRUST"].split()
    done = run(folder, environment, *words.format("a" * 300).split(), *trust)
    assert done.returncode == 2
    assert "bug" not in done.stderr


def test_a_name_too_long_keeps_no_other_file_from_its_verdict(folder, environment, values):
    done = run(folder, environment, "verify", "app", "a" * 300, *f"{values['TRUST']} {values['WHO']}".split())
    assert done.returncode == 2
    assert "verified app" in done.stdout
    assert "name too long" in done.stderr


@pytest.mark.parametrize("bundle", ["folder", "pipe", "unsigned"])
def test_overwrites_nothing_but_bundles(folder, environment, bundle):
    os.mkfifo(folder / "pipe")
    done = run(folder, environment, "sign", "--overwrite", "--bundle", bundle, "app")
    assert done.returncode == 2
    assert f"{bundle} is not a bundle, so it is not replaced" in done.stderr


def test_a_fault_that_nothing_expected_hides_no_other_file(folder, environment, values):
    """The fault is put into the reader of bundles; the files around it keep their verdicts."""
    program = (
        "import sys\nfrom hallmark.client import signature_files as files\n"
        "read = files.parse_signature_file\n"
        "def parse(data):\n    if not data: raise RecursionError('deep')\n    return read(data)\n"
        "files.parse_signature_file = parse\nfrom hallmark.cli.main import main\nsys.exit(main(sys.argv[1:]))"
    )
    words = f"verify tampered empty app {values['TRUST']} {values['WHO']}".split()
    done = subprocess.run(
        [sys.executable, "-c", program, *words],
        cwd=folder, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 70
    assert "verified app" in done.stdout
    assert "error: tampered: " in done.stderr
    assert "error: empty: unexpected RecursionError: deep" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("words", ["verify app {TRUST} {WHO}", "verify app {TRUST} {WHO} --json", "--help"])
@pytest.mark.parametrize(
    ("redirected", "reason"), [(">/dev/full", "no space left on device"), (">&-", "bad file descriptor")]
)
def test_output_that_cannot_be_written_is_an_error_of_the_machine(
    folder, environment, values, words, redirected, reason
):
    command = f"{' '.join(HALLMARK)} {words.format(**values)} {redirected}"
    done = subprocess.run(
        ["sh", "-c", command], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert "bug" not in done.stderr
    assert reason in done.stderr  # with --json too: the object cannot be printed


@pytest.mark.parametrize("closed", ["2>&-", "<&-", "<&- 2>&-"])
def test_other_closed_streams_change_nothing(folder, environment, values, closed):
    command = f"{' '.join(HALLMARK)} verify app {values['TRUST']} {values['WHO']} {closed}"
    done = subprocess.run(
        ["sh", "-c", command], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout[:12]) == (0, "verified app")


def test_an_address_that_is_none_is_the_users_to_mend(folder, environment):
    done = run(folder, environment, "token", "--email", "no email", "--data", ".")
    assert done.returncode == 2
    assert "'no email' is not an e-mail address" in done.stderr


@pytest.mark.parametrize("columns", [40, 79, 200])
@pytest.mark.parametrize("words", [["--help"], ["sign", "--help"], ["log", "--help"]])
def test_help_fits_the_terminal_and_names_every_option_whole(folder, environment, columns, words):
    done = run(folder, {**environment, "COLUMNS": str(columns)}, *words)
    assert max(map(len, done.stdout.splitlines())) <= max(columns, 40)
    if words[0] == "sign":
        assert "--wait-for-witnesses SECONDS" in done.stdout
        assert "Replace bundles that are there already." in " ".join(done.stdout.split())


def test_shells_are_given_their_completion(folder, environment):
    def complete(instruction, line="", word="1"):
        asked = {"_HALLMARK_COMPLETE": instruction, "COMP_WORDS": line, "COMP_CWORD": word}
        return run(folder, {**environment, **asked})

    for shell in ("bash", "zsh", "fish"):
        done = complete(f"{shell}_source")
        assert "_HALLMARK_COMPLETE" in done.stdout
        assert "Usage" not in done.stdout
    assert complete("bash_complete", "hallmark ver").stdout.split() == ["plain,verify"]
    assert "plain,--skip-signed" in complete("bash_complete", "hallmark sign --sk", "2").stdout
