"""Whose files an instance's are: commands of another user, an open umask, folders that were there before."""

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from tests.support.instance import HALLMARK, RunningInstance

from hallmark.adapters.storage.witness_state import SqliteWitnessState
from hallmark.errors import ConfigurationError
from hallmark.instance import ownership
from hallmark.instance.directory import locked_directory

OTHER = 54321
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can make files of another user")


@pytest.fixture
def data(tmp_path):
    """The directory of an instance that was stopped."""
    RunningInstance(tmp_path / "data", tmp_path).stop()
    return tmp_path / "data"


def everything(root: Path):
    for folder, folders, files in os.walk(root):
        for name in (*folders, *files):
            yield Path(folder) / name


def give_away(root: Path) -> None:
    for path in (root, *everything(root)):
        os.chown(path, OTHER, OTHER)


def hallmark(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*HALLMARK, *arguments], capture_output=True, text=True, timeout=60, check=False)


@as_root
@pytest.mark.parametrize(
    "command",
    [("up",), ("log", "rotate"), ("log", "freeze", "--shard", "1"), ("log", "reindex")],
    ids=" ".join,
)
def test_root_writes_nothing_in_the_instance_of_another_user(data, command):
    give_away(data)
    before = sorted(everything(data))
    refused = hallmark(*command, "--data", str(data), "--json")
    answer = json.loads(refused.stdout)["error"]
    assert (refused.returncode, answer["code"]) == (2, "not_the_owner")
    assert f"sudo -u '#{OTHER}'" in answer["hint"]
    assert sorted(everything(data)) == before
    assert {path.stat().st_uid for path in everything(data)} == {OTHER}


@as_root
def test_a_directory_of_another_user_is_not_locked(tmp_path):
    os.chown(tmp_path, OTHER, OTHER)
    with pytest.raises(ConfigurationError) as refused, locked_directory(tmp_path):
        pass
    assert refused.value.code == "not_the_owner"
    assert list(tmp_path.iterdir()) == []


@as_root
def test_a_file_that_another_user_left_is_named(data, monkeypatch):
    give_away(data)
    os.chown(data / "tlog" / "log.db", 0, 0)
    monkeypatch.setattr(os, "geteuid", lambda: OTHER)
    with pytest.raises(ConfigurationError, match=r"log\.db belongs to root") as refused:
        ownership.close_to_others(data)
    assert refused.value.code == "not_the_owner"


def test_what_is_made_while_the_directory_is_held_others_do_not_write(tmp_path):
    before = os.umask(0)
    try:
        with locked_directory(tmp_path / "data") as layout:
            (layout.root / "file").touch()
            assert (layout.root / "file").stat().st_mode & 0o777 == 0o644
    finally:
        os.umask(before)


def test_nothing_that_is_made_under_an_open_umask_in_an_existing_folder_is_open_to_others(tmp_path):
    root = tmp_path / "data"
    root.mkdir(mode=0o777)
    root.chmod(0o777)
    old = os.umask(0)
    try:
        instance = RunningInstance(root, tmp_path, "--workers", "2")
        instance.run("log", "rotate", "--data", str(root))
        instance.stop()
        instance = RunningInstance(root, tmp_path, listen=None)
    finally:
        os.umask(old)
    instance.stop()
    modes = {
        str(path.relative_to(root)): stat.S_IMODE(path.lstat().st_mode) for path in (root, *everything(root))
    }
    assert {name: oct(mode) for name, mode in modes.items() if mode & 0o022} == {}
    secret = {
        name: mode
        for name, mode in modes.items()
        if name.startswith(("keys", "client/token")) or name == "idp"
    }
    assert {name: oct(mode) for name, mode in secret.items() if mode & 0o077} == {}
    assert modes["tlog/public/checkpoint"] == 0o644  # a static web server may serve it


def test_what_was_open_to_others_is_closed_at_the_next_start_and_said(data, tmp_path):
    wide = [
        *(data, data / "tlog" / "public", data / "tlog" / "public" / "checkpoint"),
        *(path for path in (data / "tlog" / "public").rglob("*")),
        *(data / "keys", data / "client" / "token_secret", data / "idp", data / "tlog" / "log.db"),
    ]
    for path in wide:
        path.chmod(0o777)
    RunningInstance(data, tmp_path, listen=None).stop()
    assert [path for path in wide if path.stat().st_mode & 0o022] == []
    assert stat.S_IMODE((data / "client" / "token_secret").stat().st_mode) & 0o077 == 0
    assert f"{len(set(wide))} files and folders of {data} were open" in (tmp_path / "up.log").read_text()


READABLE = """
import json, os, sys
os.setgid(54321), os.setuid(54321)
def readable(path):
    try:
        os.close(os.open(path, os.O_RDONLY))
    except OSError:
        return False
    return True
print(json.dumps([path for path in json.load(sys.stdin) if readable(path)]))
"""
FOR_ANYBODY = (
    "ca/",
    "tsa/",
    "tuf/",
    "client/",
    "tlog/public/",
    "ctlog/public/",
    "instance.json",
    "shards.json",
    "place.json",
)


@pytest.fixture
def passable(tmp_path):
    """A folder whose parents all let other users through."""
    for folder in (tmp_path, *tmp_path.parents):
        if not folder.stat().st_mode & 0o001:
            folder.chmod(folder.stat().st_mode | 0o011)
        if str(folder) == "/tmp":
            break
    return tmp_path


def readable_by_another_user(root: Path) -> set[str]:
    files = [str(path) for path in everything(root) if path.is_file()]
    asked = subprocess.run(
        [sys.executable, "-c", READABLE], input=json.dumps(files), capture_output=True, text=True, check=True
    )
    return {str(Path(path).relative_to(root)) for path in json.loads(asked.stdout)}


@as_root
def test_another_user_can_open_nothing_that_the_instance_or_sqlite_locks(passable):
    """A read lock on a database's shared memory, or on a lock file, would stop all writers."""
    root = passable / "data"
    root.mkdir(mode=0o755)
    instance = RunningInstance(root, passable)
    try:
        instance.run("log", "rotate", "--data", str(root))
        assert (root / "tlog" / "log.db-shm").exists()
        found = readable_by_another_user(root)
    finally:
        instance.stop()
    assert "tlog/public/checkpoint" in found  # the question was worth asking
    assert "client/token_secret" not in found
    assert [name for name in found if not name.startswith(FOR_ANYBODY) and "/public/" not in name] == []


@as_root
def test_databases_and_locks_that_others_could_open_are_closed_at_the_next_start(data, tmp_path):
    left = [data / "tlog" / name for name in ("log.db", "log.db-wal", "log.db-shm", "log.lock")]
    for path in (*left, data / "trust.lock"):
        path.touch()
        path.chmod(0o644)
    RunningInstance(data, tmp_path, listen=None).stop()
    modes = {path: oct(path.stat().st_mode & 0o777) for path in (*left, data / "trust.lock") if path.exists()}
    assert set(modes.values()) == {"0o600"}
    assert len(modes) >= 3


def test_a_witness_keeps_what_it_remembers_to_itself(tmp_path):
    state = SqliteWitnessState(tmp_path / "heads.db")
    try:
        modes = {path.name: oct(path.stat().st_mode & 0o777) for path in tmp_path.iterdir()}
    finally:
        state.close()
    assert modes == dict.fromkeys(("heads.db", "heads.db-wal", "heads.db-shm"), "0o600")
