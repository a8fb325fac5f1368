"""Brings the logs of a copied or damaged directory back, and keeps it from signing until that is safe.

Two things can be missing: entries that the instance signed after the copy was made, and published files. Both
are fetched from mirrors and other copies, and verified as a mirror verifies them. What cannot be fetched must
be ruled out, or the log that may lack it ends here and another takes its place: a log that goes on from an
older copy has two histories.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from datetime import datetime
from typing import Final

import msgspec

from hallmark.core.checkpoint import Checkpoint
from hallmark.core.keys import parse_public_key
from hallmark.core.trusted_root import parse_trusted_root
from hallmark.errors import ConfigurationError, HallmarkError, InvalidProof, RemoteError, TrustError
from hallmark.tiledlog.mirror import Mirror, Progress, ReadObjects
from hallmark.tiledlog.objects import CHECKPOINT
from hallmark.tiledlog.presence import check_presence
from hallmark.tiledlog.publisher import Publisher
from hallmark.tiledlog.replay import Replay
from hallmark.tiledlog.witnessing import Cosigned, Prove
from hallmark.wiring.checking import log_names, open_log
from hallmark.wiring.entry_rules import rules_of
from hallmark.wiring.layout import CT_LOG, Layout
from hallmark.wiring.log_sides import find_read_sides
from hallmark.wiring.logs import OpenLog, open_ctlog
from hallmark.wiring.mirror_places import Known, LostLog, ask_places
from hallmark.wiring.mirroring import copies_of_referred
from hallmark.wiring.outside import (
    FORK_HINT,
    check_newest_entries,
    check_published_within,
    check_sighting,
    look,
)
from hallmark.wiring.place import note_place, restoring
from hallmark.wiring.replacing import begin_restoring, decide, finish_replacing
from hallmark.wiring.rotation import trust_locked
from hallmark.wiring.shards import ShardTable
from hallmark.wiring.witnessing import open_ctlog_witnesses, open_witnesses, read_setting
from hallmark.witness.client import Sighting
from hallmark.witness.config import WitnessMode
from hallmark.witness.gathering import Witnesses

TRUST_VERSIONS: Final = 1000  # how far the trust root's versions leap: more than were signed since any copy

_ASK_SECONDS: Final = 60.0  # for the checkpoints at all places: nobody serves meanwhile, a start has less

ProgressOf = Callable[[str], Progress]


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What the operator says: where copies stand, and what to do with a log that may have gone on elsewhere.

    `nothing_newer` states that nothing was signed after what is here now; `replace` ends such logs.
    """

    places: Sequence[str]
    nothing_newer: bool = False
    replace: bool = False


