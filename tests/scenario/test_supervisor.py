"""The parent of the workers: whom it takes for dead."""

import os
import signal
import subprocess
import time
from datetime import UTC, datetime
from pathlib import Path

from tests.support.instance import HALLMARK, isolated_environment

from hallmark.instance import supervisor as supervision
from hallmark.instance.directory import install, locked_directory
from hallmark.instance.listening import Address, Reservation
from hallmark.instance.supervisor import Supervisor
from hallmark.wiring.create import create_instance
from hallmark.wiring.layout import VERSION, InstanceFile


def test_a_worker_that_waited_long_for_its_turn_is_not_taken_for_silent(tmp_path, monkeypatch):
    """Workers are made first; the recovery of large logs comes between that and their first word."""
    monkeypatch.setattr(supervision, "_SILENCE_SECONDS", 3.0)
    with locked_directory(tmp_path / "data") as layout:
        reservation = Reservation(Address("127.0.0.1", 0))
        address = reservation.address
        instance = InstanceFile(
            version=VERSION, base_url=address.base_url, host=address.host, port=address.port
        )
        create_instance(layout, instance, now=datetime.now(UTC))
        install(layout)
        supervisor = Supervisor(layout.root, 1, reservation.bound)
        (worker,) = supervisor._workers
        time.sleep(3.0)
        supervisor.serve()
        worker.listen()
        supervisor.stop()
        reservation.close()
    assert worker.process.returncode == 0


def test_ctrl_c_while_the_workers_still_import_ends_the_instance_in_order(tmp_path):
    starting = subprocess.Popen(
        [*HALLMARK, "up", "--data", str(tmp_path / "data"), "--listen", "127.0.0.1:0"],
        env=isolated_environment(tmp_path),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    children = Path(f"/proc/{starting.pid}/task/{starting.pid}/children")
    while starting.poll() is None and not children.read_text():
        time.sleep(0.01)
    os.killpg(starting.pid, signal.SIGINT)
    _, complaints = starting.communicate(timeout=60)
    assert (starting.returncode, complaints) == (0, "")
