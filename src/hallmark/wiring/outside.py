"""Whether a log is as new as what stands outside an instance's directory has seen of it.

An older copy of a log looks right from within: only those who saw what came after it can tell. Asked at
every start are its witnesses, and the mirrors that the settings name; `wiring.place` and `tiledlog.presence`
look for traces inside.
"""

import logging
from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import Final

from hallmark.core.tiles import TILE_WIDTH, TileId
from hallmark.errors import HallmarkError, TrustError
from hallmark.ports import LogHead
from hallmark.tiledlog.objects import tile_reader
from hallmark.tiledlog.presence import RESTORE_HINT, check_nothing_beyond
from hallmark.tiledlog.publisher import Publisher
from hallmark.wiring.entry_rules import rules_of
from hallmark.wiring.layout import Layout
from hallmark.wiring.logs import OpenLog
from hallmark.wiring.mirror_places import Known, Shown, ask_places, is_signed
from hallmark.wiring.place import COPY_HINT
from hallmark.witness.client import Sighting
from hallmark.witness.gathering import Witnesses

logger = logging.getLogger("hallmark.publishing")

Published = tuple[OpenLog, Publisher]

FORK_HINT: Final = (
    "two histories were signed, and nothing can join them: end the log here and begin another with "
    "hallmark log restore --data DIR --replace-logs, without --from (docs/operate/restore.md)"
)
_WRONG_HINT: Final = "if the mirror is wrong, take it out of `mirrors` in the settings"


def check_mirrors_show(layout: Layout, places: Sequence[str], logs: Mapping[str, Published]) -> None:
    """Ask the mirrors of an instance what they have; raises `TrustError` where its directory has less.

    One that does not answer is told: it may come back later, and then nobody asks it before the next start.
    """
    if not places:
        return
    for shown in ask_places(Known(layout, {name: log for name, (log, _) in logs.items()}), places):
        _check_none_lost(shown)
        for name, note in shown.notes:
            log, publisher = logs[name]
            if not _head(log).frozen:
                _check_shown(note, shown.place, publisher)
        _warn(shown, logs)


def _check_none_lost(shown: Shown) -> None:
    for lost in shown.lost:
        raise TrustError(
            lost.describe(),
            code="log_behind_its_checkpoint",
            hint="put a copy in place that was made later, or begin others after it: hallmark log restore "
            f"--data DIR --from {shown.place} --replace-logs (docs/operate/restore.md); {_WRONG_HINT}",
        )


def _check_shown(note: bytes, place: str, publisher: Publisher) -> None:
    try:
        publisher.check_signed(note, f"stands at {place}")
    except TrustError as error:
        if error.code == "log_inconsistent":
            raise TrustError(error.message, code=error.code, hint=f"{FORK_HINT}; {_WRONG_HINT}") from error
        raise TrustError(error.message, code=error.code, hint=f"{error.hint}; {_WRONG_HINT}") from error


def _warn(shown: Shown, logs: Mapping[str, Published]) -> None:
    """Tell what was not compared; a mirror of one log need not have the others."""
    for origin in shown.foreign:
        logger.warning(
            "%s shows a checkpoint of the log %s with another key: not compared", shown.place, origin
        )
    if shown.failure is not None:
        logger.warning("%s cannot be asked for checkpoints: %s", shown.place, shown.failure.message)
    elif not shown.single or shown.is_empty:
        names = {name for name, _ in shown.notes}
        for name, (log, _) in logs.items():
            origin = log.signer.origin
            if name not in names and origin not in shown.foreign and not _head(log).frozen:
                logger.warning("%s has no checkpoint of the log %s: nothing to compare", shown.place, origin)


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
    if sighting.note and is_signed(sighting.note, log):
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
