"""Where an instance listens, and what it is called for ever."""

import os
import socket
import stat
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from tests.support.programs import give_up

from hallmark.errors import ConfigurationError
from hallmark.instance.directory import install
from hallmark.instance.listening import (
    Address,
    Reservation,
    check_loopback,
    check_public_url,
    parse_listen,
)
from hallmark.wiring.application import open_application
from hallmark.wiring.create import create_instance
from hallmark.wiring.layout import VERSION, InstanceFile, Layout
from hallmark.wiring.shards import Shard

NOBODY, OTHER_GROUP = 65534, 54321


@pytest.mark.parametrize(
    "url",
    [
        *("http://127.0.0.1:8080", "https://localhost", "http://[::1]:8080", "http://127.0.0.1:8080/"),
        *("http://localhost:8080/x", "https://a.localhost/team/my-sigstore/", "http://localhost/api2"),
        "http://localhost/" + "x" * 63,
    ],
)
def test_takes_a_base_url_and_drops_its_final_slash(url):
    assert check_public_url(url) == url.removesuffix("/")


@pytest.mark.parametrize(
    "url",
    [
        "http://[",
        "http://127.0.0.1:99999",
        "http://127.0.0.1:",
        "http://127.0.0.1:8080#x",
        "http://127.0.0.1:8080?",
        "http://127.0.0.1:8080//",
        "http://127.0.0.1:8080\n",
        "http://user@127.0.0.1:8080",
        "http://LOCALHOST:8080",
        "ftp://127.0.0.1",
        *("http://localhost/A", "http://localhost/a_b", "http://localhost/a--b", "http://localhost/-a"),
        *(
            "http://localhost/a//b",
            "http://localhost/a/../b",
            "http://localhost/a%2fb",
            "http://localhost/a?b",
        ),
        *(
            "http://localhost/api",
            "http://localhost/oidc/x",
            "http://localhost/.well-known",
            "http://localhost/tile",
        ),
        *("http://localhost/" + "x" * 64, "http://127.0.0.1/x", "http://[::1]/x"),
        "127.0.0.1:8080",
        "",
    ],
)
def test_refuses_a_public_url_that_no_service_could_go_by(url):
    with pytest.raises(ConfigurationError) as refused:
        check_public_url(url)
    assert refused.value.code == "bad_url"


@pytest.mark.parametrize("host", ["\0", "é" * 70, "a..b"], ids=["zero", "long", "empty label"])
def test_refuses_a_host_that_is_no_name(host):
    with pytest.raises(ConfigurationError) as refused:
        Reservation(Address(host, 0))
    assert refused.value.code == "bad_address"


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("localhost:8080", Address("localhost", 8080)),
        ("[::1]:0", Address("::1", 0)),
        ("127.0.0.1:65535", Address("127.0.0.1", 65535)),
        ("unix:/run/h.sock", Address("unix:/run/h.sock", 0)),
    ],
)
def test_reads_an_address_to_listen_on(text, address):
    assert parse_listen(text) == address


@pytest.mark.parametrize(
    "text", ["8080", ":8080", "host:", "host:65536", "host:" + "9" * 5000, "unix:", "unix:\0"]
)
def test_refuses_what_is_no_address_to_listen_on(text):
    with pytest.raises(ConfigurationError) as refused:
        parse_listen(text)
    assert refused.value.code == "bad_address"


def test_a_name_is_bound_by_one_of_its_addresses():
    reservation = Reservation(Address("localhost", 0), loopback=True)
    try:
        assert reservation.bound.host in {"127.0.0.1", "::1"}
        assert reservation.address == Address("localhost", reservation.bound.port)
    finally:
        reservation.close()


def test_a_port_is_held_for_one_instance_before_anybody_listens_on_it():
    holder = Reservation(Address("127.0.0.1", 0))
    try:
        with pytest.raises(ConfigurationError) as refused:
            Reservation(holder.address)
        assert refused.value.code == "port_in_use"
        with socket.socket() as worker:  # what a worker does
            worker.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            worker.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            worker.bind((holder.bound.host, holder.bound.port))
            worker.listen()
    finally:
        holder.close()


def test_a_port_is_held_although_connections_to_it_have_ended_a_moment_ago():
    with socket.socket() as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        address = Address(*listening.getsockname())
        with socket.create_connection((address.host, address.port)):
            listening.accept()[0].close()  # the side that closes first keeps the port in TIME_WAIT
    Reservation(address).close()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1"])
def test_the_development_identity_provider_is_held_on_loopback_alone(host):
    with pytest.raises(ConfigurationError) as refused:
        Reservation(Address(host, 0), loopback=True)
    assert refused.value.code == "not_loopback"


@pytest.mark.parametrize("host", ["localhost", "sigstore.localhost", "127.9.9.9", "::1"])
def test_takes_the_names_of_this_machine_for_a_public_host(host):
    check_loopback(host)


@pytest.mark.parametrize("host", ["localhost.example.com", "notlocalhost", "10.0.0.1", "", "::2"])
def test_refuses_any_other_public_host(host):
    with pytest.raises(ConfigurationError):
        check_loopback(host)


