"""Streams that are closed or wanted twice, and names of every kind."""

import json
import os
import subprocess

import pytest
from tests.support.transcript import HALLMARK
from tests.support.world import EMAIL, OIDC_ISSUER

WHO = ("--trusted-root", "root.json", "--identity", EMAIL, "--issuer", OIDC_ISSUER)


def run(folder, environment, command: str) -> subprocess.CompletedProcess[str]:
    """Run a command line of a shell; `hallmark` in it is the command under test."""
    line = command.replace("hallmark", " ".join(HALLMARK))
    return subprocess.run(
        ["bash", "-c", line], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("closed", ["<&-", "<&- >&2"])
def test_a_closed_input_is_not_an_empty_one(folder, environment, closed):
    done = run(folder, environment, f"hallmark verify - --bundle app.sigstore.json {' '.join(WHO)} {closed}")
    assert done.returncode == 2
    assert "cannot read -: bad file descriptor" in done.stderr


def test_a_closed_input_does_not_matter_to_who_reads_none(folder, environment):
    done = run(folder, environment, f"hallmark verify app {' '.join(WHO)} <&-")
    assert done.returncode == 0, done.stderr


def test_an_empty_input_can_be_verified(folder, environment):
    done = run(
        folder, environment, f"hallmark verify - --bundle app.sigstore.json {' '.join(WHO)} </dev/null"
    )
    assert done.returncode == 1
    assert "e3b0c442" in done.stderr


@pytest.mark.parametrize("token", ["-", "/dev/stdin"])
def test_token_and_data_cannot_come_from_one_stream(folder, environment, token):
    (folder / "config.json").write_text("{}")
    line = f"echo x | hallmark sign --trust-config config.json --identity-token {token} --bundle b.json -"
    done = run(folder, environment, line)
    assert done.returncode == 2
    assert "cannot both come from one stream" in done.stderr


def test_the_pinned_command_names_a_file_that_looks_like_an_option(folder, environment):
    done = run(folder, environment, "hallmark verify --trusted-root root.json -- --strange")
    assert done.returncode == 4
    pinned = done.stderr.partition("if you trust this signer: ")[2].strip()
    again = run(folder, environment, pinned)
    assert again.returncode == 0, again.stderr


def test_json_holds_no_lone_surrogate(folder, environment):
    name = os.fsdecode(b"bad\xff name")
    (folder / name).write_bytes(b"x")
    done = subprocess.run(
        [*HALLMARK, "verify", name, *WHO, "--json"],
        cwd=folder, env=environment, capture_output=True, check=False,
    )  # fmt: skip
    told = json.loads(done.stdout)["results"][0]["file"]
    assert told.encode("utf-8") == b"bad? name"


def test_a_file_of_another_kind_is_still_signed_with_the_folder(folder, environment):
    """Only what holds nothing but Sigstore bundles is left out: a git bundle is a file like others."""
    from hallmark.cli.sign_jobs import find_jobs

    release = folder / "release"
    release.mkdir()
    for name in ("app.bundle", "app.provenance", "app", "app.sigstore.json", "app.sigstore.jsonl"):
        (release / name).write_bytes(b"x")
    jobs = find_jobs((release,), None, recursive=True)
    assert [job.path.name for job in jobs] == ["app", "app.bundle", "app.provenance"]


@pytest.mark.parametrize("source", ["root.json", "- <root.json", "<(cat root.json)"])
def test_trust_documents_are_inspected_wherever_they_come_from(folder, environment, source):
    done = run(folder, environment, f"hallmark inspect --json {source}")
    assert json.loads(done.stdout)["kind"] == "a trusted root"


def test_each_of_several_trusted_roots_is_inspected(folder, environment):
    root = json.loads((folder / "root.json").read_bytes())
    (folder / "roots.jsonl").write_text(json.dumps(root) + "\n" + json.dumps(root | {"more": 1}) + "\n")
    found = json.loads(run(folder, environment, "hallmark inspect --json roots.jsonl").stdout)
    assert found["kind"] == "JSON lines"
    assert [item.get("unknownFields") for item in found["documents"]] == [None, ["more"]]
    assert "more" in run(folder, environment, "hallmark inspect roots.jsonl").stdout
