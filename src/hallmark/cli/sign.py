"""`hallmark sign`: write a bundle beside each file."""

import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, Final, Self

import click
import msgspec

from hallmark.cli.clock import explain_clock
from hallmark.cli.ending import SIGNALS, Ended, describe_end
from hallmark.cli.exit_codes import UnexpectedFault, exit_code_of, gravest
from hallmark.cli.login import token_source
from hallmark.cli.options import PATH, json_option, require_witnesses_option, trust_options
from hallmark.cli.output import CommandFailed, Output, describe_error, output_failed, print_json, unexpected
from hallmark.cli.progress import Progress, hashing_progress
from hallmark.cli.sign_jobs import Job, check_jobs, find_jobs, is_there, writes_to_output
from hallmark.cli.sign_skip import SignedFiles
from hallmark.cli.trust import TrustOptions, trust_to_sign
from hallmark.cli.witnesses import read_policy
from hallmark.client.artifact import Watch, unwatched
from hallmark.client.http import HttpClient
from hallmark.client.outputs import Outputs
from hallmark.client.signing import Signed, Signer, logged_error
from hallmark.client.streams import descriptor_of, digest_input
from hallmark.client.witnessed import WitnessWait
from hallmark.errors import ConfigurationError, HallmarkError, ProofPending
from hallmark.verify.verifier import Verified

_AT_ONCE: Final = 4
_USUAL_WAIT_SECONDS: Final = 10.0
_MAX_WAIT_SECONDS: Final = 600.0
_END_SECONDS: Final = 5.0  # after Ctrl-C, for the few signatures that are already under way
_LOOK_SECONDS: Final = 0.2
_MAX_FAILURES_IN_A_ROW: Final = 8  # twice as many as are signed at once: one short fault is let pass
_GO_ON: Final = "the same command with --skip-signed goes on from here"

_LOGIN_CODES: Final = frozenset({"no_identity_token", "malformed_token", "no_service"})


