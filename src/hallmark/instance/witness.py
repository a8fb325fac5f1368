"""A witness in the foreground, in one process: lock, first start, serving, and a clean end."""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from hallmark.instance.directory import locked_directory
from hallmark.instance.listening import Reservation, parse_listen
from hallmark.instance.logs import set_up_logs
from hallmark.instance.serving import leave, raise_file_limit, run, serve
from hallmark.wiring.witness import OpenWitness, open_witness
from hallmark.witness.config import WitnessConfig, parse_logs

DEFAULT_LISTEN: Final = "127.0.0.1:8090"
_FAILED: Final = 70


class WitnessOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What `hallmark witness` was told; an empty name stands for the one it has, or its address."""

    root: Path
    logs: tuple[str, ...]
    listen: str = DEFAULT_LISTEN
    name: str = ""


def run_witness(options: WitnessOptions, announce: Callable[[str, OpenWitness], None]) -> None:
    """Serve until SIGINT or SIGTERM; `announce` gets the URL and the witness once it serves.

    Must run in the main thread, and ends the process. Raises `ConfigurationError`.
    """
    set_up_logs("info")
    if not sys.stderr.isatty():
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # there is nothing to load again
    raise_file_limit()
    config = WitnessConfig(logs=parse_logs(options.logs))
    with locked_directory(options.root) as layout:
        reservation = Reservation(parse_listen(options.listen))
        address = reservation.address
        new = not (layout.root / "witness.json").exists()
        name = options.name or (address.base_url.removeprefix("http://") if new else "")
        witness = open_witness(layout.root, name, config, on_failure=_fail)

        async def say_ready() -> None:
            announce(address.base_url, witness)

        try:
            run(
                serve(
                    witness.app,
                    reservation.bound,
                    (signal.SIGINT, signal.SIGTERM),
                    while_serving=say_ready,
                )
            )
        finally:
            reservation.close()
        leave()


def _fail(_error: BaseException) -> None:
    os._exit(_FAILED)
