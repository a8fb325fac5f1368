"""Mirrors all logs of an instance: those that its trusted root names, whatever rotations made of them."""

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import msgspec

from hallmark.client.contexts import load_contexts
from hallmark.client.http import HttpClient
from hallmark.client.trust import parse_material
from hallmark.client.trust_update import update_trust
from hallmark.core.keys import PublicKey
from hallmark.core.signing_config import ClientTrustConfig, parse_client_trust_config
from hallmark.core.trusted_root import TransparencyLog
from hallmark.errors import HallmarkError, NotFound, RemoteError, TrustError
from hallmark.tiledlog.mirror import Progress
from hallmark.tiledlog.objects import CHECKPOINT
from hallmark.wiring.checking import log_names
from hallmark.wiring.layout import Layout
from hallmark.wiring.log_sides import MIRROR_FILE, identify_log, open_read_side, pinned_identity
from hallmark.wiring.mirroring import Mirrored, mirror_log

CT_FOLDER: Final = "ctlog"
_LAST_SECOND: Final = timedelta(seconds=1)  # a log that was replaced is valid to the end of this one


class MirroredInstance(msgspec.Struct, frozen=True):
    """What became of each log, by its folder; `ended` are logs that nobody serves any more."""

    logs: Mapping[str, Mirrored]
    failed: Mapping[str, HallmarkError]
    ended: tuple[str, ...]


class InstanceSource(msgspec.Struct, frozen=True):
    """What an instance's logs are by its trusted root, and where their read sides may be."""

    trust: ClientTrustConfig
    places: tuple[str, ...]


def find_instance_source(source: str, folder: Path, now: datetime) -> InstanceSource | None:
    """Find the instance that is meant: its directory, or a context, by name or URL; None for a single log.

    The trusted root of a context is fetched, through its pinned root: a rotation must not be missed. A folder
    that is a mirror of one log stays that. Raises `RemoteError` and `TrustError`.
    """
    if (folder / MIRROR_FILE).is_file():
        return None
    layout = Layout(Path(source))
    if layout.instance_file.is_file():
        data = (layout.client / "client_trust_config.json").read_bytes()
        places = tuple(str(layout.public(name)) for name in log_names(layout))
        return InstanceSource(parse_client_trust_config(data), places)
    context = load_contexts().find(source)
    if context is None:
        return None
    trust = parse_material(update_trust(context, HttpClient(), now))
    urls = [service.url for service in trust.signing_config.rekor_tlog_urls]
    urls += [log.base_url for log in trust.trusted_root.ctlogs]
    return InstanceSource(trust, tuple(dict.fromkeys(urls)))


def mirror_instance(
    source: InstanceSource, folder: Path, now: datetime, progress_of: Callable[[str], Progress]
) -> MirroredInstance:
    """Bring the mirrors below `folder` up to date, one for each log; one that fails stops no other."""
    done: dict[str, Mirrored] = {}
    failed: dict[str, HallmarkError] = {}
    ended: list[str] = []
    served = dict(_served(source, failed))
    for name, log in _named(source):
        place = served.get(log.key.spki)
        if place is None and log.valid_for.end is not None and log.valid_for.end <= now + _LAST_SECOND:
            ended.append(name)
        elif place is None:
            failed[name] = RemoteError(f"nobody serves the log {name} of {log.base_url}", code="not_a_log")
        else:
            try:
                done[name] = mirror_log(
                    place, folder / name, [log.key], origin=None, progress=progress_of(name)
                )
            except HallmarkError as error:
                failed[name] = error
    return MirroredInstance(done, failed, tuple(ended))


def _served(source: InstanceSource, failed: dict[str, HallmarkError]) -> Iterator[tuple[bytes, str]]:
    """Find out by their checkpoints which log stands where: a shard's URL in the root need not resolve."""
    keys = [log.key for log in (*source.trust.trusted_root.tlogs, *source.trust.trusted_root.ctlogs)]
    for place in source.places:
        try:
            yield _key_at(place, keys).spki, place
        except (NotFound, TrustError):
            continue
        except HallmarkError as error:
            failed[place] = error


def _key_at(place: str, keys: list[PublicKey]) -> PublicKey:
    return identify_log(open_read_side(place).get(CHECKPOINT), keys, origin=None).key


def _named(source: InstanceSource) -> Iterator[tuple[str, TransparencyLog]]:
    """Name the folder of each log as in an instance's directory: the root names the shards for ever.

    A CT log that replaced another gets a folder of its own.
    """
    root = source.trust.trusted_root
    yield "tlog", root.tlogs[0]
    for place, log in enumerate(root.tlogs[1:], 2):
        label = urlsplit(log.base_url).netloc.partition(".")[0]  # the number; those before it may be missing
        yield f"shards/{label if label.isascii() and label.isdigit() else place}", log
    for number, log in enumerate(root.ctlogs, 1):
        yield (CT_FOLDER if number == 1 else f"{CT_FOLDER}-{number}"), log


def mirrored_folders(folder: Path) -> tuple[Path, ...]:
    """List the mirrors below the folder of an instance's mirror, its own included where it is one."""
    patterns = ("mirror.json", "*/mirror.json", "shards/*/mirror.json")
    found = sorted({path.parent for pattern in patterns for path in folder.glob(pattern)}, key=_order)
    return tuple(item for item in found if pinned_identity(item) is not None)


def _order(folder: Path) -> tuple[str, int, str]:
    number = int(folder.name) if folder.name.isdigit() else 0
    return ("shards" if number else folder.name, number, folder.name)
