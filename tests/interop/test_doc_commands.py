"""Every command of every document is run as it is written, with the real clients, from an empty home."""

import hashlib
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
from tests.interop.test_sigstore_python import PROGRAM
from tests.support.doc_commands import Block, fill_in, shell_blocks
from tests.support.instance import HALLMARK, RunningInstance, isolated_environment
from tests.support.programs import TOOLS, require_program
from tests.support.repository_files import ROOT

pytestmark = pytest.mark.interop

DOCUMENTS = [
    ROOT / "README.md",
    *sorted(ROOT.glob("docs/howto/*.md")),
    *sorted(ROOT.glob("docs/operate/*.md")),
]
ADDRESS = "http://127.0.0.1:8080"
EMAIL = "you@example.com"

# Blocks that are not run here, by their first lines.
LEFT_OUT = {
    "make demo": "CI runs both targets, and the second would run this test",
    "make up": "it runs until Ctrl-C; this instance stands in for it",
    "hallmark up --data DIR --listen 127.0.0.1:8080 --workers 2": "the same",
    "hallmark up --data DIR --witness-policy FILE --witness-mode strict": "scenario tests do",
    "hallmark witness --data DIR --listen 127.0.0.1:8090 --name witness.example/w1 --log VKEY": (
        "it runs until Ctrl-C; the scenario tests of witnesses do"
    ),
    "hallmark verify FILE --identity you@example.com --issuer URL --require-witnesses POLICY": (
        "it needs a witnessed instance; the scenario tests of witnesses have one"
    ),
    "hallmark sign --wait-for-witnesses 10 FILE": "the same",
    "hallmark context add other https://sigstore.example "
    "--tuf https://tuf.sigstore.example --root root.json": (
        "it needs another Sigstore; test_any_sigstore_with_a_tuf_repository_can_be_pinned"
    ),
    "hallmark verify model.bin --certificate-chain ca.pem --identity you@example.com --no-issuer": (
        "it needs a CA of one's own; the unit tests of the verifier have one"
    ),
    "pip install '.[server]'": "tests fetch no packages; this instance has the extra",
    "pip install '.[export]'": "tests fetch no packages; the export has tests of its own",
}


class Desk:
    """A folder, an empty home, and the clients on the PATH, beside an instance."""

    def __init__(self, folder: Path, instance: RunningInstance) -> None:
        self.folder, self.instance = folder / "work", instance
        self.folder.mkdir()
        home = folder / "home"
        home.mkdir()
        tools = folder / "bin"
        tools.mkdir()
        (tools / "hallmark").write_text(f'#!/bin/sh\nexec {" ".join(HALLMARK)} "$@"\n')
        (tools / "hallmark").chmod(0o755)
        (tools / "sigstore").symlink_to(require_program(str(PROGRAM), "make .venv-interop/ready installs it"))
        self.environment = isolated_environment(home)
        self.environment["PATH"] = f"{tools}:{TOOLS}:{self.environment['PATH']}"
        (self.folder / "instance").symlink_to(instance.root)
        (self.folder / "DIR").symlink_to(instance.root)
        for name in ("FILE", "app.bin", "dist/a", "dist/b"):
            (self.folder / name).parent.mkdir(exist_ok=True)
            (self.folder / name).write_text(name)
        shutil.copy(instance.client / "trusted_root.json", self.folder)

    def values(self) -> dict[str, str]:
        """What a reader puts in place of the words in capitals."""
        url = self.instance.base_url
        root = (self.instance.client / "root.json").read_bytes()
        return {
            "https://sigstore.example": url,
            "https://log.example.com": url,
            "--root-fingerprint HEX": f"--root-fingerprint {hashlib.sha256(root).hexdigest()}",
            "sha256:HEX": f"sha256:{hashlib.sha256(b'app.bin').hexdigest()}",
            "--issuer URL": f"--issuer {url}/oidc",
        }

    def run(self, script: str) -> subprocess.CompletedProcess[str]:
        script = fill_in(script.replace(ADDRESS, self.instance.base_url), self.values())
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=self.folder, env=self.environment, capture_output=True, text=True, check=False, timeout=120,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
        assert done.returncode == 0, f"{script}\n{done.stdout}{done.stderr}"
        assert "Traceback" not in done.stderr
        return done


@pytest.fixture
def own_instance(tmp_path):
    running = RunningInstance(tmp_path / "data", tmp_path)
    yield running
    assert running.stop() == 0


@pytest.fixture
def desk(own_instance, tmp_path):
    return Desk(tmp_path, own_instance)


def blocks(path: Path) -> list[Block]:
    return list(shell_blocks(path, ROOT))


def prepare(desk: Desk, document: str) -> None:
    """What a document says that its reader has already."""
    # `hallmark up` notes its directory for this machine's user
    shutil.copytree(desk.instance.home / ".local" / "state", desk.folder.parent / "home" / ".local" / "state")
    if document.startswith("docs/howto"):
        desk.environment["SIGSTORE_ID_TOKEN"] = desk.instance.token(EMAIL)
    if document == "docs/howto/sign-and-verify.md":
        desk.run(f"hallmark context add work {ADDRESS} --root-fingerprint HEX")
    if document == "docs/howto/signatures-of-other-tools.md":
        require_program("openssl", "apt-get install openssl")
        desk.run(_SIGNED_ELSEWHERE)


_SIGNED_ELSEWHERE = f"""
openssl ecparam -name prime256v1 -genkey -noout -out private.pem
openssl ec -in private.pem -pubout -out key.pem
openssl dgst -sha256 -sign private.pem app.bin | base64 -w0 > app.bin.sig
hallmark sign --instance {ADDRESS} app.bin
tr -d '\\n' < trusted_root.json > roots.jsonl
"""


@pytest.mark.parametrize("path", [path for path in DOCUMENTS if blocks(path)], ids=lambda path: path.name)
def test_the_commands_of_a_document_work_in_their_order(desk, path):
    prepare(desk, str(path.relative_to(ROOT)))
    for block in blocks(path):
        if block.first not in LEFT_OUT:
            desk.run(block.script)


def test_every_block_that_is_left_out_is_there():
    there = {block.first for path in DOCUMENTS for block in blocks(path)}
    assert set(LEFT_OUT) - there == set()


def test_the_commands_that_up_prints_work_in_their_order(tmp_path):
    """Each line under a client's name is a command; those with a NAME in them are for other machines."""
    process = subprocess.Popen(
        [*HALLMARK, "up", "--data", str(tmp_path / "data"), "--listen", "127.0.0.1:0"],
        env=isolated_environment(tmp_path), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        lines = iter(process.stdout.readline, "")
        commands = []
        for line in lines:
            if line.startswith("Stop it"):
                break
            words = line[19:].strip()
            if words.startswith(("hallmark ", "cosign ", "sigstore ")):
                commands.append(words)
        assert len(commands) >= 8
        home = tmp_path / "desk"
        home.mkdir()
        fake = RunningInstance.__new__(RunningInstance)
        fake.root, fake.base_url = tmp_path / "data", ADDRESS
        desk = Desk(home, fake)
        desk.environment["HOME"] = str(tmp_path)  # the same user's, so that the instance is found by its URL
        desk.run("\n".join(commands))
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
