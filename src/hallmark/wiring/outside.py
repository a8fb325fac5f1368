"""Whether a log is as new as what stands outside an instance's directory has seen of it.

An older copy of a log looks right from within: only those who saw what came after it can tell. Asked at
every start are its witnesses, and the mirrors that the settings name; `wiring.place` and `tiledlog.presence`
look for traces inside.
"""

import logging
from collections.abc import Sequence
from contextlib import closing
from typing import Final

from hallmark.client.http import HttpClient
from hallmark.core.tiles import TILE_WIDTH, TileId
from hallmark.errors import HallmarkError, TrustError
from hallmark.ports import LogHead
from hallmark.tiledlog.mirror import ReadObjects
from hallmark.tiledlog.objects import CHECKPOINT, tile_reader
from hallmark.tiledlog.presence import RESTORE_HINT, check_nothing_beyond
from hallmark.tiledlog.publisher import Publisher
from hallmark.wiring.entry_rules import rules_of
from hallmark.wiring.log_sides import find_read_sides
from hallmark.wiring.logs import OpenLog
from hallmark.wiring.place import COPY_HINT
from hallmark.witness.client import Sighting
from hallmark.witness.gathering import Witnesses

logger = logging.getLogger("hallmark.publishing")

_MIRROR_SECONDS: Final = 5.0  # for each, at a start: as long as a witness has


def check_mirrors_show(places: Sequence[str], name: str, log: OpenLog, publisher: Publisher) -> None:
    """Ask the mirrors of a log what they have of it; raises `TrustError` where it has less.

    One that does not answer is told: it may come back later, and then nobody asks it before the next start.
    """
    if not places or _head(log).frozen:
        return
    for place in places:
        note = _note_at(place, name, log)
        if note is None:
            logger.warning("%s shows no checkpoint of the log %s: not asked", place, log.signer.origin)
        else:
            publisher.check_signed(note, f"stands at {place}")


def _note_at(place: str, name: str, log: OpenLog) -> bytes | None:
    http = HttpClient(timeout_seconds=_MIRROR_SECONDS, deadline_seconds=_MIRROR_SECONDS, patience_seconds=0)
    notes = (_note(objects) for objects in find_read_sides(place, name, http))
    return next((note for note in notes if _is_signed(note, log)), None)


def _note(objects: ReadObjects) -> bytes:
    try:
        return objects.get(CHECKPOINT)
    except (HallmarkError, OSError):
        return b""


def check_witnesses_saw(witnesses: Witnesses | None, log: OpenLog, publisher: Publisher) -> None:
    """Ask the witnesses of a log what they have seen of it; raises `TrustError` where it has less.

    One that shows no note may lie; the operator can drop it from the policy, and a fork cannot be undone.
    """
    if witnesses is None or _head(log).frozen:  # a frozen log signs nothing more
        return
    for sighting in look(witnesses, log).values():
        check_sighting(sighting, log, publisher)


def check_newest_entries(log: OpenLog) -> None:
    """Check the newest published entries, and that what they refer to is there; raises `TrustError`."""
    head, objects = _head(log), log.objects()
    if head.applied:
        index = (head.applied - 1) // TILE_WIDTH
        width = head.applied - index * TILE_WIDTH
        data = tile_reader(objects, log.records.folder)(TileId(None, index, width))
        check = rules_of(log.records, objects).check
        try:
            for place, record in enumerate(log.records.split(data)[:width], index * TILE_WIDTH):
                check(place, record)
        except HallmarkError as error:
            raise TrustError(
                f"the log {log.signer.origin} is not whole: {error.message}",
                code="published_part_missing",
                hint=RESTORE_HINT,
            ) from error


def check_published_within(log: OpenLog) -> None:
    """Check that nothing was published beyond the head; raises `TrustError` (`log_behind_its_checkpoint`).

    A frozen log signs nothing more, and one that `log restore` ended may stand before what it had published.
    """
    with closing(log.store()) as store:
        if not store.head().frozen:
            check_nothing_beyond(log.objects(), log.records, lambda: store.head().size, log.signer.origin)


def look(witnesses: Witnesses | None, log: OpenLog) -> dict[str, Sighting]:
    """Ask the witnesses of a log how far they have seen it; those that do not answer are left out."""
    if witnesses is None:
        return {}
    note = _head(log).checkpoint
    return witnesses.look(note, log.signer.verify(note))


def check_sighting(sighting: Sighting, log: OpenLog, publisher: Publisher) -> None:
    """Check that the log is no older than what a witness has seen of it; raises `TrustError`."""
    name = f"the witness {sighting.witness}"
    if sighting.note and _is_signed(sighting.note, log):
        publisher.check_signed(sighting.note, f"{name} shows")
        return
    size = _head(log).size
    if sighting.size > size or sighting.other:
        seen = f"{sighting.size} entries" if sighting.size > size else "another tree of this size"
        raise TrustError(
            f"{name} says that it has cosigned {seen} of the log {log.signer.origin}, which has {size} here",
            code="log_behind_its_checkpoint",
            hint=f"{COPY_HINT}; if the witness is wrong, take it out of the policy",
        )


def _head(log: OpenLog) -> LogHead:
    with closing(log.store()) as store:
        return store.head()


def _is_signed(note: bytes, log: OpenLog) -> bool:
    try:
        log.signer.verify(note)
    except HallmarkError:
        return False
    return True
