"""Options of the commands that read a log whose key has to be known."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from hallmark.cli.options import PATH, trusted_root_option
from hallmark.errors import ConfigurationError

_Command = TypeVar("_Command", bound=Callable[..., Any])


log_option = click.option(
    "log",
    "--log",
    default="all",
    metavar="NAME",
    help="Which log of the instance: tlog, ctlog, shards/N; all of them by default.",
)


def key_options(command: _Command) -> _Command:
    """Add the options that say whose log it is."""
    for option in (
        click.option("--origin", metavar="TEXT", help="The log's origin. Default: what its checkpoint says."),
        trusted_root_option,
        click.option("--log-key", type=PATH, metavar="FILE", help="The log's public key, PEM."),
    ):
        command = option(command)
    return command


def check_place_exists(place: Path) -> None:
    """Check that a folder is there: a context is read by its mirror. Raises `ConfigurationError`."""
    if not place.exists():
        raise ConfigurationError(
            f"there is no folder {place}",
            code="not_a_log",
            hint="name an instance's directory or a mirror; hallmark log mirror CONTEXT DEST makes one",
        )
