"""Our client against a whole instance: log in, sign, trust, verify, and every way that can fail."""

import json
import os
import re
import stat
import subprocess
import sys
import threading
import urllib.error
import urllib.parse
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from html import unescape
from pathlib import Path

import msgspec
import pytest
from tests.support.instance import RunningInstance
from tests.support.loopback import Asked, LoopbackServer, Reply, in_turn
from tests.support.machine import Machine
from tests.support.stepped_clock import SteppedClock
from tests.support.world import a_statement

from hallmark.client.artifact import digest_file
from hallmark.client.browser import log_in_with_browser
from hallmark.client.http import HttpClient
from hallmark.client.identity_token import parse_identity_token
from hallmark.client.oidc import OUT_OF_BAND, discover, log_in_by_device, log_in_out_of_band
from hallmark.client.signing import Signer, system_clock
from hallmark.client.trust_cache import load_trust, save_trust
from hallmark.core.bundle import parse_bundle
from hallmark.core.signing_config import ClientTrustConfig, parse_client_trust_config
from hallmark.errors import RemoteError, TrustError, Unauthenticated
from hallmark.policy.identity import Identity
from hallmark.verify.verifier import Artifact, Verifier

EMAIL = "alice@example.com"


@pytest.fixture(scope="module")
def instance(tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    running = RunningInstance(tmp_path_factory.mktemp("data") / "instance", home)
    yield running
    assert running.stop() == 0
    assert "Traceback" not in (home / "up.log").read_text()


@pytest.fixture(scope="module")
def token(instance):
    return instance.token(EMAIL)


@pytest.fixture(scope="module")
def trust(instance) -> ClientTrustConfig:
    return parse_client_trust_config((instance.client / "client_trust_config.json").read_bytes())


@pytest.fixture
def signer(trust, token):
    with a_signer(trust, token) as found:
        yield found


def a_signer(trust: ClientTrustConfig, token: str) -> Signer:
    return Signer(trust, lambda: parse_identity_token(token), HttpClient())


@pytest.fixture
def artifact(tmp_path):
    path = tmp_path / "artifact"
    path.write_bytes(b"what is signed")
    return path


@pytest.fixture
def machine(instance, tmp_path):
    return Machine(instance, tmp_path, EMAIL)


class Person:
    """Somebody at a browser, who fills in whatever form the page has."""

    def __init__(self, email: str = EMAIL) -> None:
        self.email = email
        self.threads: list[threading.Thread] = []

    def fill_in(self, url: str, **fields: str) -> str:
        """Open a page, submit its form and return the last page."""
        page = self.open(url)
        action = unescape(re.search(r'<form method="post" action="([^"]+)"', page)[1])
        hidden = re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)">', page)
        form = {name: unescape(value) for name, value in hidden} | {"email": self.email} | fields
        target = urllib.parse.urljoin(url, action)
        return self.open(target, urllib.parse.urlencode(form).encode())

    def open(self, url: str, body: bytes | None = None) -> str:
        with urllib.request.urlopen(urllib.request.Request(url, data=body), timeout=20) as answer:
            return answer.read().decode()

    def later(self, url: str) -> bool:
        self.threads.append(threading.Thread(target=self.fill_in, args=(url,)))
        self.threads[-1].start()
        return True