class Restored(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one log. `doubt` says why it may lack entries; nothing where that is ruled out.

    `frozen` says that it took no more entries before this restore: nothing is left to end.
    """

    name: str
    origin: str
    old_size: int
    size: int
    fetched: int
    doubt: str
    frozen: bool
    known: bool
    """Something outside shows that entries are missing: no statement can rule them out."""


class _Source(msgspec.Struct, frozen=True):
    """A read side of the log somewhere else, and the checkpoint it shows, verified."""

    place: str
    objects: ReadObjects
    note: bytes
    stated: Checkpoint


class _NotNow:
    """A cosigner that lets tiles be published and the checkpoint stand (`tiledlog.witnessing.Cosigner`)."""

    def cosign(self, _note: bytes, _stated: Checkpoint, _published: bytes, _prove: Prove) -> Cosigned:
        """Publish no checkpoint: that is for the instance to do, once it may start."""
        return Cosigned(None, quorum=True)


def restore_instance(layout: Layout, plan: Plan, now: datetime, progress: ProgressOf) -> tuple[Restored, ...]:
    """Restore every log; the caller holds the directory. Once begun it must succeed before a start.

    Where nothing was changed because of what a place shows, the directory is as it was before.

    Raises `TrustError`: `newer_entries_not_ruled_out`, `log_behind_its_checkpoint`, `log_inconsistent` or
    `published_part_missing`; and what `Mirror` raises.
    """
    unfinished = restoring(layout).exists()
    begun = begin_restoring(layout)
    finish_replacing(layout, begun, now)
    try:
        logs = [
            _Restoring(layout, name, now, fresh=begun.is_fresh(layout, name)) for name in log_names(layout)
        ]
        # after a replacement a mirror may be of a log that has ended since
        lost = () if begun.names else _check_places(layout, plan.places)
        for log in logs:
            log.check_history(plan.places)
    except HallmarkError:
        if not unfinished:  # nothing was changed: the directory is what it was before
            restoring(layout).unlink()
        raise
    done = tuple(log.run(plan.places, progress(log.name)) for log in logs)
    done = _doubt_before(lost, done, ShardTable(layout).read()[-1].folder)
    doubtful = [item for item in done if item.doubt]
    if not plan.replace:
        _refuse_doubt([item for item in doubtful if item.known or not plan.nothing_newer], bool(lost))
    elif doubtful:
        finish_replacing(layout, decide(layout, [item.name for item in doubtful], lost), now)
    with trust_locked(layout) as repository:
        repository.leap(now, TRUST_VERSIONS)
    note_place(layout)
    restoring(layout).unlink()
    return done


def _doubt_before(lost: Sequence[LostLog], done: Sequence[Restored], newest: str) -> tuple[Restored, ...]:
    """Doubt the logs that were current before the lost ones, whatever else speaks for them."""
    reasons = {(newest if item.number else CT_LOG): item.describe() for item in lost}
    return tuple(
        msgspec.structs.replace(item, doubt=reasons[item.name], known=True) if item.name in reasons else item
        for item in done
    )


def _refuse_doubt(doubtful: Sequence[Restored], lost: bool) -> None:
    if not doubtful:
        return
    known = any(item.known for item in doubtful)
    way = "put a copy in place that was made later" if lost else "bring it with --from"
    hint = f"{way}, or end such logs and begin others in their place with --replace-logs"
    if not known:
        hint = f"if you know that nothing newer exists, say --nothing-newer-exists; else {hint}"
    raise TrustError(
        "; ".join(f"{item.name} ({item.size} entries): {item.doubt}" for item in doubtful),
        code="log_behind_its_checkpoint" if known else "newer_entries_not_ruled_out",
        hint=hint,
    )


class _Restoring:
    """Restores one log."""

    def __init__(self, layout: Layout, name: str, now: datetime, *, fresh: bool) -> None:
        self._layout = layout
        self.name = name
        self._now = now
        self._fresh = fresh
        self._log = open_log(layout, name)
        self._objects = self._log.objects()

    def run(self, places: Sequence[str], progress: Progress) -> Restored:
        """Bring in what the places have, then ask what else there may be."""
        self._objects.discard_unfinished()
        sources = list(self._sources(places))
        with closing(self._log.store()) as store:
            old = store.head()
        fetched = self._bring_in_all(sources, progress)
        publisher, store = self._log.publisher(_NotNow())
        with closing(store):
            publisher.recover()
            check_newest_entries(self._log)
            for source in sources:
                publisher.check_signed(source.note, f"stands at {source.place}")
            doubt, known = self._doubt(publisher)
            return Restored(
                name=self.name,
                origin=self._log.signer.origin,
                old_size=old.size,
                size=store.head().size,
                fetched=fetched,
                doubt=doubt,
                frozen=old.frozen,
                known=known,
            )

    def check_history(self, places: Sequence[str]) -> None:
        """Check that no place has another history of this log; raises `TrustError` (`log_inconsistent`).

        Nothing is written. Damage is not looked at: another source may have it whole.
        """
        for source in self._sources(places):
            try:
                self._check_source(source, self._mirror(source))
            except HallmarkError as error:
                if error.code == "log_inconsistent":
                    raise TrustError(
                        f"{source.place}: {error.message}", code=error.code, hint=FORK_HINT
                    ) from error

    def _sources(self, places: Sequence[str]) -> Iterator[_Source]:
        """The read sides of this log at those places."""
        for place in places:
            for objects in find_read_sides(place, self.name):
                try:
                    note = objects.get(CHECKPOINT)
                    yield _Source(place, objects, note, self._log.signer.verify(note))
                    break
                except HallmarkError:  # nothing there, or another log
                    continue

    def _bring_in_all(self, sources: Sequence[_Source], progress: Progress) -> int:
        """Take from the sources what they have, the newest first; counts the objects.

        One that is damaged itself does not matter as long as another is whole. The log's own published part
        comes last: it too may be ahead of the database.
        """
        counts: list[int] = []
        failures: list[HallmarkError] = []
        for source in sorted(sources, key=lambda item: item.stated.size, reverse=True):
            try:
                counts.append(self._bring_in(source, progress))
            except (InvalidProof, RemoteError) as error:
                failures.append(error)
        if failures and not counts:
            raise failures[0]
        with closing(self._log.store()) as store:
            size = store.head().size
        own = self._sources([str(self._layout.public(self.name))])
        counts += [self._bring_in(source, progress) for source in own if source.stated.size > size]
        return sum(counts)

    def _bring_in(self, source: _Source, progress: Progress) -> int:
        """Make the published part whole as far as the source goes, then the database; counts the objects."""
        records, stated = self._log.records, source.stated
        mirror = self._mirror(source)
        self._check_source(source, mirror)
        with closing(self._log.store()) as store:
            head = store.head()
            fetched = mirror.repair(source.note, progress).fetched
            if stated.size > head.size:
                replay = Replay(store, self._objects, self._log.signer, records)
                milliseconds = int(self._now.timestamp() * 1000)
                replay.run(stated, rules_of(records, self._objects), now=milliseconds, progress=progress)
        return fetched

    def _mirror(self, source: _Source) -> Mirror:
        records = self._log.records
        return Mirror(
            source.objects,
            self._objects,
            records,
            self._log.signer.verify,
            on_records=copies_of_referred(source.objects, self._objects, records),
        )

    def _check_source(self, source: _Source, mirror: Mirror) -> None:
        stated = source.stated
        with closing(self._log.store()) as store:
            head = store.head()
        if stated.size < head.applied:
            # what it lacks must be here, and be its continuation: nothing true is ever overwritten
            check_presence_of_edge(self._log)
            _publisher(self._log).check_signed(source.note, f"stands at {source.place}")
        elif head.size <= stated.size:
            mirror.check_extends(Checkpoint(stated.origin, head.size, head.root), source.note)

    def _doubt(self, publisher: Publisher) -> tuple[str, bool]:
        """Say why entries may be missing, and whether something shows that they are."""
        if self._fresh or self._is_ended() or self._is_unknown():
            return "", False
        seen = look(self._witnesses(), self._log)
        try:
            check_published_within(self._log)
            for sighting in seen.values():
                check_sighting(sighting, self._log, publisher)
        except TrustError as error:
            return error.message, True
        return self._not_ruled_out(seen), False

    def _not_ruled_out(self, seen: Mapping[str, Sighting]) -> str:
        with closing(self._log.store()) as store:
            if store.head().frozen:  # it signs nothing more, so it cannot fork
                return ""
        setting = read_setting(self._layout)
        if self.name == CT_LOG or setting is None or setting.mode is not WitnessMode.STRICT:
            return "nothing outside shows that this is all it has signed"
        if silent := setting.parse().holds_without(seen.keys()):
            return f"its witnesses {', '.join(silent)} do not say what they have seen"
        return ""

    def _is_ended(self) -> bool:
        """Say whether a restore has ended this log before: frozen without a last checkpoint that says so."""
        with closing(self._log.store()) as store:
            head = store.head()
        return head.frozen and not self._log.signer.verify(head.checkpoint).extensions

    def _is_unknown(self) -> bool:
        """Say whether this is a shard that no client was told of, left by a rotation that did not finish."""
        shard = next((item for item in ShardTable(self._layout).read() if item.folder == self.name), None)
        if shard is None:
            return False
        root = parse_trusted_root((self._layout.client / "trusted_root.json").read_bytes())
        url = shard.trusted_url(self._layout.read_instance())
        return url not in {log.base_url for log in root.tlogs}

    def _witnesses(self) -> Witnesses | None:
        if self.name != CT_LOG:
            return open_witnesses(self._layout)
        log, key = open_ctlog(self._layout, self._layout.read_instance())
        return open_ctlog_witnesses(self._layout, log, parse_public_key(key.spki))


def _publisher(log: OpenLog) -> Publisher:
    return log.publisher(_NotNow())[0]


def check_presence_of_edge(log: OpenLog) -> None:
    """Check that the newest published entries are here; raises `TrustError` (`published_part_missing`)."""
    with closing(log.store()) as store:
        check_presence(log.objects(), log.records, store.head(), log.signer.origin)


def _check_places(layout: Layout, places: Sequence[str]) -> tuple[LostLog, ...]:
    """Check that each place has at least one of the logs: a mistyped one must not pass for no news.

    Gives the logs that they show and the directory does not know.
    """
    logs = {name: open_log(layout, name) for name in log_names(layout)}
    found = ask_places(Known(layout, logs), places, _ASK_SECONDS) if places else ()
    for shown in found:
        # one that stopped answering may have shown only a part: it could still rule something out
        stopped = shown.failure is not None and shown.failure.code == "service_unreachable"
        if shown.failure is not None and (stopped or shown.is_empty):
            raise shown.failure
        if shown.is_empty:
            raise ConfigurationError(
                f"there is no log of this instance at {shown.place}",
                code="not_a_log",
                hint="name a mirror, a mirror of the whole instance, or another copy of the directory",
            )
    return tuple(item for shown in found for item in shown.lost)
