"""What commands print: lines for people, or with --json one JSON object for programs.

Results go to standard output. Errors, hints and notes go to standard error, except that with --json an error
is the object on standard output.
"""

import os
import sys
from typing import Any, Final

import click

from hallmark.cli.exit_codes import UnexpectedFault, exit_code_of
from hallmark.errors import (
    ConfigurationError,
    HallmarkError,
    InvalidCertificate,
    MalformedInput,
    RemoteError,
    TrustError,
    VerificationError,
)

OUTPUT_FAILED: Final = "output_failed"
_REPORT: Final = "this is a bug in Hallmark: please report it, with HALLMARK_DEBUG=1 set for the details"
_COLOURS: Final = {"error": "red", "hint": "cyan", "good": "green"}


class CommandFailed(Exception):
    """Some of what a command had to do failed; everything has been printed."""

    def __init__(self, exit_code: int) -> None:
        super().__init__(f"exit code {exit_code}")
        self.exit_code = exit_code


class Output:
    """Prints for one command; `as_json` is the command's --json.

    With `results_to_stderr` standard output is left to what the command was asked to write there.
    """

    def __init__(self, *, as_json: bool, results_to_stderr: bool = False) -> None:
        self.as_json = as_json
        self._to_stderr = results_to_stderr

    def line(self, text: str, *, good: str = "") -> None:
        """Print a line for people; `good` before it names a good outcome, in colour on a terminal."""
        if not self.as_json:
            stream = sys.stderr if self._to_stderr else sys.stdout
            lead = _colour(good, "good", stream.isatty()) + " " if good else ""
            click.echo(lead + _one_line(text), err=self._to_stderr)

    def value(self, text: str) -> None:
        """Print one value; where no terminal reads it, without the line's end, which is no part of it."""
        if not self.as_json:
            click.echo(text, nl=sys.stdout.isatty())

    def flush(self) -> None:
        """Let what was printed be seen now."""
        sys.stdout.flush()

    def note(self, text: str) -> None:
        """Tell people something that is no result."""
        if not self.as_json:
            click.echo(_one_line(text), err=True)

    def error(self, error: HallmarkError, *, about: str = "") -> None:
        """Print an error and its hint for people, one line each."""
        if not self.as_json:
            print_error(f"{about}: {error.message}" if about else error.message, hint_of(error))

    def finish(self, **facts: Any) -> None:
        """Print the JSON object of a command that did its work."""
        if self.as_json:
            print_json({"ok": True, **facts})


def output_failed(error: OSError, done: str = "") -> ConfigurationError:
    """Describe that standard output cannot be written, after what is `done` all the same."""
    drop_output()
    return ConfigurationError(
        f"{done}standard output cannot be written: {(error.strerror or '').lower()}",
        code=OUTPUT_FAILED,
        hint="what is printed is incomplete; write it somewhere else",
    )


def drop_output() -> None:
    """Throw away what is printed from here on: Python would flush it once more at its end, and complain."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


_HINTS: Final[tuple[tuple[type[HallmarkError], str], ...]] = (
    (InvalidCertificate, "do not use it; if another Sigstore vouches for it, name that one's trusted root"),
    (VerificationError, "do not use it; ask its publisher for a good signature"),
    (TrustError, "fetch the trust material again, or ask the operator of the instance"),
    (RemoteError, "see that the service runs and can be reached, then try again"),
    (MalformedInput, "see that it is the file you meant, and whole"),
)


def hint_of(error: HallmarkError) -> str:
    """Say what to do: what the error itself says, or what is good advice for its kind."""
    return error.hint or next((hint for kind, hint in _HINTS if isinstance(error, kind)), "")


def unexpected(error: Exception) -> UnexpectedFault:
    """Describe an error that nothing expected, on one line."""
    if os.environ.get("HALLMARK_DEBUG") == "1":
        import traceback

        traceback.print_exception(error)
    return UnexpectedFault(f"unexpected {type(error).__name__}: {str(error)[:200]}", hint=_REPORT)


def describe_error(error: HallmarkError) -> dict[str, Any]:
    """Give an error as JSON values."""
    return {
        "code": error.code,
        "message": error.message,
        "hint": hint_of(error),
        "exitCode": exit_code_of(error),
    }


def print_error(message: str, hint: str = "") -> None:
    """Print `error: ...` and `hint: ...` on standard error."""
    click.echo(f"{_label('error')} {_one_line(message)}", err=True)
    if hint:
        click.echo(f"{_label('hint')} {_one_line(hint)}", err=True)


def print_json(value: dict[str, Any]) -> None:
    """Print one JSON object; everything in it is printable ASCII."""
    import json

    click.echo(json.dumps(_without_surrogates(value)))


def _without_surrogates(value: Any) -> Any:
    """A byte of a file's name that is not UTF-8 is a lone surrogate in Python, and nothing in JSON."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, dict):
        return {name: _without_surrogates(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_surrogates(item) for item in value]
    return value


def _label(kind: str) -> str:
    return _colour(f"{kind}:", kind, sys.stderr.isatty())


def _colour(text: str, kind: str, terminal: bool) -> str:
    if not terminal or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return text
    return click.style(text, fg=_COLOURS[kind])


def _one_line(text: str) -> str:
    """Names and messages may come from strangers: no line breaks and no control characters of theirs."""
    return "".join(char if char.isprintable() else "?" for char in " ".join(text.splitlines()))