def test_a_unix_socket_is_for_its_owner_and_group_and_goes_with_its_holder(tmp_path):
    path = tmp_path / "s"
    reservation = Reservation(Address(f"unix:{path}", 0))
    assert stat.S_IMODE(path.stat().st_mode) == 0o660
    with pytest.raises(ConfigurationError) as refused:
        Reservation(Address(f"unix:{path}", 0))
    assert refused.value.code == "port_in_use"
    reservation.close()
    assert not path.exists()


def test_a_unix_socket_that_a_killed_process_left_is_replaced(tmp_path):
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    reservation = Reservation(Address(f"unix:{path}", 0))
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
    reservation.close()


def test_a_file_in_the_place_of_a_unix_socket_is_left_alone(tmp_path):
    path = tmp_path / "s"
    path.write_text("precious")
    with pytest.raises(ConfigurationError) as refused:
        Reservation(Address(f"unix:{path}", 0))
    assert refused.value.code == "bad_address"
    assert path.read_text() == "precious"


@pytest.mark.parametrize(("length", "taken"), [(107, True), (108, False)])
def test_a_unix_socket_has_the_path_that_the_system_allows(tmp_path, monkeypatch, length, taken):
    monkeypatch.chdir(tmp_path)
    address = Address("unix:" + "s" * length, 0)
    if taken:
        Reservation(address).close()
        return
    with pytest.raises(ConfigurationError) as refused:
        Reservation(address)
    assert refused.value.code == "bad_address"


def test_no_two_instances_of_a_host_have_the_same_names():
    paths = ["", "/a", "/b", "/a/b", "/a-b", "/b/a", "/2"]
    instances = [
        InstanceFile(version=VERSION, base_url=f"http://localhost{path}", host="::1", port=1)
        for path in paths
    ]
    shards = [(Shard(number), item) for item in instances for number in (1, 2, 12)]
    assert len({shard.origin(item) for shard, item in shards}) == len(shards)
    assert len({shard.trusted_url(item) for shard, item in shards}) == len(shards)
    assert len({item.ctlog_origin for item in instances}) == len(instances)
    for shard, item in shards:  # clients find the origin in the URL
        assert urlsplit(shard.trusted_url(item)).hostname == shard.origin(item)


def test_an_instance_with_a_host_alone_keeps_its_names():
    instance = InstanceFile(version=VERSION, base_url="http://localhost:8080", host="::1", port=1)
    names = [(Shard(n).origin(instance), Shard(n).trusted_url(instance)) for n in (1, 2)]
    assert names == [("localhost", "http://localhost:8080"), ("2.localhost", "http://2.localhost")]
    assert instance.ctlog_origin == "localhost:8080/ctlog"


def test_every_route_of_an_instance_is_taken_as_the_first_part_of_a_path(tmp_path):
    layout = Layout(tmp_path)
    instance = InstanceFile(version=VERSION, base_url="http://localhost:8080", host="::1", port=1)
    create_instance(layout, instance, now=datetime.now(UTC))
    install(layout)
    dispatcher = open_application(layout, on_failure=os.abort)._app
    firsts = {route.path.split("/")[1] for route in dispatcher._cold.routes} | {"shards"}
    for first in firsts - {"", "{path:path}"}:
        with pytest.raises(ConfigurationError):
            check_public_url(f"http://localhost/{first}")


@pytest.fixture
def open_folder():
    """A folder that every user gets to; pytest's own are closed to all but one."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o777)
        yield folder


@pytest.fixture
def group(open_folder):
    """Another group than that of this process, which the folder is given."""
    if os.geteuid() != 0:
        give_up("giving a folder to another group needs root")
    os.chown(open_folder, -1, OTHER_GROUP)
    return OTHER_GROUP


def test_a_socket_has_the_group_of_its_folder(open_folder, group):
    reservation = Reservation(parse_listen(f"unix:{open_folder}/s"))
    found = (open_folder / "s").stat()
    reservation.close()
    assert (found.st_gid, stat.S_IMODE(found.st_mode)) == (group, 0o660)


def test_a_socket_whose_user_is_no_member_keeps_the_users_group(open_folder, group):
    os.setegid(NOBODY)
    os.seteuid(NOBODY)
    try:
        reservation = Reservation(parse_listen(f"unix:{open_folder}/s"))
        found = (open_folder / "s").stat()
        reservation.close()
    finally:
        os.seteuid(0)
        os.setegid(0)
    assert (found.st_gid, stat.S_IMODE(found.st_mode)) == (NOBODY, 0o660)


@pytest.mark.parametrize("kind", ["port", "socket"])
def test_of_two_that_hold_an_address_at_the_same_moment_one_does(tmp_path, kind):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = Address("127.0.0.1", port) if kind == "port" else Address(f"unix:{tmp_path / 's'}", 0)

    def hold(barrier: threading.Barrier) -> Reservation | str:
        barrier.wait()
        try:
            return Reservation(address)
        except ConfigurationError as error:
            return error.code

    with ThreadPoolExecutor(2) as pool:
        for _ in range(50):
            barrier = threading.Barrier(2)
            held = list(pool.map(hold, [barrier, barrier]))
            assert [item for item in held if isinstance(item, str)] == ["port_in_use"]
            for item in held:
                if isinstance(item, Reservation):
                    item.close()
