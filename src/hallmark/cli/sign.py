"""`hallmark sign`: write a bundle beside each file."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import click
import msgspec

from hallmark.cli.exit_codes import exit_code_of, gravest
from hallmark.cli.login import token_source
from hallmark.cli.options import PATH, json_option, require_witnesses_option, trust_options
from hallmark.cli.output import CommandFailed, Output, describe_error, print_json
from hallmark.cli.trust import TrustOptions, trust_to_sign
from hallmark.cli.witnesses import read_policy
from hallmark.client.artifact import digest_file
from hallmark.client.files import refuse_existing, write_file
from hallmark.client.http import HttpClient
from hallmark.client.signature_files import SUFFIX, SUFFIXES, without_signatures
from hallmark.client.signing import Signed, Signer
from hallmark.client.witnessed import WitnessWait
from hallmark.core.bundle import BUNDLE_V03
from hallmark.errors import ConfigurationError, HallmarkError, ProofPending

_MAX_FILES: Final = 100_000
_AT_ONCE: Final = 4
_USUAL_WAIT_SECONDS: Final = 10.0
_MAX_WAIT_SECONDS: Final = 600.0


class _Job(msgspec.Struct, frozen=True):
    """One file to sign and where its bundle goes."""

    path: Path
    bundle: Path


class _Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What came of one file."""

    job: _Job
    signed: Signed | None = None
    error: HallmarkError | None = None


@click.command("sign")
@click.argument("files", nargs=-1, required=True, type=PATH, metavar="FILE...")
@click.option("--bundle", type=PATH, metavar="BUNDLE", help="Where the bundle of one file goes.")
@click.option(
    "--identity-token",
    envvar="SIGSTORE_ID_TOKEN",
    metavar="TOKEN",
    help="An identity token, a file with one, or - for standard input.",
)
@click.option(
    "--oidc-flow",
    type=click.Choice(["auto", "browser", "device", "oob"]),
    default="auto",
    help="How to log in where there is no token.",
)
@click.option("--recursive", is_flag=True, help="Sign the files in the folders that are named, too.")
@click.option("--overwrite", is_flag=True, help="Replace bundles that are there already.")
@click.option(
    "--wait-for-witnesses",
    type=click.FloatRange(0, _MAX_WAIT_SECONDS),
    metavar="SECONDS",
    help="Wait until the log's witnesses have signed; exit code 7 if they have not by then.",
)
@require_witnesses_option
@trust_options
@json_option
def command(
    *,
    files: tuple[Path, ...],
    bundle: Path | None,
    identity_token: str | None,
    oidc_flow: str,
    recursive: bool,
    overwrite: bool,
    wait_for_witnesses: float | None,
    require_witnesses: Path | None,
    instance: str,
    trusted_root: Path | None,
    trust_config: Path | None,
    as_json: bool,
) -> None:
    """Sign files with an identity; writes FILE.sigstore.json beside each.

    All files take one token and one certificate. A bundle is written only once it has been verified.
    """
    if trusted_root is not None:
        raise ConfigurationError(
            "a trusted root alone names no services to sign with",
            code="usage",
            hint="pass --instance, or --trust-config with a client trust config",
        )
    output = Output(as_json=as_json)
    jobs = _jobs(files, bundle, recursive=recursive)
    for job in jobs:
        _check_job(job, overwrite=overwrite)
    trust = trust_to_sign(TrustOptions(instance=instance, trust_config=trust_config))
    http = HttpClient()
    source = token_source(identity_token, oidc_flow, trust.signing_config, http, output)
    witnesses = _witnesses(wait_for_witnesses, require_witnesses)
    with Signer(trust, source, http, witnesses=witnesses) as signer:
        outcomes = _sign_all(jobs, lambda job: _sign(job, signer, witnesses, overwrite=overwrite))
    if len(outcomes) < len(jobs):
        output.note(f"{len(jobs) - len(outcomes)} more files were not tried")
    _report(output, outcomes)


def _witnesses(seconds: float | None, policy: Path | None) -> WitnessWait | None:
    """A policy without a time to wait is given the usual one."""
    if seconds is None and policy is None:
        return None
    return WitnessWait(
        _USUAL_WAIT_SECONDS if seconds is None else seconds, None if policy is None else read_policy(policy)
    )


def _jobs(files: tuple[Path, ...], bundle: Path | None, *, recursive: bool) -> list[_Job]:
    named = without_signatures([str(path) for path in files])
    paths = [path for name in named for path in _expand(Path(name), recursive=recursive)]
    if not paths:
        raise ConfigurationError("there is no file to sign", code="no_files", hint="the folders are empty")
    if len(paths) > _MAX_FILES:
        raise ConfigurationError(f"{len(paths)} files are more than {_MAX_FILES}", code="too_many_files")
    if bundle is not None and len(paths) > 1:
        raise ConfigurationError(
            f"one bundle for {len(paths)} files", code="usage", hint="leave --bundle out, or sign them singly"
        )
    unique = dict.fromkeys(paths)
    return [_Job(path, bundle or path.with_name(path.name + SUFFIX)) for path in unique]


