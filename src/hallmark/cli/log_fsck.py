"""`hallmark log fsck`: recompute every hash of a log, compare everything, and say exactly what is wrong."""

from pathlib import Path
from typing import Any, Final

import click
import msgspec

from hallmark.cli.exit_codes import VERIFICATION_FAILED
from hallmark.cli.log_options import key_options, log_option
from hallmark.cli.options import PATH, json_option
from hallmark.cli.output import CommandFailed, Output, print_error, print_json
from hallmark.cli.progress import Progress
from hallmark.errors import ConfigurationError
from hallmark.tiledlog.findings import Finding
from hallmark.tiledlog.fsck import Report
from hallmark.wiring.checking import check_folder, check_log, log_names
from hallmark.wiring.layout import Layout
from hallmark.wiring.log_sides import read_keys

_HINT: Final = "restore what is named from a mirror or a copy; nothing was changed"


@click.command("fsck")
@click.argument("mirror", type=PATH, metavar="[MIRROR]", required=False)
@click.option("--data", type=PATH, metavar="DIR", help="The directory of an instance, running or stopped.")
@log_option
@key_options
@json_option
def command(
    *,
    mirror: Path | None,
    data: Path | None,
    log: str,
    log_key: Path | None,
    trusted_root: Path | None,
    origin: str | None,
    as_json: bool,
) -> None:
    """Recompute every hash of an instance's logs, or of a MIRROR, and say what is wrong.

    Nothing is written. An instance may run meanwhile: its logs are examined as they were at the beginning.
    """
    if (mirror is None) == (data is None):
        raise ConfigurationError(
            "fsck examines either a mirror or an instance",
            code="usage",
            hint="hallmark log fsck MIRROR, or hallmark log fsck --data DIR",
        )
    output = Output(as_json=as_json)
    reports: dict[str, Report] = {}
    if mirror is not None:
        keys = read_keys(log_key, trusted_root)
        progress = Progress(str(mirror), quiet=as_json)
        reports[str(mirror)] = check_folder(mirror, keys, origin=origin, progress=progress)
        progress.finish()
    if data is not None:
        layout = Layout(data)
        for name in log_names(layout) if log == "all" else (log,):
            progress = Progress(name, quiet=as_json)
            reports[name] = check_log(layout, name, progress)
            progress.finish()
    _print(output, reports)


def _print(output: Output, reports: dict[str, Report]) -> None:
    for name, report in reports.items():
        if not report.count:
            output.line(f"{name}: {report.size} entries, root hash {report.root.hex()}", good="sound")
            continue
        for finding in report.findings:
            output.line(f"{name}: {_describe(finding)}")
        if report.count > len(report.findings):
            output.line(f"{name}: and {report.count - len(report.findings)} findings more")
    wrong = [name for name, report in reports.items() if report.count]
    logs = {name: _to_json(report) for name, report in reports.items()}
    if not wrong:
        output.finish(logs=logs)
        return
    message = ", ".join(f"{name} is damaged ({reports[name].count} findings)" for name in wrong)
    error = {
        "code": "damaged_log",
        "message": message,
        "hint": _HINT,
        "exitCode": VERIFICATION_FAILED,
    }
    if output.as_json:
        print_json({"ok": False, "error": error, "logs": logs})
    else:
        print_error(message, _HINT)
    raise CommandFailed(VERIFICATION_FAILED)


def _describe(finding: Finding) -> str:
    values = (
        f" (expected {finding.expected}, found {finding.found})" if finding.found or finding.expected else ""
    )
    return f"{finding.where}: {finding.what}{values}"


def _to_json(report: Report) -> dict[str, Any]:
    return {
        "origin": report.origin,
        "size": report.size,
        "rootHash": report.root.hex(),
        "count": report.count,
        "findings": [msgspec.to_builtins(finding) for finding in report.findings],
    }