class TestLoggingIn:
    def test_with_a_browser(self, instance, trust):
        http, person, shown = HttpClient(), Person("browser@example.com"), []
        issuer = discover(f"{instance.base_url}/oidc", http)
        token = log_in_with_browser(issuer, shown.append, http, open_browser=person.later)
        person.threads[0].join()
        assert token.unverified_identity == "browser@example.com"
        assert shown[0].startswith(f"{instance.base_url}/oidc/auth?")
        assert "code_challenge_method=S256" in shown[0]
        with Signer(trust, lambda: token, http) as signer:
            assert signer.sign_artifact(b"x").verified.identity == "browser@example.com"

    def test_the_listener_takes_the_answer_to_its_own_login_only(self, instance):
        http = HttpClient()
        issuer = discover(f"{instance.base_url}/oidc", http)
        statuses = []

        def attack_then_log_in(url: str) -> bool:
            redirect = urllib.parse.parse_qs(urllib.parse.urlsplit(url).query)["redirect_uri"][0]
            person = Person()

            def act() -> None:
                for query in (
                    "",
                    "?code=stolen",
                    "?code=stolen&state=guess",
                    "?" + "&".join("abcdefghijklmnopqrs"),
                ):
                    try:
                        person.open(redirect + query)
                    except urllib.error.HTTPError as error:
                        statuses.append(error.code)
                        error.close()
                person.fill_in(url)

            threading.Thread(target=act).start()
            return True

        token = log_in_with_browser(issuer, lambda _: None, http, open_browser=attack_then_log_in)
        assert token.unverified_identity == EMAIL
        assert statuses == [400] * 4

    def test_nobody_logs_in(self, instance):
        http = HttpClient()
        issuer = discover(f"{instance.base_url}/oidc", http)
        with pytest.raises(Unauthenticated) as caught:
            log_in_with_browser(issuer, lambda _: None, http, open_browser=lambda _: False, login_seconds=0.1)
        assert caught.value.code == "login_expired"

    def test_on_another_device(self, instance):
        http, person, shown = HttpClient(), Person("device@example.com"), []

        def show(device) -> None:
            shown.append(device)
            person.fill_in(device.verification_uri, user_code=device.user_code)

        token = log_in_by_device(discover(f"{instance.base_url}/oidc", http), show, http)
        assert token.unverified_identity == "device@example.com"
        assert shown[0].verification_uri == f"{instance.base_url}/oidc/device"

    def test_out_of_band(self, instance):
        http, person = HttpClient(), Person()

        def ask(url: str) -> str:
            assert urllib.parse.quote(OUT_OF_BAND, safe="") in url
            return re.search(r"<code>(.+)</code>", person.fill_in(url))[1]

        issuer = discover(f"{instance.base_url}/oidc", http)
        assert log_in_out_of_band(issuer, ask, http).unverified_identity == EMAIL
        with pytest.raises(Unauthenticated, match="refuses the login"):
            log_in_out_of_band(issuer, lambda _: "guessed", http)

    def test_an_issuer_that_calls_itself_otherwise_is_refused(self):
        document = {"issuer": "https://other.test", "authorization_endpoint": "x", "token_endpoint": "x"}
        answer = in_turn(Reply(200, json.dumps(document).encode()))
        with LoopbackServer(answer) as server, pytest.raises(RemoteError) as caught:
            discover(server.url, HttpClient())
        assert caught.value.code == "wrong_oidc_issuer"

    def test_a_login_page_that_is_no_web_page_is_refused(self):
        def answer(asked: Asked) -> Reply:
            issuer = f"http://{asked.headers['Host']}"
            document = {"issuer": issuer, "authorization_endpoint": "file:///x", "token_endpoint": "x"}
            return Reply(200, json.dumps(document).encode())

        with LoopbackServer(answer) as server, pytest.raises(RemoteError, match="'file:///x'"):
            discover(server.url, HttpClient())


