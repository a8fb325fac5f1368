"""Groups of commands that are imported when they are named."""

import gc
import importlib
from collections.abc import Mapping
from types import ModuleType
from typing import Any, NamedTuple

import click


class CommandRow(NamedTuple):
    """One command: where its click command is, and its line in the help of its group."""

    module: str
    help: str


class LazyGroup(click.Group):
    """A group over a table of rows; showing its help imports none of its commands."""

    def __init__(self, *arguments: Any, rows: Mapping[str, CommandRow], **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._rows = rows

    def list_commands(self, ctx: click.Context) -> list[str]:
        """List the commands in the order of the table."""
        return list(self._rows)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command."""
        row = self._rows.get(cmd_name)
        if row is None:
            return None
        found: click.Command = _import(row.module).command
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Print the table without importing a command."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, row.help) for name, row in self._rows.items()])


def _import(name: str) -> ModuleType:
    """Import a module; what that makes stays, so the garbage collector need not look through it."""
    gc.disable()
    try:
        return importlib.import_module(name)
    finally:
        gc.freeze()
        gc.enable()
