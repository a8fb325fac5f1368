"""The command `hallmark`: finds the command by its name, loads it, and answers for everything it raises.

Only the command that is named gets imported; `hallmark --help` and `hallmark --version` import none.
"""

import errno
import os
import sys
from collections.abc import Sequence
from contextlib import nullcontext, suppress
from typing import Final, NoReturn

import click

from hallmark.cli import exit_codes
from hallmark.cli.ending import Ended, describe_end, ending_in_order
from hallmark.cli.help_text import HelpText
from hallmark.cli.lazy_group import CommandRow, LazyGroup
from hallmark.cli.output import (
    OUTPUT_FAILED,
    CommandFailed,
    describe_error,
    drop_output,
    output_failed,
    print_error,
    print_json,
    unexpected,
)
from hallmark.errors import ConfigurationError, HallmarkError

# What the machine refuses, wherever it was met; without a file's name it was mostly the output.
_ENVIRONMENT: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF, errno.EROFS)
_SERVERS: Final = frozenset({"up", "witness"})  # signals are theirs: they end in an order of their own
_COMPLETION: Final = "_HALLMARK_COMPLETE"

click.Context.formatter_class = HelpText  # of every command: their contexts are made by click

COMMANDS: Final = {
    "up": CommandRow("hallmark.cli.up", "Start a whole Sigstore instance."),
    "witness": CommandRow("hallmark.cli.witness", "Cosign the checkpoints of logs, as a witness."),
    "demo": CommandRow("hallmark.cli.demo", "Start a throw-away instance, sign and verify a file."),
    "sign": CommandRow("hallmark.cli.sign", "Sign files."),
    "verify": CommandRow("hallmark.cli.verify", "Verify files against their signatures."),
    "inspect": CommandRow("hallmark.cli.inspect", "Show everything in a bundle, decoded."),
    "token": CommandRow("hallmark.cli.token", "Get an identity token from a development issuer."),
    "context": CommandRow("hallmark.cli.context", "Add, list, use and remove named instances."),
    "client-config": CommandRow("hallmark.cli.client_config", "Show how other clients use an instance."),
    "log": CommandRow("hallmark.cli.log", "Examine, copy and export whole logs."),
    "doctor": CommandRow("hallmark.cli.doctor", "Say what is wrong with an instance, and how to fix it."),
}


_EXTRAS: Final = {
    **dict.fromkeys(("granian", "joserfc", "Crypto", "starlette", "uvloop"), "server"),
    **dict.fromkeys(("grpc", "grpc_health", "grpc_reflection", "google"), "grpc"),
    "pyarrow": "export",
}
"""The extra of pyproject.toml that brings a module which is imported only where it is needed."""


