"""What moves on a terminal while a command works, and nowhere else."""

import os
import pty
import subprocess

import pytest
from tests.support.transcript import HALLMARK
from tests.support.world import EMAIL, OIDC_ISSUER

LARGE = 200 << 20


def on_a_terminal(folder, environment, *arguments: str) -> tuple[bytes, int]:
    """Run a command whose standard error is a terminal; gives what it wrote there, and its exit code."""
    ours, theirs = pty.openpty()
    try:
        with subprocess.Popen(
            [*HALLMARK, *arguments], cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=theirs
        ) as process:
            os.close(theirs)
            written = b""
            while True:
                try:
                    piece = os.read(ours, 4096)
                except OSError:  # the last writer has gone
                    break
                if not piece:
                    break
                written += piece
        return written, process.returncode
    finally:
        os.close(ours)


@pytest.fixture
def large(folder):
    (folder / "large").write_bytes(b"")
    os.truncate(folder / "large", LARGE)
    (folder / "large.sigstore.json").write_bytes((folder / "app.sigstore.json").read_bytes())
    return "large"


WHO = ("--trusted-root", "root.json", "--identity", EMAIL, "--issuer", OIDC_ISSUER)


def test_a_large_file_shows_how_far_it_is(folder, environment, large):
    written, code = on_a_terminal(folder, environment, "verify", large, *WHO)
    assert b"hashing: " in written
    assert f"of {LARGE:,} bytes".encode() in written
    assert written.index(b"hashing") < written.index(b"error")
    assert code == 1


@pytest.mark.parametrize("arguments", [("app",), ("large", "app"), ("large", "--json")])
def test_small_files_several_files_and_programs_see_nothing_move(folder, environment, large, arguments):
    written, _ = on_a_terminal(folder, environment, "verify", *arguments, *WHO)
    assert b"hashing" not in written


def test_where_nobody_looks_nothing_moves(folder, environment, large):
    done = subprocess.run(
        [*HALLMARK, "verify", large, *WHO], cwd=folder, env=environment, capture_output=True, check=False
    )
    assert b"hashing" not in done.stderr
