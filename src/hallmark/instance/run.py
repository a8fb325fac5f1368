"""A whole instance in the foreground: lock, first start, recovery, workers, publication, and a clean end."""

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import msgspec

from hallmark.client.instances import note_instance
from hallmark.errors import ConfigurationError, HallmarkError
from hallmark.instance.directory import install, is_new, locked_directory
from hallmark.instance.listening import (
    Address,
    Bound,
    Reservation,
    check_loopback,
    check_public_url,
    parse_listen,
)
from hallmark.instance.logs import set_up_logs
from hallmark.instance.stopping import Stopped, Stopping
from hallmark.instance.supervisor import Supervisor
from hallmark.wiring.create import create_instance
from hallmark.wiring.layout import VERSION, InstanceFile, Layout
from hallmark.wiring.publishing import Publishing
from hallmark.wiring.settings import Settings
from hallmark.wiring.shards import open_tlog
from hallmark.wiring.witnessing import change_setting, check_setting

logger = logging.getLogger("hallmark.instance")

DEFAULT_LISTEN: Final = "127.0.0.1:8080"
_FAILED: Final = 70


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What `hallmark up` was told; None stands for what was not given.

    `read_settings` reads the settings again, when SIGHUP asks for it.
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
    read_settings: Callable[[], Settings] | None = None


class Running(msgspec.Struct, frozen=True):
    """An instance that serves."""

    instance: InstanceFile
    layout: Layout
    grpc_address: str = ""


def run_instance(options: Options, announce: Callable[[Running], None]) -> None:
    """Serve until SIGINT or SIGTERM; `announce` is called once everything serves.

    It may be told to end at any moment, while it starts and while it stops too. Must run in the main thread.
    Raises `ConfigurationError` for what the user can change, `TrustError` for a log that must not go on.
    """
    _check_installed()
    stopping = Stopping()
    set_up_logs(options.settings.log_level, options.settings.log_file)
    with suppress(Stopped), locked_directory(options.root) as layout:
        new = is_new(layout)
        with _reserved(options, None if new else layout.read_instance()) as held:
            supervisor = Supervisor(
                layout.root,
                options.workers,
                held.bound,
                grpc_address=held.grpc_address,
                settings=options.settings,
            )
            try:
                if new:
                    check_setting(layout, options.witness_policy, options.witness_mode)
                    create_instance(layout, held.instance, now=datetime.now(UTC))
                    install(layout)
                _, signer = open_tlog(layout, held.instance)
                change_setting(layout, signer, options.witness_policy, options.witness_mode)
                running = Running(held.instance, layout, held.grpc_address)
                _serve(running, supervisor, announce, stopping, options)
            finally:
                supervisor.stop(stopping.pressed)


def _check_installed() -> None:
    """Look for what only the workers import: none of them could say in time what is missing."""
    for module in ("granian", "joserfc", "starlette", "uvloop"):
        if find_spec(module) is None:
            raise ModuleNotFoundError(f"{module} is not installed", name=module)


def _serve(
    running: Running,
    supervisor: Supervisor,
    announce: Callable[[Running], None],
    stopping: Stopping,
    options: Options,
) -> None:
    layout, instance = running.layout, running.instance
    publishing = Publishing(layout, instance, on_failure=_fail, settings=options.settings)
    publishing.recover()
    supervisor.serve()
    stopping.serve_on()
    publishing.start()
    _note(instance.base_url, layout)
    announce(running)
    supervisor.watch(stopping.asked, lambda: _settings_to_load(options, stopping))
    supervisor.stop(stopping.pressed)
    publishing.stop()


def _settings_to_load(options: Options, stopping: Stopping) -> Settings | None:
    """Read the settings again where SIGHUP asked for it; wrong ones are told, and the old ones stay."""
    if not stopping.hung_up() or options.read_settings is None:
        return None
    try:
        settings = options.read_settings()
        set_up_logs(settings.log_level, settings.log_file)
    except HallmarkError as error:
        logger.error("the settings stay as they are: %s", error)
        return None
    logger.info("the settings were read again; workers that have them take the place of the others")
    return settings


def _note(base_url: str, layout: Layout) -> None:
    """Note where the instance stands, for commands on this machine; it does without where that fails."""
    try:
        note_instance(base_url, layout.root.resolve())
    except HallmarkError as error:  # a home that cannot be written, or none at all
        logger.info("%s is not noted as the directory of %s: %s", layout.root, base_url, error)


class _Held(msgspec.Struct, frozen=True):
    """What an instance holds as long as it runs: its address, and that of gRPC."""

    instance: InstanceFile
    bound: Bound
    grpc_address: str


@contextmanager
def _reserved(options: Options, known: InstanceFile | None) -> Iterator[_Held]:
    instance, reservation = _reserve(options, known)
    grpc = None
    try:
        grpc = _reserve_grpc(options.grpc_listen or options.settings.grpc.listen)
        address = "" if grpc is None else Address(grpc.bound.host, grpc.bound.port).netloc
        yield _Held(instance, reservation.bound, address)
    finally:
        reservation.close()
        if grpc is not None:
            grpc.close()


def _reserve(options: Options, known: InstanceFile | None) -> tuple[InstanceFile, Reservation]:
    """Settle where to listen, and hold the port."""
    if known is not None:
        _check_unchanged(options, known)
        return known, Reservation(_known_address(known), loopback=True)
    address = parse_listen(options.listen or DEFAULT_LISTEN)
    if address.socket_path is not None and options.public_url is None:
        raise ConfigurationError(
            f"a socket has no URL: clients would not know what {address.netloc} is called",
            code="bad_address",
            hint="pass --public-url http://HOST[:PORT] too, the address of the proxy before the socket",
        )
    reservation = Reservation(address, loopback=True)
    try:
        base_url = check_public_url(options.public_url or reservation.address.base_url)
        instance = _instance(base_url, reservation.address)
        check_loopback(instance.public_host)
    except ConfigurationError:
        reservation.close()
        raise
    return instance, reservation


def _known_address(known: InstanceFile) -> Address:
    return Address(known.host, known.port)


def _reserve_grpc(listen: str | None) -> Reservation | None:
    """Hold the port for gRPC, where it is asked for; raises `ConfigurationError`."""
    if listen is None:
        return None
    if find_spec("grpc_reflection") is None:
        raise ConfigurationError(
            "gRPC is not installed",
            code="missing_extra",
            hint="pip install 'hallmark-sigstore[grpc]', or from a checkout pip install '.[grpc]'",
        )
    address = parse_listen(listen)
    if address.socket_path is not None:
        raise ConfigurationError(
            "gRPC is not served on a Unix socket: every shard takes the next port",
            code="bad_address",
            hint="write --grpc-listen HOST:PORT",
        )
    return Reservation(address, loopback=True)


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
            f"the instance is {known.base_url} for good and listens on {_known_address(known).netloc}, "
            f"not {options.listen}",
            code="public_url_is_fixed",
            hint=hint,
        )


def _fail(_error: BaseException) -> None:
    os._exit(_FAILED)
