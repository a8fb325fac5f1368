"""Stores whose disk takes nothing: callers are told to come back, and nothing is half done."""

import errno
import os
import sqlite3
import threading
from pathlib import Path

import pytest
from tests.support.small_ca import SmallCa

from hallmark.adapters.storage.filesystem import FileObjectStore
from hallmark.adapters.storage.full_disk import refusing_unwritten
from hallmark.adapters.storage.grants import SqliteGrants
from hallmark.adapters.storage.issuers import ObjectIssuerStore
from hallmark.client.files import file_error
from hallmark.durable_files import naming
from hallmark.errors import ConfigurationError, Overloaded

FORM = {"client_id": "sigstore", "scope": "openid email"}


@pytest.fixture
def small(tmp_path):
    made = SmallCa(tmp_path)
    yield made
    made.close()


def test_an_issuer_that_finds_no_room_is_stored_later(tmp_path):
    """What it would write stands on a device that is always full."""
    objects = FileObjectStore(tmp_path)
    objects.put("something", b"")
    (tmp_path / ".unfinished" / f"{os.getpid()}-{threading.get_ident()}").symlink_to("/dev/full")
    issuers = ObjectIssuerStore(objects)
    with pytest.raises(Overloaded) as caught:
        issuers.put_issuer(b"f", b"certificate")
    assert (caught.value.code, caught.value.retry_after) == ("storage_full", 30)
    assert issuers.get_issuer(b"f") is None
    issuers.put_issuer(b"f", b"certificate")  # the device went with the write that failed
    assert issuers.get_issuer(b"f") == b"certificate"


def test_a_login_that_finds_no_room_is_refused_and_works_later(small):
    database = small.grants._database
    (pages,) = database.execute("PRAGMA page_count").fetchone()
    database.execute(f"PRAGMA max_page_count={pages}")
    answers = [small.post_form("/oidc/device/code", FORM) for _ in range(200)]
    refused = answers[-1]
    assert (refused.status, refused.headers["retry-after"]) == (503, "30")
    assert {answer.status for answer in answers} == {200, 503}
    database.execute("PRAGMA max_page_count=100000")
    assert small.post_form("/oidc/device/code", FORM).status == 200


def test_a_login_page_that_finds_no_room_says_so(small):
    database = small.grants._database
    database.execute("PRAGMA query_only=1")
    form = {
        **FORM,
        "redirect_uri": "http://127.0.0.1:1/",
        "response_type": "code",
        "code_challenge": "x" * 43,
        "code_challenge_method": "S256",
        "email": "alice@example.com",
    }
    refused = small.post_form("/oidc/auth", form)
    assert (refused.status, refused.headers["retry-after"]) == (503, "30")
    database.execute("PRAGMA query_only=0")
    assert small.post_form("/oidc/auth", form).status == 303


@pytest.mark.parametrize("write", ["add", "extend", "replace", "take"])
def test_every_change_of_a_grant_says_that_nothing_was_written(tmp_path, write):
    grants = SqliteGrants(tmp_path / "g")
    grants.add(b"k", b"v", kind="a", most=2, expires_at=10, now=0)
    grants._database.execute("PRAGMA query_only=1")
    calls = {
        "add": lambda: grants.add(b"l", b"v", kind="a", most=2, expires_at=10, now=0),
        "extend": lambda: grants.extend(b"k", expires_at=20, now=0),
        "replace": lambda: grants.replace(b"k", b"v", b"w", now=0),
        "take": lambda: grants.take(b"k", now=0),
    }
    with pytest.raises(Overloaded):
        calls[write]()
    grants._database.execute("PRAGMA query_only=0")
    assert grants.get(b"k", now=0) == b"v"
    calls[write]()
    grants.close()


def test_a_store_of_logins_that_is_damaged_may_be_deleted(tmp_path):
    (tmp_path / "g").write_bytes(b"no database" * 1000)
    with pytest.raises(ConfigurationError) as caught:
        SqliteGrants(tmp_path / "g")
    assert caught.value.code == "damaged_state"
    (tmp_path / "g").unlink()
    SqliteGrants(tmp_path / "g").close()


@pytest.mark.parametrize(
    ("number", "code"),
    [(errno.ENOSPC, "storage_full"), (errno.EDQUOT, "storage_full"), (errno.EROFS, "storage_read_only")],
)
def test_a_file_that_was_not_written_is_told_from_a_broken_disk(number, code):
    with pytest.raises(Overloaded) as caught, refusing_unwritten("it"):
        raise OSError(number, os.strerror(number))
    assert caught.value.code == code


@pytest.mark.parametrize("error", [OSError(errno.EIO, "broken"), sqlite3.DatabaseError("damaged")])
def test_an_error_that_leaves_unknown_what_was_written_passes(error):
    with pytest.raises(type(error)) as caught, refusing_unwritten("it"):
        raise error
    assert caught.value is error


def test_an_error_of_a_full_disk_names_the_file_and_the_folder(tmp_path):
    """A write names no file of its own accord."""
    target = tmp_path / "target"
    descriptor = os.open("/dev/full", os.O_WRONLY)
    with pytest.raises(OSError, match="No space left") as caught, naming(target):
        os.write(descriptor, b"x")
    os.close(descriptor)
    told = file_error(caught.value, Path(caught.value.filename), doing="use")
    assert told.code == "disk_full"
    assert told.message == f"cannot use {target}: the disk of {tmp_path} is full"


def test_an_error_that_names_its_file_keeps_the_name(tmp_path):
    with pytest.raises(FileNotFoundError) as caught, naming(tmp_path):
        (tmp_path / "missing").open()
    assert caught.value.filename == str(tmp_path / "missing")