class TestSigning:
    def test_what_is_signed_is_verified_by_anyone_with_the_root(self, instance, signer, trust):
        signed = signer.sign_artifact(b"message")
        bundle = parse_bundle(signed.bundle.to_json())
        policy = Identity(identity=EMAIL, oidc_issuer=f"{instance.base_url}/oidc")
        verified = Verifier(trust.trusted_root).verify(bundle, Artifact.from_bytes(b"message"), policy)
        assert verified == msgspec.structs.replace(signed.verified)
        assert len(verified.entries) == len(verified.times) == len(verified.sct_log_ids) == 1

    def test_a_statement_is_signed(self, signer):
        statement = json.dumps(a_statement(b"message")).encode()
        signed = signer.sign_statement(statement)
        assert signed.bundle.envelope.payload == statement
        assert signed.verified.statement.predicate_type

    def test_many_threads_share_one_certificate(self, signer):
        with ThreadPoolExecutor(8) as threads:
            signed = list(threads.map(lambda number: signer.sign_artifact(b"%d" % number), range(24)))
        assert len({item.bundle.certificate for item in signed}) == 1
        assert len({item.verified.entries[0].log_index for item in signed}) == 24

    def test_an_old_certificate_is_not_used_again(self, trust, token):
        now, taken = [system_clock()], []

        def source():
            taken.append(1)
            return parse_identity_token(token)

        with Signer(trust, source, HttpClient(), clock=lambda: now[0]) as signer:
            first = signer.sign_artifact(b"1").bundle.certificate
            assert signer.sign_artifact(b"2").bundle.certificate == first
            now[0] += timedelta(minutes=60)
            with pytest.raises(Unauthenticated, match="expired"):
                signer.sign_artifact(b"3")
        assert len(taken) == 2

    def test_services_that_lie_are_caught_before_anybody_gets_a_bundle(self, trust, token):
        """A trusted root of another instance stands for services that do not do what they should."""
        other = msgspec.structs.replace(trust.trusted_root.ctlogs[0], log_id=bytes(32))
        stranger = msgspec.structs.replace(trust.trusted_root, ctlogs=(other,))
        with (
            Signer(
                ClientTrustConfig(stranger, trust.signing_config),
                lambda: parse_identity_token(token),
                HttpClient(),
            ) as signer,
            pytest.raises(RemoteError) as caught,
        ):
            signer.sign_artifact(b"x")
        assert caught.value.code == "unverifiable_answer"

    def test_a_service_that_is_down_is_named(self, trust, token):
        gone = tuple(
            msgspec.structs.replace(item, url="http://127.0.0.1:9") for item in trust.signing_config.tsa_urls
        )
        config = msgspec.structs.replace(trust.signing_config, tsa_urls=gone)
        broken = ClientTrustConfig(trust.trusted_root, config)
        named = r"the timestamp authority at 127\.0\.0\.1:9"
        with a_signer(broken, token) as signer, pytest.raises(RemoteError, match=named):
            signer.sign_artifact(b"x")

    @pytest.mark.parametrize("kind", ["ca_urls", "tsa_urls"])
    def test_a_config_without_a_needed_service_is_refused(self, trust, token, kind):
        config = msgspec.structs.replace(trust.signing_config, **{kind: ()})
        with pytest.raises(TrustError) as caught:
            Signer(
                ClientTrustConfig(trust.trusted_root, config),
                lambda: parse_identity_token(token),
                HttpClient(),
            )
        assert caught.value.code == "no_service"

    def test_the_authority_refuses_a_token_that_it_did_not_expect(self, trust, token):
        header, payload, signature = token.split(".")
        forged = f"{header}.{payload}.{signature[::-1]}"
        with a_signer(trust, forged) as signer, pytest.raises(Unauthenticated) as caught:
            signer.sign_artifact(b"x")
        assert caught.value.code == "token_refused"
        assert forged not in str(caught.value)

    def test_the_key_is_forgotten(self, trust, token):
        signer = a_signer(trust, token)
        signer.sign_artifact(b"x")
        signer.close()
        assert "PrivateKey" not in repr(vars(signer))


