"""Options that commands share."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import click

_Command = TypeVar("_Command", bound=Callable[..., Any])

PATH: Final = click.Path(path_type=Path)

json_option = click.option("as_json", "--json", is_flag=True, help="Print one JSON object.")
instance_option = click.option(
    "instance",
    "--instance",
    envvar="HALLMARK_INSTANCE",
    default="",
    metavar="URL",
    help="The instance: its URL, or the name of a context. Default: the current context.",
)
trusted_root_option = click.option(
    "trusted_root", "--trusted-root", type=PATH, metavar="FILE", help="A trusted_root.json to trust."
)
trust_config_option = click.option(
    "trust_config",
    "--trust-config",
    type=PATH,
    metavar="FILE",
    help="A client trust config: trusted root and signing config in one file.",
)

require_witnesses_option = click.option(
    "require_witnesses",
    "--require-witnesses",
    type=PATH,
    metavar="POLICY",
    help="A witness policy whose quorum must have cosigned the log's checkpoint.",
)


def trust_options(command: _Command) -> _Command:
    """Add the options that say what to trust."""
    for option in (trust_config_option, trusted_root_option, instance_option):
        command = option(command)
    return command
