"""`hallmark log`: what an operator or an auditor does with whole logs."""

from typing import Final

import click

from hallmark.cli.lazy_group import CommandRow, LazyGroup

COMMANDS: Final = {
    "fsck": CommandRow("hallmark.cli.log_fsck", "Recompute every hash of a log and say what is wrong."),
    "reindex": CommandRow("hallmark.cli.log_reindex", "Rebuild lost parts of a dedup index."),
    "restore": CommandRow("hallmark.cli.log_restore", "Bring back logs of a copied or damaged directory."),
    "mirror": CommandRow("hallmark.cli.log_mirror", "Copy a log from its read side, verifying all of it."),
    "vkeys": CommandRow("hallmark.cli.log_vkeys", "Print the verifier keys of the logs, for witnesses."),
    "rotate": CommandRow("hallmark.cli.log_rotate", "Open the next shard of the signature log."),
    "freeze": CommandRow("hallmark.cli.log_freeze", "End a shard of the signature log for good."),
    "export": CommandRow("hallmark.cli.log_export", "Write the entries of a log as a Parquet table."),
}


@click.group("log", cls=LazyGroup, rows=COMMANDS)
def command() -> None:
    """Examine, copy, restore and export whole logs."""
