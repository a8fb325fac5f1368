"""What an instance says of itself at `/.well-known/hallmark.json`.

None of it is trusted: it tells where to fetch, and whatever is fetched is checked against a pinned root.
"""

from typing import Final

import msgspec

from hallmark.client.http import HttpClient, refused
from hallmark.errors import RemoteError

SERVICE: Final = "the instance"
_PATH: Final = "/.well-known/hallmark.json"
_MAX_BYTES: Final = 64 << 10


class Services(msgspec.Struct, frozen=True, kw_only=True):
    """Where each service is; "" for one that the instance does not run."""

    ca: str = ""
    tlog: str = ""
    tsa: str = ""
    oidc: str = ""
    ctlog: str = ""
    tuf: str


class Configs(msgspec.Struct, frozen=True, kw_only=True):
    """Where the ready-made files for clients are."""

    trusted_root: str = ""
    signing_config: str = ""
    client_trust_config: str = ""
    root: str


class InstanceDescription(msgspec.Struct, frozen=True, kw_only=True):
    """The whole document; `root_fingerprint` is SHA-256 (hex) of root.json as the instance claims it."""

    base_url: str
    services: Services
    configs: Configs
    root_fingerprint: str


def fetch_description(url: str, http: HttpClient) -> InstanceDescription:
    """Fetch what the instance at base URL `url` says of itself; raises `RemoteError`.

    Its code is `no_instance` where something answers that is not a Hallmark instance.
    """
    address = url.rstrip("/") + _PATH
    answer = http.get(address, service=SERVICE, max_bytes=_MAX_BYTES)
    if answer.status == 404:
        raise RemoteError(
            f"{url} is not a Hallmark instance: it has no {_PATH}",
            code="no_instance",
            hint="for another Sigstore, name its TUF repository with --tuf and its root with --root",
        )
    if answer.status != 200:
        raise refused(answer, service=SERVICE, url=address)
    try:
        return msgspec.json.decode(answer.body, type=InstanceDescription)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise RemoteError(f"{url} describes itself in no form that fits", code="no_instance") from None
