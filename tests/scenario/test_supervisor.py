"""The parent of the workers: whom it takes for dead."""

import time
from datetime import UTC, datetime

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
        supervisor = Supervisor(layout.root, 1)
        (worker,) = supervisor._workers
        time.sleep(3.0)
        supervisor.serve()
        worker.listen()
        supervisor.stop()
        reservation.close()
    assert worker.process.returncode == 0
