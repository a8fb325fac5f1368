"""What `hallmark verify` says of each signature."""

import shlex
from collections.abc import Sequence
from typing import Any

from hallmark.cli.exit_codes import exit_code_of, gravest
from hallmark.cli.output import CommandFailed, Output, describe_error, print_json
from hallmark.client.signature_files import SUFFIX
from hallmark.client.verifying import Outcome
from hallmark.errors import HallmarkError, UntrustedIdentity
from hallmark.verify.verifier import Verified

Outcomes = tuple[Outcome, ...]


def report(output: Output, outcomes: Sequence[Outcomes], *, named: bool, against: Sequence[str]) -> None:
    """Print what came of every item.

    `named` says that somebody was trusted to sign; `against` are the options that said what to trust.

    An item holds if one of its signatures does; raises `CommandFailed` with the gravest failure.
    """
    told = [_Told(item, against, named=named) for item in outcomes]
    for item in told:
        item.print(output)
    results = [result for item in told for result in item.results()]
    errors = [error for item in told for error in item.errors()]
    if not errors:
        output.finish(results=results)
        return
    if output.as_json:
        print_json({"ok": False, "error": describe_error(errors[0]), "results": results})
    raise CommandFailed(gravest([exit_code_of(error) for error in errors]))


class _Told:
    """What is said of one item."""

    def __init__(self, outcomes: Outcomes, against: Sequence[str], *, named: bool) -> None:
        self._outcomes = outcomes
        self._against = against
        self._named = named
        self._holds = named and any(outcome.verified is not None for outcome in outcomes)

    def errors(self) -> list[HallmarkError]:
        """The errors that decide the exit code: none where one signature holds."""
        if self._holds:
            return []
        return [error for outcome in self._outcomes if (error := self._error(outcome)) is not None]

    def print(self, output: Output) -> None:
        for outcome in self._outcomes:
            about = f"{outcome.item.name} ({outcome.place})" if outcome.place else outcome.item.name
            error = self._error(outcome)
            if outcome.verified is not None:
                lead = "" if error is None else "valid "
                output.line(
                    f"{lead}{about}: {_summary(outcome.verified)}", good="verified" if error is None else ""
                )
            if error is not None and self._holds:
                output.note(f"not {about}: {error.message}")
            elif error is not None:
                output.error(error, about=about)

    def results(self) -> list[dict[str, Any]]:
        return [self._result(outcome) for outcome in self._outcomes]

    def _error(self, outcome: Outcome) -> HallmarkError | None:
        if outcome.error is not None or self._named or outcome.verified is None:
            return outcome.error
        return UntrustedIdentity(
            "valid, but you have not said whom you trust",
            code="no_identity_named",
            hint=f"if you trust this signer: {_pinned_command(outcome, outcome.verified, self._against)}",
        )

    def _result(self, outcome: Outcome) -> dict[str, Any]:
        error = self._error(outcome)
        facts: dict[str, Any] = {"file": outcome.item.name, "bundle": _bundle_name(outcome)}
        if outcome.place:
            facts["place"] = outcome.place
        facts["ok"] = error is None
        if outcome.verified is not None:
            facts.update(outcome.verified.to_dict())
        if error is not None:
            facts["error"] = describe_error(error)
        if outcome.verified is not None and not self._named:
            facts["pinnedCommand"] = _pinned_command(outcome, outcome.verified, self._against)
        return facts


def _bundle_name(outcome: Outcome) -> str:
    default = f"{outcome.item.name}{SUFFIX}"
    return default if outcome.bundle is None else str(outcome.bundle)


def _pinned_command(outcome: Outcome, verified: Verified, against: Sequence[str]) -> str:
    """The very same command, with the signer that was found pinned."""
    item = outcome.item
    name = f"./{item.name}" if item.name.startswith("-") else item.name  # or it would read as an option
    words = ["hallmark", "verify", name, "--identity", verified.identity]
    words += ["--issuer", verified.oidc_issuer] if verified.oidc_issuer else ["--no-issuer"]
    words += ["--bundle", str(item.bundle)] if item.bundle is not None else []
    return shlex.join([*words, *against])


def _summary(verified: Verified) -> str:
    parts = [f"signed by {_signer(verified)}"]
    if verified.times:
        parts.append(f"at {verified.times[0].time:%Y-%m-%d %H:%M:%S} UTC")
    parts += [f"log entry {entry.log_index} of {entry.origin or entry.log}" for entry in verified.entries[:1]]
    parts += [
        f"witnessed by {', '.join(entry.witnesses)}" for entry in verified.entries[:1] if entry.witnesses
    ]
    if verified.statement is not None:
        parts.append(f"statement {verified.statement.predicate_type}")
    return ", ".join(parts)


def _signer(verified: Verified) -> str:
    if not verified.identity:
        return "the key"
    issuer = f"issuer {verified.oidc_issuer}" if verified.oidc_issuer else "no issuer"
    return f"{verified.identity} ({issuer})"
