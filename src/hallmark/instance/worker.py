"""A worker process: serves the whole instance on its port, beside its siblings.

Started by the supervisor as `python -m hallmark.instance.worker DIRECTORY LIFELINE STARTED`, where the last
two are the file descriptors of pipes. It imports first and opens the directory when the parent says so.
"""

import asyncio
import logging
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Final

from hallmark.instance.serving import raise_file_limit, serve
from hallmark.instance.supervisor import GO, say_started
from hallmark.wiring.application import Application, open_application
from hallmark.wiring.layout import Layout

_FAILED: Final = 70
_ORPHANED: Final = 71


def main(arguments: list[str]) -> None:
    """Serve until the parent says to stop, or is gone."""
    root, lifeline, started = Path(arguments[0]), int(arguments[1]), int(arguments[2])
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    logging.getLogger("_granian").setLevel(logging.WARNING)
    raise_file_limit()
    if os.read(lifeline, len(GO)) != GO:
        sys.exit(_ORPHANED)
    threading.Thread(target=_end_with_parent, args=(lifeline,), daemon=True).start()
    application = open_application(Layout(root), on_failure=_fail)
    asyncio.run(_serve(application, started))


async def _serve(application: Application, started: int) -> None:
    instance = application.instance
    application.start()
    await serve(
        application, instance.host, instance.port, (signal.SIGTERM,), on_started=lambda: say_started(started)
    )
    await asyncio.to_thread(application.stop)


def _end_with_parent(lifeline: int) -> None:
    os.read(lifeline, 1)  # returns when the parent closes its end, at the latest when it dies
    os._exit(_ORPHANED)


def _fail(_error: BaseException) -> None:
    os._exit(_FAILED)


if __name__ == "__main__":
    main(sys.argv[1:])
