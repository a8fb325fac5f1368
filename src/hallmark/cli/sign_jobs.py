"""What `hallmark sign` is to sign, where the bundles go, and whether they can."""

from collections.abc import Iterable
from pathlib import Path
from typing import Final

import msgspec

from hallmark.client.files import TEMPORARY_PREFIX, refuse_existing
from hallmark.client.outputs import Outputs, check_name
from hallmark.client.signature_files import OWN_SUFFIXES, SUFFIX, without_signatures
from hallmark.client.streams import STANDARD_OUTPUT, descriptor_of
from hallmark.core.bundle import BUNDLE_V03
from hallmark.errors import ConfigurationError

_MAX_FILES: Final = 100_000


class Job(msgspec.Struct, frozen=True):
    """One file to sign and where its bundle goes."""

    path: Path
    bundle: Path


def find_jobs(files: tuple[Path, ...], bundle: Path | None, *, recursive: bool) -> list[Job]:
    """Find the files to sign, each once, in the order of their names; raises `ConfigurationError`."""
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
    return [Job(path, bundle or _bundle_of(path)) for path in dict.fromkeys(paths)]


def _bundle_of(path: Path) -> Path:
    if descriptor_of(path) is not None:
        raise ConfigurationError(
            f"{path} has no place beside it for a bundle",
            code="usage",
            hint="pass --bundle FILE, or --bundle - for standard output",
        )
    return path.with_name(path.name + SUFFIX)


def writes_to_output(jobs: Iterable[Job]) -> bool:
    """Say whether a bundle goes to standard output, where nothing else may go then."""
    return any(descriptor_of(job.bundle, dash=STANDARD_OUTPUT) == STANDARD_OUTPUT for job in jobs)


def is_there(bundle: Path) -> bool:
    """Say whether a bundle stands in this place already; in a stream there is none."""
    return descriptor_of(bundle, dash=STANDARD_OUTPUT) is None and bundle.exists()


def check_jobs(jobs: Iterable[Job], *, overwrite: bool, skip_signed: bool) -> None:
    """Check that all can be read and written before anybody logs in; raises `ConfigurationError`.

    A signature in the log for a bundle that cannot be written helps nobody.
    """
    folders: set[Path] = set()
    for job in jobs:
        _check_job(job, overwrite=overwrite, skip_signed=skip_signed)
        if job.bundle.parent not in folders and descriptor_of(job.bundle, dash=STANDARD_OUTPUT) is None:
            folders.add(job.bundle.parent)
            with Outputs().reserve(job.bundle, overwrite=True):
                pass  # the folder takes files; each bundle has its place made when its turn comes


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
    found = (item for item in found if not item.name.startswith(TEMPORARY_PREFIX))
    return sorted(item for item in found if not item.name.endswith(OWN_SUFFIXES))


def _check_job(job: Job, *, overwrite: bool, skip_signed: bool) -> None:
    if descriptor_of(job.path) is None and not job.path.exists():
        raise ConfigurationError(f"{job.path} does not exist", code="file_not_found", hint="check the path")
    if descriptor_of(job.bundle, dash=STANDARD_OUTPUT) is not None:
        return
    if not job.bundle.parent.is_dir():
        raise ConfigurationError(
            f"there is no folder {job.bundle.parent}", code="file_not_found", hint="make it first"
        )
    check_name(job.bundle)
    if _never_replaced(job.bundle, skip_signed=skip_signed):
        raise ConfigurationError(
            f"{job.bundle} is not a bundle, so it is not replaced",
            code="not_a_bundle",
            hint="move it away, or name another place with --bundle",
        )
    _refuse_signed(job, overwrite=overwrite or skip_signed)


def _never_replaced(bundle: Path, *, skip_signed: bool) -> bool:
    """No option lets it be replaced, so none is offered; to read a pipe may never end."""
    if not bundle.exists():
        return False
    return not bundle.is_file() if skip_signed else not is_bundle(bundle)


def _refuse_signed(job: Job, *, overwrite: bool) -> None:
    try:
        refuse_existing(job.bundle, overwrite=overwrite)
    except ConfigurationError as error:
        raise ConfigurationError(
            error.message,
            code=error.code,
            hint="pass --skip-signed to leave files with a good bundle, or --overwrite to replace it",
        ) from None


def is_bundle(path: Path) -> bool:
    """Look at its first bytes only: whoever mixes up --bundle and FILE should keep the file."""
    if not path.is_file():
        return False
    media_type = BUNDLE_V03.partition("+")[0].rpartition(".v0")[0]
    with path.open("rb") as file:
        return media_type.encode() in file.read(4096)
