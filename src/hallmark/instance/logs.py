"""Where and how the processes of an instance log."""

import logging
import sys
import time
from logging.handlers import WatchedFileHandler
from pathlib import Path
from typing import Final

from hallmark.errors import ConfigurationError

_FORMAT: Final = "%(asctime)s.%(msecs)03dZ %(levelname)s %(name)s: %(message)s"


def set_up_logs(level: str, file: str | None = None) -> None:
    """Log to standard error, or to a file, which is opened again after somebody has moved it away.

    Raises `ConfigurationError` where the file cannot be written. May be called again.
    """
    formatter = logging.Formatter(_FORMAT, "%Y-%m-%dT%H:%M:%S")
    formatter.converter = time.gmtime
    handler: logging.Handler = logging.StreamHandler(sys.stderr)
    if file is not None:
        try:
            handler = WatchedFileHandler(Path(file), encoding="utf-8", errors="backslashreplace")
        except OSError as error:
            raise ConfigurationError(
                f"the log file {file} cannot be written: {error.strerror}",
                code="wrong_setting",
                hint="name a file in a folder that you may write to",
            ) from None
    handler.setFormatter(formatter)
    root = logging.getLogger()
    for old in list(root.handlers):
        root.removeHandler(old)
        old.close()
    root.addHandler(handler)
    root.setLevel(level.upper())
    logging.getLogger("_granian").setLevel(logging.WARNING)