def _print_version(ctx: click.Context, _parameter: click.Parameter, wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        click.echo(f"hallmark {version('hallmark-sigstore')}")
        ctx.exit()


@click.group(cls=LazyGroup, rows=COMMANDS, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_version,
    help="Print the version and exit.",
)
def command() -> None:
    """Sign and verify software, and run the Sigstore instance that makes it possible."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code; nothing that is raised leaves this function."""
    _open_streams()
    if _COMPLETION in os.environ:
        return _complete(os.environ[_COMPLETION])
    given = list(sys.argv[1:] if arguments is None else arguments)
    as_json = _wants_json(given)
    try:
        with nullcontext() if given[:1] and given[0] in _SERVERS else ending_in_order():
            return _run(given)
    except CommandFailed as failure:
        return failure.exit_code
    except (KeyboardInterrupt, click.Abort) as ended:
        _end(ended if isinstance(ended, Ended) else Ended(), as_json=as_json)
    except BrokenPipeError:
        drop_output()
        return exit_codes.OUTPUT_CLOSED
    except Exception as error:  # noqa: BLE001 - the last resort: no traceback reaches a user
        return _answer(error, as_json=as_json)


def _complete(instruction: str) -> int:
    """Print what a shell asks for: its script, or the words that may come next."""
    from click.shell_completion import shell_complete

    return shell_complete(command, {}, "hallmark", _COMPLETION, instruction)


def _answer(error: Exception, *, as_json: bool) -> int:
    """Print an error in its form and return its exit code."""
    if isinstance(error, HallmarkError):
        return _fail(describe_error(error), as_json=as_json)
    if isinstance(error, ModuleNotFoundError) and (
        extra := _EXTRAS.get((error.name or "").partition(".")[0])
    ):
        return _fail(_describe_missing(error.name or "", extra), as_json=as_json)
    if isinstance(error, click.exceptions.NoArgsIsHelpError) and not as_json:
        click.echo(error.format_message(), err=True)
        return exit_codes.USAGE
    if isinstance(error, click.ClickException):
        return _fail(_describe_usage(error), as_json=as_json)
    if isinstance(error, OSError) and (isinstance(error.filename, str) or error.errno in _ENVIRONMENT):
        from pathlib import Path

        from hallmark.client.files import file_error

        named = isinstance(error.filename, str)
        found = file_error(error, Path(error.filename if named else ""), doing="use")
        if not named:
            what = f"cannot use what the command writes: {(error.strerror or '').lower()}"
            found = ConfigurationError(what, code=found.code, hint=found.hint)
        return _fail(describe_error(found), as_json=as_json)
    return _fail(describe_error(_name_full_disk(error) or unexpected(error)), as_json=as_json)


def _name_full_disk(error: Exception) -> HallmarkError | None:
    """Known by its name, so that no command loads SQLite for it."""
    if getattr(error, "sqlite_errorname", "") != "SQLITE_FULL":
        return None
    return ConfigurationError(
        "the disk is full", code="disk_full", hint="free some space and run the command again"
    )


def _run(given: list[str]) -> int:
    """Not `command.main`: click ends the process itself, with exit code 1, when the output is closed."""
    try:
        with command.make_context("hallmark", given) as context:
            command.invoke(context)
    except click.exceptions.Exit as ended:
        return ended.exit_code
    finally:
        _flush_output()
    return exit_codes.DONE


def _open_streams() -> None:
    """Keep what is printed out of files: a closed descriptor would be given to the next one that is opened.

    Writing to a closed standard output fails as it would have, since the result reaches nobody, and so does
    reading from a closed input: it is not an empty one, and nobody means to sign nothing.
    """
    for number, mode in ((0, os.O_WRONLY), (1, os.O_RDONLY), (2, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            os.dup2(os.open(os.devnull, mode), number)
    sys.stdout = sys.stdout or open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = sys.stderr or open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stdin = sys.stdin or open(0, encoding="utf-8", closefd=False)  # noqa: SIM115


def _flush_output() -> None:
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise output_failed(error) from None


def _wants_json(given: list[str]) -> bool:
    """Known before parsing, because a command line that does not parse is answered in JSON too."""
    options = given[: given.index("--")] if "--" in given else given
    return "--json" in options


def _describe_usage(error: click.ClickException) -> dict[str, object]:
    context = error.ctx if isinstance(error, click.UsageError) else None
    hint = f"{context.command_path} --help shows how it is used" if context else ""
    message = " ".join(error.format_message().split()).rstrip(
        "."
    )  # click lists choices on lines of their own
    return {
        "code": "usage",
        "message": message[:1].lower() + message[1:],
        "hint": hint,
        "exitCode": exit_codes.USAGE,
    }


def _describe_missing(module: str, extra: str) -> dict[str, object]:
    return {
        "code": "missing_extra",
        "message": f"this needs the extra {extra!r}: {module} is not installed",
        "hint": f"pip install 'hallmark-sigstore[{extra}]', or from a checkout pip install '.[{extra}]'",
        "exitCode": exit_codes.USAGE,
    }


def _fail(error: dict[str, object], *, as_json: bool) -> int:
    lost = error["code"] == OUTPUT_FAILED
    if lost or not (as_json and _printed({"ok": False, "error": error})):
        print_error(str(error["message"]), str(error["hint"]))
    code = error["exitCode"]
    return code if isinstance(code, int) else exit_codes.BUG


def _printed(value: dict[str, object]) -> bool:
    """Print JSON; False where standard output is what failed, so that the error is told elsewhere."""
    try:
        print_json(value)
        sys.stdout.flush()
    except OSError:
        drop_output()
        return False
    return True


def _end(ended: Ended, *, as_json: bool) -> NoReturn:
    """Requests under way on other threads would hold up the end of the process until they time out."""
    if as_json and not ended.told:
        _printed({"ok": False, "error": describe_end(ended)})
    with suppress(OSError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(ended.exit_code)


if __name__ == "__main__":
    sys.exit(main())
