"""Trust material through TUF (The Update Framework), by its reference client.

The chain of trust starts at a root.json whose SHA-256 fingerprint somebody pinned; nothing else is believed.
"""

import hmac
import re
import tempfile
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec
from tuf.api.exceptions import (
    DownloadError,
    DownloadHTTPError,
    DownloadLengthMismatchError,
    ExpiredMetadataError,
    RepositoryError,
)
from tuf.ngclient.fetcher import FetcherInterface
from tuf.ngclient.updater import Updater

from hallmark.client.http import HttpClient, one_line, refused
from hallmark.client.pinned_roots import MAX_ROOT_BYTES, fingerprint_of
from hallmark.client.trust_cache import SIGNING_CONFIG, TRUSTED_ROOT, KeptTrust, TrustMaterial
from hallmark.client.tuf_keys import check_tuf_keys
from hallmark.errors import HallmarkError, RemoteError, TrustError

SERVICE: Final = "the TUF repository"
_MAX_FILE_BYTES: Final = 8 << 20
_ROLES: Final = ("timestamp.json", "snapshot.json", "targets.json")
_ROOTS: Final = "root_history"
_ROOT_NAME: Final = re.compile(r"[1-9][0-9]{0,8}\.root\.json", re.ASCII)


class _Signed(msgspec.Struct, frozen=True):
    expires: datetime


class _Metadata(msgspec.Struct, frozen=True):
    signed: _Signed


class _Fetcher(FetcherInterface):
    """Lets the TUF client fetch through ours; keeps the error of the service, which says more than TUF's."""

    def __init__(self, http: HttpClient) -> None:
        self._http = http
        self.fault: HallmarkError | None = None

    def _fetch(self, url: str) -> Iterator[bytes]:
        self.fault = None
        try:
            answer = self._http.get(url, service=SERVICE, max_bytes=_MAX_FILE_BYTES)
        except HallmarkError as error:
            self.fault = error
            raise DownloadError(error.message) from None
        if answer.status != 200:
            self.fault = refused(answer, service=SERVICE, url=url)
            raise DownloadHTTPError(self.fault.message, answer.status)
        return iter((answer.body,))


def fetch_root(url: str, fingerprint: str, http: HttpClient) -> bytes:
    """Fetch the root.json with this fingerprint; raises `TrustError` for another one, or `RemoteError`."""
    root = fetch_unpinned_root(url, http)
    found = fingerprint_of(root)
    if not hmac.compare_digest(found, fingerprint):
        raise TrustError(
            f"the root at {url} has the fingerprint {found}, not {fingerprint}",
            code="wrong_root",
            hint="ask the operator for the fingerprint; if yours is right, somebody else is answering",
        )
    return root


def fetch_unpinned_root(url: str, http: HttpClient) -> bytes:
    """Fetch a root.json that nothing vouches for; its fingerprint is for the caller to compare."""
    answer = http.get(url, service=SERVICE, max_bytes=MAX_ROOT_BYTES)
    if answer.status != 200:
        raise refused(answer, service=SERVICE, url=url)
    return answer.body


def fetch_trust(
    tuf_url: str, root: bytes, http: HttpClient, *, known: KeptTrust | None, now: datetime
) -> TrustMaterial:
    """Update from a TUF repository, starting at `root`, and fetch what it vouches for.

    `known` is what an earlier update found: the repository may not go behind it. Raises `TrustError` where
    the repository's word does not hold or has expired, and `RemoteError` where it cannot be reached.
    """
    fetcher = _Fetcher(http)
    try:
        with tempfile.TemporaryDirectory(prefix="hallmark-") as name:
            folder = Path(name)
            check_tuf_keys([root])
            _write_metadata(folder, known.metadata if known else {})
            return _update(folder, tuf_url, root, fetcher, now)
    except ExpiredMetadataError as error:
        raise TrustError(
            f"the trust material of {tuf_url} has expired: {one_line(str(error))}",
            code="expired_trust_material",
            hint="the operator must let the instance renew it; check this machine's clock too",
        ) from None
    except (RepositoryError, DownloadLengthMismatchError, ValueError) as error:
        raise TrustError(
            f"the TUF repository at {tuf_url} does not hold: {one_line(str(error))}",
            code="untrusted_repository",
            hint="tell the operator; do not sign or verify with it",
        ) from None
    except DownloadError as error:
        raise fetcher.fault or RemoteError(f"{SERVICE} at {tuf_url} failed: {one_line(str(error))}") from None
    except OSError as error:
        raise TrustError(
            f"cannot keep the trust material: {error.strerror}", code="no_temporary_folder"
        ) from None


def _write_metadata(folder: Path, metadata: Mapping[str, bytes]) -> None:
    """Give the TUF client what it knew: each root since the pinned one, and the other roles.

    It checks all of it again, from the pinned root on.
    """
    (folder / _ROOTS).mkdir()
    for name, data in metadata.items():
        if name in _ROLES:
            (folder / name).write_bytes(data)
        elif _ROOT_NAME.fullmatch(name):
            (folder / _ROOTS / name).write_bytes(data)


def _read_metadata(folder: Path) -> dict[str, bytes]:
    roots = {path.name: path.read_bytes() for path in (folder / _ROOTS).iterdir()}
    return roots | {name: (folder / name).read_bytes() for name in _ROLES}


def _update(folder: Path, tuf_url: str, root: bytes, fetcher: _Fetcher, now: datetime) -> TrustMaterial:
    base = tuf_url.rstrip("/")
    updater = Updater(
        str(folder), base, str(folder / "files"), f"{base}/targets", fetcher=fetcher, bootstrap=root
    )
    updater.refresh()
    files = {name: _fetch_target(updater, name, tuf_url) for name in (TRUSTED_ROOT, SIGNING_CONFIG)}
    metadata = _read_metadata(folder)
    check_tuf_keys(data for name, data in metadata.items() if name not in ("timestamp.json", "snapshot.json"))
    current = ((folder / "root.json").read_bytes(), *(metadata[name] for name in _ROLES))
    return TrustMaterial(
        tuf_url=tuf_url,
        fetched=now.astimezone(UTC),
        expires=min(msgspec.json.decode(data, type=_Metadata).signed.expires for data in current),
        trusted_root=files[TRUSTED_ROOT],
        signing_config=files[SIGNING_CONFIG],
        metadata=metadata,
    )


def _fetch_target(updater: Updater, name: str, tuf_url: str) -> bytes:
    target = updater.get_targetinfo(name)
    if target is None:
        raise TrustError(
            f"the TUF repository at {tuf_url} has no {name}",
            code="missing_trust_material",
            hint="is this the repository of a Sigstore instance?",
        )
    if target.length > _MAX_FILE_BYTES:
        raise TrustError(
            f"{name} in {tuf_url} has {target.length} bytes, too many", code="untrusted_repository"
        )
    return Path(updater.download_target(target)).read_bytes()
