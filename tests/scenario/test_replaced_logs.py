"""A restore that ends logs and begins others may be killed anywhere: the next one finishes it."""

import os
import shutil
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.support.killed import run_killed
from tests.support.site import Site, mirror_all

from hallmark.core.keys import PublicKey
from hallmark.core.trusted_root import parse_trusted_root
from hallmark.errors import TrustError
from hallmark.instance.directory import locked_directory
from hallmark.wiring.checking import log_names, open_log
from hallmark.wiring.health import examine_instance
from hallmark.wiring.layout import Layout
from hallmark.wiring.place import note_place
from hallmark.wiring.publishing import Publishing
from hallmark.wiring.restoring import Plan, restore_instance
from hallmark.wiring.rotation import rotate_tlog

REPLACE = Plan(places=(), replace=True)
CERTAIN = Plan(places=(), nothing_newer=True)
WHOLE = 30  # every so many of them sign and verify too


@pytest.fixture(scope="module")
def lost(tmp_path_factory):
    """A site that signed one file and stopped; its directory stands for an older copy."""
    made = Site(tmp_path_factory.mktemp("site"))
    made.sign("first")
    made.stop()
    made.data.rename(made.folder / "backup")
    yield made
    made.stop()


def restore(root: Path, plan: Plan) -> None:
    with locked_directory(root) as layout:
        restore_instance(layout, plan, datetime.now(UTC), lambda _name: lambda _done, _total: None)


def check_well(root: Path) -> None:
    """Start the instance as far as logs go, and ask it for all that it can find wrong with itself."""
    layout = Layout(root)
    Publishing(layout, layout.read_instance(), on_failure=os.abort).recover()
    assert [item for item in examine_instance(layout, datetime.now(UTC)) if not item.ok] == []
    assert not list(root.rglob("*next*"))
    assert not (root / "restoring").exists()


@pytest.mark.parametrize("second", [REPLACE, CERTAIN], ids=["replace", "certain"])
def test_a_replacement_that_was_killed_is_finished_by_the_next_restore(lost, second):
    number, killed = 0, True
    while killed:
        shutil.rmtree(lost.data, ignore_errors=True)
        shutil.copytree(lost.folder / "backup", lost.data)
        killed = run_killed(lambda: restore(lost.data, REPLACE), lost.data, number)
        if killed:
            restore(lost.data, second)
        check_well(lost.data)
        ended = [path.name for path in lost.data.glob("ctlog-ended-*")]
        replaced = (("tlog", "shards/2", "ctlog"), ["ctlog-ended-1"])
        decided = (log_names(Layout(lost.data)), ended) == replaced
        assert decided or (
            second is CERTAIN and (log_names(Layout(lost.data)), ended) == (("tlog", "ctlog"), [])
        )
        if number % WHOLE == 0:
            check_signs(lost)
        number += 1
    assert decided
    assert number > 40


def check_signs(site: Site) -> None:
    site.start()
    (site.folder / "second.sigstore.json").unlink(missing_ok=True)
    site.sign("second")
    site.stop()
    for name in ("first", "second"):
        site.verify(name)


def test_a_copy_of_a_half_restored_directory_is_in_doubt_as_any_other(lost):
    shutil.rmtree(lost.data, ignore_errors=True)
    shutil.copytree(lost.folder / "backup", lost.data)
    number = 0
    while not (lost.data / "ctlog-ended-1").exists():
        number += 1
        run_killed(lambda: restore(lost.data, REPLACE), lost.data, number)
    lost.data.rename(lost.folder / "half")
    shutil.copytree(lost.folder / "half", lost.data)
    assert lost.restore()["error"]["code"] == "newer_entries_not_ruled_out"
    assert lost.restore("--replace-logs")["ok"]
    check_well(lost.data)


def test_a_log_that_was_ended_takes_no_more_entries(lost):
    shutil.rmtree(lost.data, ignore_errors=True)
    shutil.copytree(lost.folder / "backup", lost.data)
    restore(lost.data, REPLACE)
    heads = {}
    for name in ("tlog", "shards/2"):
        with closing(open_log(Layout(lost.data), name).store()) as store:
            heads[name] = store.head()
    assert {name: head.frozen for name, head in heads.items()} == {"tlog": True, "shards/2": False}
    assert b"frozen" not in heads["tlog"].checkpoint  # that it may have had more is not signed away


@pytest.mark.parametrize("second", [None, CERTAIN], ids=["the same", "certain"])
def test_a_replacement_after_a_lost_shard_may_be_killed_anywhere_too(lost, second):
    """Every third change: the others are between two that are tried."""
    shutil.rmtree(lost.data, ignore_errors=True)
    shutil.copytree(lost.folder / "backup", lost.data)
    note_place(Layout(lost.data))
    rotate_tlog(Layout(lost.data), datetime.now(UTC))
    check_well(lost.data)
    shutil.rmtree(lost.mirror, ignore_errors=True)
    mirror_all(lost)
    key = trusted(lost.data)["http://2.127.0.0.1"]
    plan = Plan(places=(str(lost.mirror),), replace=True)
    number, killed = 0, True
    while killed:
        shutil.rmtree(lost.data)
        shutil.copytree(lost.folder / "backup", lost.data)
        killed = run_killed(lambda: restore(lost.data, plan), lost.data, number)
        decided = b'"lost":[{' in read(lost.data / "restoring")
        if killed:
            restore(lost.data, second if second and decided else plan)
        check_well(lost.data)
        assert log_names(Layout(lost.data)) == ("tlog", "shards/3", "ctlog")
        assert trusted(lost.data)["http://2.127.0.0.1"] == key
        number += 3
    assert number > 40


def read(path: Path) -> bytes:
    return path.read_bytes() if path.exists() else b""


def trusted(root: Path) -> dict[str, PublicKey]:
    found = parse_trusted_root((root / "client" / "trusted_root.json").read_bytes())
    return {log.base_url: log.key for log in found.tlogs}


def test_a_copy_from_before_the_ct_log_was_replaced_does_not_go_on(lost):
    shutil.rmtree(lost.data, ignore_errors=True)
    shutil.copytree(lost.folder / "backup", lost.data)
    shutil.rmtree(lost.mirror, ignore_errors=True)
    mirror_all(lost)
    restore(lost.data, REPLACE)
    check_well(lost.data)
    key = ct_keys(lost.data)[1]
    shutil.rmtree(lost.mirror / "ctlog")
    ctlog = str(Layout(lost.data).public("ctlog"))
    trust = ("--trusted-root", str(lost.data / "client" / "trusted_root.json"))
    lost.tool.run("log", "mirror", ctlog, str(lost.mirror / "ctlog-2"), *trust)
    lost.put_back(lost.folder / "backup")
    with pytest.raises(TrustError, match=r"shows ctlog of this instance, .*/ctlog with 0 entries"):
        restore(lost.data, Plan(places=(str(lost.mirror),), nothing_newer=True))
    restore(lost.data, Plan(places=(str(lost.mirror),), replace=True))
    check_well(lost.data)
    assert ct_keys(lost.data)[1] == key
    assert len(ct_keys(lost.data)) == 3


def ct_keys(root: Path) -> list[PublicKey]:
    return [
        log.key for log in parse_trusted_root((root / "client" / "trusted_root.json").read_bytes()).ctlogs
    ]