def _expand(path: Path, *, recursive: bool) -> list[Path]:
    """A folder's files in a fixed order; bundles are not signed, and links are not followed out of it."""
    if not path.is_dir():
        return [path]
    if not recursive:
        raise ConfigurationError(
            f"{path} is a directory",
            code="is_a_directory",
            hint="name the files in it, or pass --recursive",
        )
    found = (item for item in path.rglob("*") if item.is_file() and not item.is_symlink())
    return sorted(item for item in found if not item.name.endswith(SUFFIXES))


def _check_job(job: _Job, *, overwrite: bool) -> None:
    """Before anybody logs in: a signature in the log for a bundle that cannot be written helps nobody."""
    if not job.path.exists():
        raise ConfigurationError(f"{job.path} does not exist", code="file_not_found", hint="check the path")
    if not job.bundle.parent.is_dir():
        raise ConfigurationError(
            f"there is no folder {job.bundle.parent}", code="file_not_found", hint="make it first"
        )
    refuse_existing(job.bundle, overwrite=overwrite)
    if overwrite and job.bundle.exists() and not _is_bundle(job.bundle):
        raise ConfigurationError(
            f"{job.bundle} is no bundle, so it is not replaced", code="not_a_bundle", hint="move it away"
        )


def _is_bundle(path: Path) -> bool:
    """Look at its first bytes only: whoever mixes up --bundle and FILE should keep the file."""
    if not path.is_file():
        return False
    media_type = BUNDLE_V03.partition("+")[0].rpartition(".v0")[0]
    with path.open("rb") as file:
        return media_type.encode() in file.read(4096)


def _sign_all(jobs: list[_Job], sign: Callable[[_Job], _Outcome]) -> list[_Outcome]:
    """The first file alone, so that one login serves all and what fails for all is said once."""
    outcomes = [sign(jobs[0])]
    error = outcomes[0].error
    if len(jobs) == 1 or (error is not None and not isinstance(error, ConfigurationError | ProofPending)):
        return outcomes
    with ThreadPoolExecutor(_AT_ONCE) as threads:
        return outcomes + list(threads.map(sign, jobs[1:]))


def _sign(job: _Job, signer: Signer, witnesses: WitnessWait | None, *, overwrite: bool) -> _Outcome:
    try:
        signed = signer.sign_digest(digest_file(job.path).value)
        write_file(job.bundle, signed.bundle.to_json() + b"\n", overwrite=overwrite)
    except HallmarkError as error:
        return _Outcome(job=job, error=error)
    if witnesses is not None and not signed.witnessed:
        return _Outcome(job=job, signed=signed, error=_pending(job, witnesses))
    return _Outcome(job=job, signed=signed)


def _pending(job: _Job, witnesses: WitnessWait) -> ProofPending:
    return ProofPending(
        f"signed as {job.bundle}, but its log entry was not cosigned within {witnesses.seconds:g} s",
        code="not_witnessed",
        hint="whoever demands witnesses refuses this bundle; see that the log has them, then sign again",
    )


def _report(output: Output, outcomes: list[_Outcome]) -> None:
    errors = [outcome.error for outcome in outcomes if outcome.error is not None]
    for outcome in outcomes:
        _print(output, outcome)
    results = [_to_json(outcome) for outcome in outcomes]
    if not errors:
        output.finish(results=results)
        return
    if output.as_json:
        print_json({"ok": False, "error": describe_error(errors[0]), "results": results})
    raise CommandFailed(gravest([exit_code_of(error) for error in errors]))


def _print(output: Output, outcome: _Outcome) -> None:
    if outcome.error is not None:
        output.error(outcome.error, about=str(outcome.job.path))
    elif outcome.signed is not None:
        verified = outcome.signed.verified
        entries = [f", log entry {entry.log_index} of {entry.origin}" for entry in verified.entries[:1]]
        text = f"{outcome.job.path} as {verified.identity}: {outcome.job.bundle}" + "".join(entries)
        output.line(text, good="signed")


def _to_json(outcome: _Outcome) -> dict[str, Any]:
    facts: dict[str, Any] = {"file": str(outcome.job.path), "bundle": str(outcome.job.bundle)}
    facts["ok"] = outcome.error is None
    if outcome.signed is not None:
        facts.update(outcome.signed.verified.to_dict())
    if outcome.error is not None:
        facts["error"] = describe_error(outcome.error)
    return facts
