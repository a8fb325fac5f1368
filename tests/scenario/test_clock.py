"""Where this machine's clock is not the service's, that is said before what follows from it."""

import json
from datetime import timedelta

import pytest
from tests.support.loopback import LoopbackServer, Reply, in_turn
from tests.support.machine import Machine
from tests.support.stepped_clock import SteppedClock

from hallmark.cli.clock import explain_clock, how_long
from hallmark.client.http import HttpClient, ServerClock
from hallmark.errors import ConfigurationError, RemoteError, TrustError

EMAIL = "alice@example.com"


@pytest.mark.parametrize(
    ("seconds", "words", "with_files", "with_context"),
    [(-7230, "2 h behind", 5, 5), (86430, "1 d ahead of", 2, 2), (8 * 86400 + 30, "8 d ahead of", 2, 5)],
)
def test_signing_with_a_wrong_clock_says_so_first(
    instance, tmp_path, seconds, words, with_files, with_context
):
    machine = Machine(instance, tmp_path, EMAIL)
    (tmp_path / "f").write_text("x")
    machine.pin()
    clock = SteppedClock(tmp_path)
    clock.step(seconds)
    machine.environment |= clock.environment
    files = ["--trust-config", str(instance.client / "client_trust_config.json")]
    sign = ["sign", str(tmp_path / "f"), "--identity-token", instance.token(EMAIL)]
    for options, exit_code in ((files, with_files), ([], with_context)):
        error, hint = machine.run(*sign, *options, exit_code=exit_code).stderr.splitlines()
        assert error.partition("this machine's")[2].startswith(f" clock is {words} that of 127.0.0.1:"), error
        assert hint.startswith("hint: set this machine's clock")


@pytest.mark.parametrize(("seconds", "words"), [(-7230, "2 h behind"), (9 * 86400 + 30, "9 d ahead of")])
@pytest.mark.parametrize("with_files", [True, False])
def test_doctor_with_a_wrong_clock_says_so_first_and_gives_no_other_hint(
    instance, tmp_path, seconds, words, with_files
):
    machine = Machine(instance, tmp_path, EMAIL)
    machine.pin()
    clock = SteppedClock(tmp_path)
    clock.step(seconds)
    machine.environment |= clock.environment
    config = str(instance.client / "client_trust_config.json")
    options = ["--trust-config", config] if with_files else []
    lines = machine.run("doctor", *options, exit_code=5).stderr.splitlines()
    assert lines[0].startswith(f"error: clock: this machine's clock is {words} that of 127.0.0.1:")
    assert {line for line in lines if line.startswith("hint: ")} <= {
        "hint: set this machine's clock, for example with NTP, and run the command again",
        "hint: the clock may explain it: set that first",
    }
    told = json.loads(machine.run("doctor", "--json", *options, exit_code=5).stdout)
    assert (told["error"]["code"], told["checks"][0]["check"]) == ("clock_skew", "clock")


def test_pinning_with_a_wrong_clock_says_so_first(instance, tmp_path):
    machine = Machine(instance, tmp_path, EMAIL)
    clock = SteppedClock(tmp_path)
    clock.step(30 * 86400 + 30)
    machine.environment |= clock.environment
    done = machine.run("context", "add", "w", instance.base_url, "--trust-on-first-use", exit_code=5)
    assert "error: this machine's clock is 30 d ahead of that of 127.0.0.1" in done.stderr
    assert machine.run("context", "list").stdout == ""


def test_the_configuration_of_other_clients_with_a_wrong_clock_says_so_first(instance, tmp_path):
    machine = Machine(instance, tmp_path, EMAIL)
    machine.pin()
    clock = SteppedClock(tmp_path)
    clock.step(30 * 86400 + 30)
    machine.environment |= clock.environment
    done = machine.run("client-config", "--for", "cosign", exit_code=5)
    assert done.stderr.startswith("error: this machine's clock is 30 d ahead of that of 127.0.0.1")


def test_mirroring_with_a_wrong_clock_says_so_first(instance, tmp_path):
    machine = Machine(instance, tmp_path, EMAIL)
    machine.pin()
    clock = SteppedClock(tmp_path)
    clock.step(30 * 86400 + 30)
    machine.environment |= clock.environment
    done = machine.run("log", "mirror", "work", str(tmp_path / "m"), exit_code=5)
    assert done.stderr.startswith("error: this machine's clock is 30 d ahead of that of 127.0.0.1")
    assert "hint: set this machine's clock" in done.stderr


@pytest.mark.parametrize(
    ("seconds", "told"), [(0, False), (60, False), (-60, False), (61, True), (-61, True)]
)
def test_a_minute_is_let_pass(seconds, told):
    http = HttpClient()
    http.clock = ServerClock("sigstore.example", timedelta(seconds=seconds))
    found = explain_clock(TrustError("old", code="c"), "http://127.0.0.1:9", http)
    assert (found.message, found.code) != ("old", "c") if told else found.message == "old"
    assert found.code == "c"


def test_the_clock_is_that_of_the_last_answer():
    with LoopbackServer(in_turn(Reply(200))) as server:
        http = HttpClient()
        http.get(server.url, service="x")
        assert http.clock.host == server.url.removeprefix("http://")
        assert abs(http.clock.ahead) < timedelta(minutes=1)


def test_what_a_clock_cannot_explain_is_left_as_it_is():
    usage = ConfigurationError("x")
    assert explain_clock(usage, "http://127.0.0.1:9") is usage
    away = RemoteError("x")
    assert explain_clock(away, "http://127.0.0.1:9") is away
    assert explain_clock(away, "") is away
    http = HttpClient()
    http.clock = ServerClock("sigstore.example", timedelta(hours=1))
    for code in ("log_frozen", "service_failed", "service_not_found"):
        said = RemoteError("x", code=code)
        assert explain_clock(said, "http://127.0.0.1:9", http) is said


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0 s"), (61, "1 min 1 s"), (7200, "2 h"), (90061, "1 d 1 h"), (86400 + 60, "1 d")],
)
def test_times_are_said_in_their_largest_units(seconds, words):
    assert how_long(timedelta(seconds=seconds)) == words