class TestCommands:
    def test_a_context_pins_the_instance_and_serves_signing_and_verifying(self, machine, artifact, token):
        machine.pin()
        machine.run("sign", str(artifact), "--identity-token", token)
        machine.run("verify", str(artifact), *machine.who())
        shown = machine.run("verify", str(artifact), exit_code=4).stderr
        pinned = shown.partition("if you trust this signer: hallmark ")[2].split()
        machine.run(*pinned)

    def test_another_root_is_refused(self, machine):
        wrong = "0" * 64
        done = machine.run(
            "context", "add", "work", machine.instance.base_url, "--root-fingerprint", wrong, exit_code=5
        )
        assert wrong in done.stderr
        assert json.loads(machine.run("context", "list", "--json").stdout)["contexts"] == []

    def test_a_context_can_be_pinned_by_file_or_blindly(self, machine):
        root = str(machine.instance.client / "root.json")
        machine.run("context", "add", "one", machine.instance.base_url, "--root", root)
        machine.run("context", "add", "two", machine.instance.base_url, "--trust-on-first-use", "--use")
        machine.run("context", "use", "one")
        listed = json.loads(machine.run("context", "list", "--json").stdout)
        assert listed["current"] == "one"
        assert {item["rootFingerprint"] for item in listed["contexts"]} == {machine.fingerprint}
        machine.run("context", "remove", "one")
        machine.run("context", "update", "two")

    def test_any_sigstore_with_a_tuf_repository_can_be_pinned(self, machine, artifact, token):
        url = machine.instance.base_url
        root = str(machine.instance.client / "root.json")
        machine.run("context", "add", "plain", "https://sigstore.test", "--tuf", f"{url}/tuf", "--root", root)
        machine.run("sign", str(artifact), "--identity-token", token)

    def test_expired_trust_material_is_named_with_the_command_that_renews_it(
        self, machine, artifact, token, tmp_path
    ):
        machine.pin()
        machine.run("sign", str(artifact), "--identity-token", token)
        later = SteppedClock(tmp_path)
        later.step(8 * 24 * 3600)
        machine.environment |= later.environment
        done = machine.run("verify", str(artifact), *machine.who(), exit_code=5)
        assert "has expired" in done.stderr

    def test_a_forged_cache_neither_vouches_for_a_file_nor_gets_the_token(self, machine, artifact, token):
        machine.pin()
        cache = machine.home / ".cache" / "hallmark"
        good = load_trust(machine.fingerprint, cache)
        with LoopbackServer(in_turn(Reply(500))) as thief:
            config = good.signing_config.replace(machine.instance.base_url.encode(), thief.url.encode())
            forged = msgspec.structs.replace(good, signing_config=config, fetched=datetime.now(UTC))
            save_trust(machine.fingerprint, forged, cache)
            machine.run("sign", str(artifact), "--identity-token", token)
        assert thief.asked == []

        root = json.loads(good.trusted_root)
        root["certificateAuthorities"] = []
        save_trust(
            machine.fingerprint, msgspec.structs.replace(good, trusted_root=json.dumps(root).encode()), cache
        )
        machine.run("verify", str(artifact), *machine.who())  # against what was fetched in its place
        assert load_trust(machine.fingerprint, cache).trusted_root == good.trusted_root

    @pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
    def test_a_home_that_cannot_be_written_is_no_hindrance(self, machine, artifact, token):
        machine.pin()
        machine.run("sign", str(artifact), "--identity-token", token)
        for folder in (machine.home / ".cache" / "hallmark" / "trust", machine.home / ".config" / "hallmark"):
            folder.chmod(stat.S_IRUSR | stat.S_IXUSR)
        machine.run("verify", str(artifact), *machine.who())

    def test_a_cache_that_cannot_be_written_is_no_hindrance(self, machine, artifact, token):
        machine.pin()
        cache = machine.home / ".cache"
        subprocess.run(["rm", "-r", str(cache)], check=True)
        cache.write_text("a file where the folder would be")
        machine.run("sign", str(artifact), "--identity-token", token)
        machine.run("verify", str(artifact), *machine.who())

    def test_the_instance_of_this_machine_is_found_by_its_url(self, instance, artifact):
        url = instance.base_url
        token = instance.run("token", "--email", EMAIL, "--instance", url).stdout
        assert token.split() == [token]  # cosign refuses a file that ends with a line's end
        (artifact.parent / "token").write_text(token)
        instance.run(
            "sign", "--instance", url, "--identity-token", str(artifact.parent / "token"), str(artifact)
        )
        done = instance.run("verify", "--instance", url, str(artifact), check=False)
        assert done.returncode == 4

    def test_a_token_may_come_from_standard_input_or_the_environment(self, machine, tmp_path, token):
        machine.pin()
        for name in ("one", "two"):
            (tmp_path / name).write_text(name)
        machine.run("sign", str(tmp_path / "one"), "--identity-token", "-", input=token)
        machine.environment["SIGSTORE_ID_TOKEN"] = token
        machine.run("sign", str(tmp_path / "two"))

    def test_without_a_token_and_a_terminal_nobody_is_asked(self, machine, artifact):
        machine.pin()
        done = machine.run("sign", str(artifact), exit_code=2, stdin=subprocess.DEVNULL)
        assert "no identity token, and no terminal to log in from" in done.stderr
        assert not Path(f"{artifact}.sigstore.json").exists()

    @pytest.mark.parametrize("given", ["nonsense", "a.b.c", ""])
    def test_what_is_no_token_is_refused_without_showing_it(self, machine, artifact, given):
        machine.pin()
        done = machine.run("sign", str(artifact), "--identity-token", given, exit_code=2)
        assert "no file has that name" in done.stderr

    def test_a_folder_is_signed_and_signed_again(self, machine, tmp_path, token):
        machine.pin()
        dist = tmp_path / "dist"
        (dist / "deep").mkdir(parents=True)
        files = [dist / "a", dist / "b", dist / "deep" / "c"]
        for file in files:
            file.write_text(file.name)
        (dist / "link").symlink_to("/etc/passwd")
        sign = ["sign", "--recursive", str(dist), "--identity-token", token]
        done = json.loads(machine.run(*sign, "--json").stdout)
        assert [item["file"] for item in done["results"]] == [str(file) for file in files]
        machine.run(*sign, exit_code=2)
        machine.run(*sign, "--overwrite")
        machine.run("verify", *map(str, files), *machine.who())
        assert not (dist / "link.sigstore.json").exists()
        assert sorted(path.name for path in dist.iterdir() if path.name.startswith(".")) == []

    def test_one_bad_file_does_not_stop_the_others(self, machine, tmp_path, token):
        machine.pin()
        files = [tmp_path / name for name in ("first", "pipe", "last")]
        for file in files[::2]:
            file.write_text("x")
        os.mkfifo(files[1])
        done = machine.run("sign", *map(str, files), "--identity-token", token, exit_code=2)
        assert "pipe is not a regular file" in done.stderr
        machine.run("verify", str(files[0]), str(files[2]), *machine.who())

    def test_nothing_is_signed_when_a_file_is_missing(self, machine, artifact, token):
        machine.pin()
        missing = str(artifact.parent / "none")
        machine.run("sign", str(artifact), missing, "--identity-token", token, exit_code=2)
        assert not Path(f"{artifact}.sigstore.json").exists()

    def test_a_network_fault_is_never_a_missing_signature(self, machine, artifact, token):
        machine.pin()
        config = json.loads((machine.instance.client / "client_trust_config.json").read_text())
        text = json.dumps(config).replace(machine.instance.base_url, "http://127.0.0.1:9")
        down = artifact.parent / "down.json"
        down.write_text(text)
        done = machine.run(
            "sign", str(artifact), "--trust-config", str(down), "--identity-token", token, exit_code=6
        )
        assert "the certificate authority at 127.0.0.1:9 failed" in done.stderr

    def test_doctor_finds_nothing_wrong(self, machine):
        machine.pin()
        told = machine.run("doctor").stdout
        assert told.count("ok ") == len(told.splitlines())
        assert "issuing certificate: ends " in told

    @pytest.mark.parametrize("client", ["cosign", "sigstore-python", "sigstore-js", "gitsign", "env"])
    def test_other_clients_are_told_how(self, machine, client):
        machine.pin()
        for arguments in (["--data", str(machine.instance.root)], []):
            script = machine.run("client-config", "--for", client, *arguments).stdout
            assert machine.instance.base_url in script
            subprocess.run(["sh", "-n"], input=script, text=True, check=True)
            for path in re.findall(r"/\S+root\S*\.json", script):
                assert Path(path.strip("'")).is_file(), path

    def test_sixty_four_at_once_share_one_cache(self, machine, artifact, token):
        machine.pin()
        machine.run("sign", str(artifact), "--identity-token", token)
        program = (
            "import sys\nfrom concurrent.futures import ThreadPoolExecutor\n"
            "from hallmark.client.contexts import load_contexts\n"
            "from hallmark.client.http import HttpClient\n"
            "from hallmark.client.signing import system_clock\n"
            "from hallmark.client.trust_update import update_trust\n"
            "context = load_contexts().get('work')\n"
            "with ThreadPoolExecutor(16) as threads:\n"
            "    update = lambda _: update_trust(context, HttpClient(), system_clock())\n"
            "    list(threads.map(update, range(64)))\n"
        )
        subprocess.run([sys.executable, "-c", program], env=machine.environment, check=True)
        machine.run("verify", str(artifact), *machine.who())


def test_a_large_file_is_signed_in_little_memory(machine, tmp_path, token):
    machine.pin()
    large = tmp_path / "large"
    with large.open("wb") as file:
        file.truncate(1 << 30)
    program = (
        "import sys\nfrom pathlib import Path\nfrom hallmark.cli.main import main\n"
        "code = main(sys.argv[1:])\n"
        # not ru_maxrss: it counts the memory of the process that started this one
        "status = Path('/proc/self/status').read_text()\n"
        "print(status.partition('VmHWM:')[2].split()[0], file=sys.stderr)\nsys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, "sign", str(large), "--identity-token", token],
        env=machine.environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert int(done.stderr.split()[-1]) < 64 * 1024, "kilobytes"
    assert digest_file(large).value.hex() in machine.run("inspect", f"{large}.sigstore.json").stdout
