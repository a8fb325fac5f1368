import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from hallmark.client.artifact import digest_file, digest_file_with, is_digest, parse_digest
from hallmark.core.algorithms import SHA2_256, SHA2_384, SHA2_512
from hallmark.errors import ConfigurationError

GIGABYTE = 1 << 30
_MEASURE = """
import sys
from pathlib import Path
from hallmark.client.artifact import digest_file
# not ru_maxrss: it counts the memory of the process that started this one
peak = lambda: int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0])
before = peak()
digest_file(Path(sys.argv[1]))
print(peak() - before, peak())
"""


@pytest.mark.parametrize("hash_algorithm", [SHA2_256, SHA2_384, SHA2_512])
@pytest.mark.parametrize("size", [0, 1, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, 3 << 20])
def test_hashes_a_file_of_any_size(tmp_path, hash_algorithm, size):
    path = tmp_path / "file"
    path.write_bytes(b"x" * size)
    digest = digest_file(path, hash_algorithm)
    assert digest.value == hashlib.new(hash_algorithm.name, b"x" * size).digest()
    assert str(digest) == f"{hash_algorithm.name}:{digest.value.hex()}"


def test_hashes_a_file_of_a_gigabyte_in_little_memory(tmp_path):
    path = tmp_path / "sparse"
    with path.open("wb") as file:
        file.truncate(GIGABYTE)
    done = subprocess.run(
        [sys.executable, "-c", _MEASURE, str(path)], capture_output=True, text=True, check=True
    )
    grown, peak = map(int, done.stdout.split())
    assert grown < 8 * 1024, "kilobytes more while hashing"
    assert peak < 64 * 1024, "kilobytes in all"


@pytest.mark.parametrize(
    ("name", "code"), [("none", "file_not_found"), (".", "is_a_directory"), ("pipe", "not_a_file")]
)
def test_says_what_is_wrong_with_a_file(tmp_path, name, code):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ConfigurationError) as caught:
        digest_file(tmp_path / name)
    assert caught.value.code == code
    assert caught.value.hint


def test_refuses_a_file_that_changes_while_it_is_read(tmp_path, monkeypatch):
    path = tmp_path / "file"
    path.write_bytes(b"x" * 100)
    real_open = Path.open

    def open_and_grow(self, *arguments, **options):
        file = real_open(self, *arguments, **options)
        with real_open(path, "ab") as other:
            other.write(b"more")
        return file

    monkeypatch.setattr(Path, "open", open_and_grow)
    with pytest.raises(ConfigurationError) as caught:
        digest_file(path)
    assert caught.value.code == "file_changed"


def test_reads_digests():
    assert parse_digest("sha256:" + "AB" * 32).value == b"\xab" * 32
    assert parse_digest("sha512:" + "ab" * 64).hash_algorithm == SHA2_512


@pytest.mark.parametrize(
    "text", ["", "sha256:", "sha256:" + "a" * 63, "md5:" + "ab" * 16, "sha256:" + "zz" * 32]
)
def test_refuses_what_is_no_digest(text):
    with pytest.raises(ConfigurationError):
        parse_digest(text)


def test_a_file_named_like_a_digest_is_a_file(tmp_path, monkeypatch):
    name = "sha256:" + "ab" * 32
    monkeypatch.chdir(tmp_path)
    assert is_digest(name)
    Path(name).touch()
    assert not is_digest(name)
    assert not is_digest("app.bin")


def test_who_watches_is_told_how_much_is_done(tmp_path):
    size, told = (2 << 20) + 7, []
    (tmp_path / "file").write_bytes(bytes(size))
    digest_file_with(tmp_path / "file", (SHA2_256,), lambda done, total: told.append((done, total)))
    assert [total for _, total in told] == [size] * len(told)
    assert [done for done, _ in told] == [1 << 20, 2 << 20, size]