class _Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What came of one file.

    `kept` says that the bundle that was there stays, and `skipped` what it proves.
    """

    job: Job
    signed: Signed | None = None
    skipped: Verified | None = None
    kept: bool = False
    error: HallmarkError | None = None

    @property
    def fails_for_all(self) -> bool:
        """Whether the next file would meet the same error: a login, a service."""
        of_one = ConfigurationError | ProofPending | UnexpectedFault | None
        if self.error is not None and self.error.code in _LOGIN_CODES:
            return True
        return not self.kept and not isinstance(self.error, of_one)


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
@click.option("--skip-signed", is_flag=True, help="Leave files that have a good bundle already.")
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
    skip_signed: bool,
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
    if overwrite and skip_signed:
        raise ConfigurationError(
            "--overwrite and --skip-signed contradict each other", code="usage", hint="leave one of them out"
        )
    jobs = find_jobs(files, bundle, recursive=recursive)
    output = _output(jobs, as_json=as_json)
    _check_inputs(jobs, identity_token)
    check_jobs(jobs, overwrite=overwrite, skip_signed=skip_signed)
    material = trust_to_sign(TrustOptions(instance=instance, trust_config=trust_config))
    trust = material.config
    http = HttpClient()
    source = token_source(identity_token, oidc_flow, trust.signing_config, http, output)
    witnesses = _witnesses(wait_for_witnesses, require_witnesses)
    signed_files = SignedFiles(material.roots, witnesses) if skip_signed else None
    run = _Run(jobs, output)
    url = next((service.url for service in trust.signing_config.ca_urls), "")
    try:
        signer = Signer(trust, source, http, witnesses=witnesses, renew=material.renew)
    except HallmarkError as error:
        raise explain_clock(error, url) from None

    def sign(job: Job) -> _Outcome:
        if signed_files is not None and is_there(job.bundle):
            return _skip(job, signed_files)
        outcome = _sign(job, signer, witnesses, run, overwrite=overwrite)
        if outcome.error is None:
            return outcome
        return msgspec.structs.replace(outcome, error=explain_clock(outcome.error, url, http))

    with signer, hashing_progress(quiet=as_json or len(jobs) > 1) as run.watch:
        run.sign_all(sign)
    run.finish()


def _check_inputs(jobs: list[Job], identity_token: str | None) -> None:
    """What reads a stream second finds it empty, and would sign that."""
    token = descriptor_of(Path(identity_token)) if identity_token else None
    if token is not None and any(descriptor_of(job.path) == token for job in jobs):
        raise ConfigurationError(
            "the token and what is to be signed cannot both come from one stream",
            code="usage",
            hint="name a file for one of them",
        )


def _output(jobs: list[Job], *, as_json: bool) -> Output:
    if not writes_to_output(jobs):
        return Output(as_json=as_json)
    if as_json:
        raise ConfigurationError(
            "the bundle and the results cannot both go to standard output",
            code="usage",
            hint="leave --json out, or name a file with --bundle",
        )
    return Output(as_json=False, results_to_stderr=True)


def _witnesses(seconds: float | None, policy: Path | None) -> WitnessWait | None:
    """A policy without a time to wait is given the usual one."""
    if seconds is None and policy is None:
        return None
    return WitnessWait(
        _USUAL_WAIT_SECONDS if seconds is None else seconds, None if policy is None else read_policy(policy)
    )


class _Run:
    """Signs file by file and tells each outcome as it comes, in the order of the files."""

    def __init__(self, jobs: list[Job], output: Output) -> None:
        self._jobs = jobs
        self._output = output
        self.outputs = Outputs()
        self.watch: Watch = unwatched
        self._outcomes: list[_Outcome] = []
        self._progress = Progress("signing", "files", quiet=output.as_json or len(jobs) == 1)

    def sign_all(self, sign: Callable[[Job], _Outcome]) -> None:
        """Sign one alone, so that one login serves all and what fails for all is said once; then the rest."""
        threads = ThreadPoolExecutor(_AT_ONCE)
        jobs = iter(self._jobs)
        try:
            for job in jobs:
                outcome = threads.submit(sign, job).result()
                self._tell(outcome)
                if outcome.fails_for_all:
                    return
                if not outcome.kept:
                    break
            asked = [threads.submit(sign, job) for job in jobs]
            with _Stop(asked) as stop:
                self._tell_all(asked, stop)
        except KeyboardInterrupt as cause:
            self.outputs.discard()
            ended = cause if isinstance(cause, Ended) else Ended()
            self._report_ended(ended)
            raise Ended(ended.number, told=True) from None
        finally:
            threads.shutdown(wait=False, cancel_futures=True)
            self._progress.finish()

    def _tell_all(self, asked: list[Future[_Outcome]], stop: "_Stop") -> None:
        """Tell them in their order; where one after the other meets what fails for all, the rest is left."""
        failures = 0
        for future in asked:
            while not future.done():
                wait([future], timeout=_LOOK_SECONDS)
                stop.check()
            if future.cancelled():
                stop.raise_if_heard()
                return
            outcome = future.result()
            self._tell(outcome)
            failures = failures + 1 if outcome.fails_for_all else 0
            if failures == _MAX_FAILURES_IN_A_ROW:
                stop.cancel()

    def finish(self) -> None:
        """Say what was left out and print the results of --json; raises `CommandFailed` for any failure."""
        left = len(self._jobs) - len(self._outcomes)
        if left:
            self._output.note(f"{left} more files were not tried, {self._count()}")
            self._output.note(_GO_ON)
        errors = [outcome.error for outcome in self._outcomes if outcome.error is not None]
        results = [_to_json(outcome) for outcome in self._outcomes]
        if not errors:
            with self._printing():
                self._output.finish(results=results)
            return
        if self._output.as_json:
            print_json({"ok": False, "error": describe_error(errors[0]), "results": results})
        raise CommandFailed(gravest([exit_code_of(error) for error in errors]))

    def _tell(self, outcome: _Outcome) -> None:
        self._outcomes.append(outcome)
        self._progress.finish()
        with self._printing():
            _print(self._output, outcome)
        self._progress(len(self._outcomes), len(self._jobs))

    @contextmanager
    def _printing(self) -> Iterator[None]:
        """Print now; where that fails, the bundles are there all the same."""
        try:
            yield
            self._output.flush()
        except BrokenPipeError:
            raise
        except OSError as error:
            written = sum(outcome.signed is not None for outcome in self._outcomes)
            raise output_failed(error, f"{written} of {len(self._jobs)} bundles are written, but ") from None

    def _count(self) -> str:
        done = sum(outcome.error is None for outcome in self._outcomes)
        return f"{done} of {len(self._jobs)} files are signed"

    def _report_ended(self, ended: Ended) -> None:
        message = f"interrupted: {self._count()}"
        self._progress.finish()
        self._output.note(message)
        self._output.note(_GO_ON)
        if self._output.as_json:
            error = describe_end(ended, message, _GO_ON)
            print_json({"ok": False, "error": error, "results": [_to_json(item) for item in self._outcomes]})


class _Stop:
    """Makes of a signal the end of what has not begun: what is under way may be in the log already.

    A second signal, or a few seconds, end that too.
    """

    def __init__(self, asked: list[Future[_Outcome]]) -> None:
        self._asked = asked
        self._deadline = 0.0
        self._heard = 0
        self._usual: dict[int, Callable[[int, FrameType | None], Any]] = {}

    def __enter__(self) -> Self:
        for number in SIGNALS:
            usual = signal.getsignal(number)
            if callable(usual):  # one that is ignored stays so
                self._usual[number] = usual
                signal.signal(number, self._stop)
        return self

    def __exit__(self, *_: object) -> None:
        for number, usual in self._usual.items():
            signal.signal(number, usual)

    def check(self) -> None:
        """Raise `Ended` when what is under way has had its time."""
        if self._deadline and time.monotonic() > self._deadline:
            raise Ended(self._heard)

    def raise_if_heard(self) -> None:
        """Raise `Ended` where it was a signal that ended it."""
        if self._heard:
            raise Ended(self._heard)

    def cancel(self) -> None:
        """Leave what has not begun: threads take the next from the front, so what is cancelled comes last."""
        for future in reversed(self._asked):
            future.cancel()

    def _stop(self, number: int, _: FrameType | None) -> None:
        for heard, usual in self._usual.items():
            signal.signal(heard, usual)
        self._heard = number
        self._deadline = time.monotonic() + _END_SECONDS
        self.cancel()


def _skip(job: Job, signed: SignedFiles) -> _Outcome:
    """Leave a file that is signed, once its bundle has been verified; any other bundle is an error."""
    try:
        return _Outcome(job=job, skipped=signed.verify(job.path, job.bundle), kept=True)
    except HallmarkError as error:
        return _Outcome(job=job, kept=True, error=error)


def _sign(job: Job, signer: Signer, witnesses: WitnessWait | None, run: _Run, *, overwrite: bool) -> _Outcome:
    signed = None
    try:
        with run.outputs.reserve(job.bundle, overwrite=overwrite) as place:
            signed = signer.sign_digest(digest_input(job.path, run.watch).value)
            place.write(signed.bundle.to_json() + b"\n")
    except Exception as error:  # noqa: BLE001 - no file's fault hides what came of the others
        known = error if isinstance(error, HallmarkError) else unexpected(error)
        made = signed.bundle.tlog_entries if signed is not None else ()
        return _Outcome(job=job, error=logged_error(known, made))
    if witnesses is not None and not signed.witnessed:
        return _Outcome(job=job, signed=signed, error=_pending(job, witnesses))
    return _Outcome(job=job, signed=signed)


def _pending(job: Job, witnesses: WitnessWait) -> ProofPending:
    return ProofPending(
        f"signed as {job.bundle}, but its log entry was not cosigned within {witnesses.seconds:g} s",
        code="not_witnessed",
        hint="verifiers that demand witnesses refuse this bundle; see that the log has them, then sign again",
    )


def _print(output: Output, outcome: _Outcome) -> None:
    if outcome.error is not None:
        output.error(outcome.error, about=str(outcome.job.path))
    elif outcome.signed is not None:
        verified = outcome.signed.verified
        entries = [f", log entry {entry.log_index} of {entry.origin}" for entry in verified.entries[:1]]
        text = f"{outcome.job.path} as {verified.identity}: {outcome.job.bundle}" + "".join(entries)
        output.line(text, good="signed")
    elif outcome.skipped is not None:
        output.line(f"{outcome.job.path}: signed by {outcome.skipped.identity} already", good="skipped")


def _to_json(outcome: _Outcome) -> dict[str, Any]:
    facts: dict[str, Any] = {"file": str(outcome.job.path), "bundle": str(outcome.job.bundle)}
    facts["ok"] = outcome.error is None
    if outcome.signed is not None:
        facts.update(outcome.signed.verified.to_dict())
    if outcome.skipped is not None:
        facts |= {"skipped": True, **outcome.skipped.to_dict()}
    if outcome.error is not None:
        facts["error"] = describe_error(outcome.error)
    return facts
