"""The man page, from the same source as --help: `python -m hallmark.cli.man_page > docs/man/hallmark.1`."""

import re
from collections.abc import Iterator
from typing import Final

import click

from hallmark.cli.main import command

_EXIT_CODES: Final = (
    ("0", "done"),
    ("1", "verification failed"),
    ("2", "the command line, a file or a token cannot be used"),
    ("3", "no signature was found"),
    ("4", "signed, but not by an identity that was named"),
    ("5", "trust material is missing, stale, expired, or not what was pinned"),
    ("6", "a service or the network failed"),
    ("7", "signed, but a proof is still pending"),
    ("70", "a bug in Hallmark"),
)


def man_page() -> str:
    """Print the page, in the macros of man(7)."""
    lines = [
        '.TH HALLMARK 1 "" "Hallmark" "User Commands"',
        ".SH NAME",
        "hallmark \\- sign and verify software, and run a Sigstore",
        ".SH SYNOPSIS",
        ".B hallmark",
        ".I COMMAND",
        "[\\fIOPTION\\fR]... [\\fIARGUMENT\\fR]...",
        ".SH DESCRIPTION",
        *_paragraphs(command.help or ""),
        ".SH COMMANDS",
        *_commands(command, click.Context(command, info_name="hallmark", **command.context_settings)),
        ".SH EXIT STATUS",
    ]
    for code, meaning in _EXIT_CODES:
        lines += [".TP", f".B {code}", _escape(meaning)]
    return "\n".join(lines) + "\n"


def _commands(group: click.Group, context: click.Context) -> Iterator[str]:
    for name in group.list_commands(context):
        found = group.get_command(context, name)
        if found is None or found.hidden:
            continue
        inner = click.Context(found, info_name=name, parent=context)
        if isinstance(found, click.Group):
            yield from _commands(found, inner)
        else:
            yield from _command(found, inner)


def _command(found: click.Command, context: click.Context) -> Iterator[str]:
    usage = " ".join(found.collect_usage_pieces(context))
    yield f".SS {_escape(f'{context.command_path} {usage}')}"
    yield from _paragraphs(found.help or "")
    for parameter in found.get_params(context):
        record = parameter.get_help_record(context)
        if record is not None:
            yield from (".TP", f".B {_escape(record[0])}", _escape(record[1]))


def _paragraphs(text: str) -> Iterator[str]:
    for number, paragraph in enumerate(re.split(r"\n\s*\n", text.strip())):
        if number:
            yield ".PP"
        yield _escape(" ".join(paragraph.split()))


def _escape(text: str) -> str:
    """Keep troff from reading backslashes, hyphens, and a dot or quote at the start of a line."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{escaped}" if escaped.startswith((".", "'")) else escaped


if __name__ == "__main__":
    print(man_page(), end="")  # noqa: T201
