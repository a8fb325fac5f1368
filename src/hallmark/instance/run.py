"""A whole instance in the foreground: lock, first start, recovery, workers, publication, and a clean end."""

import logging
import os
import signal
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import msgspec

from hallmark.client.instances import note_instance
from hallmark.errors import ConfigurationError
from hallmark.instance.directory import install, is_new, locked_directory
from hallmark.instance.listening import (
    Address,
    Reservation,
    check_loopback,
    check_public_url,
    parse_listen,
)
from hallmark.instance.supervisor import Supervisor
from hallmark.wiring.create import create_instance
from hallmark.wiring.layout import VERSION, InstanceFile, Layout
from hallmark.wiring.publishing import Publishing
from hallmark.wiring.settings import Settings
from hallmark.wiring.shards import open_tlog
from hallmark.wiring.witnessing import change_setting

logger = logging.getLogger("hallmark.instance")

DEFAULT_LISTEN: Final = "127.0.0.1:8080"
_FAILED: Final = 70


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What `hallmark up` was told; None stands for what was not given.

    `witness_policy` is the content of the file; `witness_mode` is `strict`, `fail-open` or `off`;
    `grpc_listen` serves the log over gRPC too, in the place of what `settings` say.
    """

    root: Path
    listen: str | None = None
    public_url: str | None = None
    workers: int = 1
    witness_policy: bytes | None = None
    witness_mode: str | None = None
    grpc_listen: str | None = None
    settings: Settings = Settings()


class Running(msgspec.Struct, frozen=True):
    """An instance that serves."""

    instance: InstanceFile
    layout: Layout
    grpc_address: str = ""


def run_instance(options: Options, announce: Callable[[Running], None]) -> None:
    """Serve until SIGINT or SIGTERM; `announce` is called once everything serves.

    Must run in the main thread. Raises `ConfigurationError` for what the user can mend, `TrustError` for a
    log that must not go on.
    """
    stopping = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda _number, _frame: stopping.set())
    with locked_directory(options.root) as layout:
        new = is_new(layout)
        instance, reservation = _reserve(options, None if new else layout.read_instance())
        grpc = _reserve_grpc(options.grpc_listen or options.settings.grpc.listen)
        address = "" if grpc is None else grpc.address.netloc
        supervisor = Supervisor(layout.root, options.workers, grpc_address=address, settings=options.settings)
        try:
            if new:
                create_instance(layout, instance, now=datetime.now(UTC))
                install(layout)
            _, signer = open_tlog(layout, instance)
            change_setting(layout, signer, options.witness_policy, options.witness_mode)
            _serve(Running(instance, layout, address), supervisor, announce, stopping)
        finally:
            supervisor.stop()
            reservation.close()
            if grpc is not None:
                grpc.close()


def _serve(
    running: Running,
    supervisor: Supervisor,
    announce: Callable[[Running], None],
    stopping: threading.Event,
) -> None:
    layout, instance = running.layout, running.instance
    publishing = Publishing(layout, instance, on_failure=_fail)
    publishing.recover()
    supervisor.serve()
    publishing.start()
    note_instance(instance.base_url, layout.root.resolve())
    announce(running)
    supervisor.watch(stopping.is_set)
    supervisor.stop()
    publishing.stop()


def _reserve(options: Options, known: InstanceFile | None) -> tuple[InstanceFile, Reservation]:
    """Settle where to listen, and hold the port."""
    if known is None:
        address = parse_listen(options.listen or DEFAULT_LISTEN)
        check_loopback(address.host)
        reservation = Reservation(address)
        base_url = check_public_url(options.public_url or reservation.address.base_url)
        instance = _instance(base_url, reservation.address)
        check_loopback(instance.public_host)
        return instance, reservation
    _check_unchanged(options, known)
    return known, Reservation(Address(known.host, known.port))


def _reserve_grpc(listen: str | None) -> Reservation | None:
    """Hold the port for gRPC, where it is asked for; raises `ConfigurationError`."""
    if listen is None:
        return None
    if find_spec("grpc_reflection") is None:
        raise ConfigurationError(
            "gRPC is not installed",
            code="missing_extra",
            hint="install hallmark-sigstore[grpc], or leave --grpc-listen out",
        )
    address = parse_listen(listen)
    check_loopback(address.host)
    return Reservation(address)


def _instance(base_url: str, address: Address) -> InstanceFile:
    return InstanceFile(version=VERSION, base_url=base_url, host=address.host, port=address.port)


def _check_unchanged(options: Options, known: InstanceFile) -> None:
    """Refuse what would change the public URL: certificates, logs and clients carry it."""
    hint = "leave --listen and --public-url out, or make another instance with another --data"
    if options.public_url is not None and check_public_url(options.public_url) != known.base_url:
        raise ConfigurationError(
            f"the instance is {known.base_url} for good, not {options.public_url}",
            code="public_url_is_fixed",
            hint=hint,
        )
    if options.listen is None:
        return
    asked = parse_listen(options.listen)
    if asked.host != known.host or asked.port not in (0, known.port):
        raise ConfigurationError(
            f"the instance is {known.base_url} for good and listens on {known.host}:{known.port}, "
            f"not {options.listen}",
            code="public_url_is_fixed",
            hint=hint,
        )


def _fail(_error: BaseException) -> None:
    os._exit(_FAILED)
