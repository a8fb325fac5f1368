"""Examines a whole log: every hash, every checkpoint, every row, from the entry bundles up.

It reads only, and goes on after whatever it finds. Beside a running instance it examines the log as it was
committed when the examination began.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Final, Protocol

import msgspec

from hallmark.core.checkpoint import Checkpoint
from hallmark.core.merkle import Growth, leaf_hash, root_of_edge
from hallmark.core.tiles import split_hashes
from hallmark.errors import HallmarkError, MalformedInput, NotFound
from hallmark.ports import LogHead, ObjectStore, StagedCommit, StorageFailed
from hallmark.tiledlog.dedup_check import DedupCheck, DedupRows
from hallmark.tiledlog.findings import Finding, Findings
from hallmark.tiledlog.objects import CHECKPOINT
from hallmark.tiledlog.presence import objects_beyond
from hallmark.tiledlog.records import RecordFormat
from hallmark.tiledlog.tree_check import TreeCheck

VerifyCheckpoint = Callable[[bytes], Checkpoint]
"""Checks a signed note of the log; raises `VerificationError` or `MalformedInput`."""

Progress = Callable[[int, int], None]
"""Told of entries done and entries in all."""


DATABASE: Final = "log.db"
_PAGE: Final = 8192


class LogAudit(DedupRows, Protocol):
    """A log's database, opened for examination: nothing is written, no row is trusted."""

    def damage(self) -> Sequence[str]:
        """Say what the database itself finds wrong with its file."""
        ...

    def reading(self) -> AbstractContextManager[tuple[LogHead, Iterator[StagedCommit]]]:
        """Read head and staged commits, one by one, of one committed state; keep it short."""
        ...

    def time_of(self, index: int) -> int:
        """Tell the time of an entry's commit; raises `NotFound`."""
        ...

    def commit_times(self, after: int, limit: int) -> Sequence[tuple[int, int]]:
        """Read (first index, time) of the commits behind index `after`, in order."""
        ...


class EntryRules(msgspec.Struct, frozen=True, kw_only=True):
    """What holds for the records of one kind of log.

    `dedup_key` gives the key that names an entry; `check` raises a `HallmarkError` for a record that does not
    belong to its index or refers to an object that is missing; `time` is the time a record states, if any.
    """

    dedup_key: Callable[[bytes], bytes]
    check: Callable[[int, bytes], None]
    time: Callable[[bytes], int | None]


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What was examined, and everything that is wrong: the first findings, and how many there are."""

    origin: str
    size: int
    root: bytes
    findings: tuple[Finding, ...]
    count: int


def check_mirror(
    objects: ObjectStore,
    records: RecordFormat,
    verify: VerifyCheckpoint,
    *,
    progress: Progress,
    check_record: Callable[[int, bytes], None],
) -> Report:
    """Examine a log's read side alone: all that its own checkpoint covers."""
    findings = Findings()
    published = _published(objects, verify, findings, required=True)
    if published is None:
        return _report("", 0, b"", findings)
    tree = TreeCheck(
        objects,
        records,
        size=published.size,
        root=published.root,
        findings=findings,
        on_records=_each(check_record, findings),
    )
    tree.run(lambda done: progress(done, published.size))
    return _report(published.origin, published.size, published.root, findings)


class LogCheck:
    """Examines one log of an instance: database and published objects against each other."""

    def __init__(
        self,
        store: LogAudit,
        objects: ObjectStore,
        records: RecordFormat,
        verify: VerifyCheckpoint,
        rules: EntryRules,
    ) -> None:
        self._store = store
        self._objects = objects
        self._format = records
        self._verify = verify
        self._rules = rules
        self._findings = Findings()
        self._readable = True
        self._times = _Times(store, self._findings)
        self._dedup = DedupCheck(store, rules.dedup_key, self._findings)

    def run(self, progress: Progress) -> Report:
        """Examine everything; raises `NotFound` where there is no log at all."""
        published = _published(self._objects, self._verify, self._findings, required=False)
        for text in self._store.damage():
            self._findings.add("database_damaged", DATABASE, text)
        found: list[tuple[LogHead, dict[int, bytes]]] = []
        self._ask(lambda: found.append(self._check_rows()))
        if not found:
            return self._check_objects_alone(published, progress)
        head, staged_roots = found[0]
        self._ask(lambda: self._check_end(head))
        tree = self._check_tree(head, published, progress)
        self._check_published(head, published, tree.roots | staged_roots)
        self._ask(lambda: self._times.finish(head))
        self._ask(lambda: self._dedup.finish(head.size))
        origin = published.origin if published else ""
        return _report(origin, head.size, head.root, self._findings)

    def _ask(self, question: Callable[[], None]) -> None:
        """Ask the database something, unless it has failed to answer before."""
        if self._readable:
            try:
                question()
            except StorageFailed as error:
                self._readable = False
                self._findings.add("database_unreadable", DATABASE, str(error))

    def _check_end(self, head: LogHead) -> None:
        """Look for what a newer state of the log has published; a log that was ended may have left some."""
        if head.frozen:
            return
        for path in objects_beyond(self._objects, self._format, self._size):
            what = "it belongs to a larger tree than that of the head, which is an older copy"
            self._findings.add("beyond_head", path, what, expected=f"{head.size} entries")

    def _size(self) -> int:
        with self._store.reading() as (head, _):
            return head.size

    def _check_rows(self) -> tuple[LogHead, dict[int, bytes]]:
        with self._store.reading() as (head, staged):
            self._check_head(head)
            return head, self._check_staged(head, staged)

    def _check_objects_alone(self, published: Checkpoint | None, progress: Progress) -> Report:
        """What is left to examine when the head cannot be read."""
        if published is None:
            return _report("", 0, b"", self._findings)
        tree = TreeCheck(
            self._objects,
            self._format,
            size=published.size,
            root=published.root,
            findings=self._findings,
            on_records=lambda _start, _records: None,
        )
        tree.run(lambda done: progress(done, published.size))
        return _report(published.origin, published.size, published.root, self._findings)

    def _check_head(self, head: LogHead) -> None:
        what = "the right edge does not lead to the root hash"
        self._findings.compare(
            "head_edge_differs", "head", what, expected=head.root, found=root_of_edge(head.edge)
        )
        self._check_note("head", head.checkpoint, head.size, head.root)

    def _check_note(self, where: str, note: bytes, size: int, root: bytes) -> None:
        try:
            stated = self._verify(note)
        except HallmarkError as error:
            self._findings.add("checkpoint_invalid", where, error.message)
            return
        what = "the checkpoint states another tree than its row"
        self._findings.compare(
            "checkpoint_differs",
            where,
            what,
            expected=f"{size} {root.hex()}",
            found=f"{stated.size} {stated.root.hex()}",
        )

    def _check_staged(self, head: LogHead, staged: Iterator[StagedCommit]) -> dict[int, bytes]:
        """Check the commits that are not published yet; return the root hash after each."""
        growth = Growth(head.applied, head.applied_edge)
        roots: dict[int, bytes] = {}
        for commit in staged:
            where = f"staged row {commit.start}"
            if commit.start != growth.size:
                what = "the staged commit does not begin where the one before it ends"
                self._findings.add("staged_gap", where, what, expected=growth.size, found=commit.start)
                break
            growth = self._check_commit(where, commit, growth.edge())
            roots[growth.size] = growth.root()
        found = f"{growth.size} {growth.root().hex()}"
        what = "published and staged entries do not make up the tree of the head"
        self._findings.compare(
            "head_differs", "head", what, expected=f"{head.size} {head.root.hex()}", found=found
        )
        what = "the right edge of the head is not that of its entries"
        self._findings.compare(
            "head_edge_differs", "head", what, expected=b"".join(growth.edge()), found=b"".join(head.edge)
        )
        return roots

    def _check_commit(self, where: str, commit: StagedCommit, edge: tuple[bytes, ...]) -> Growth:
        """Check a staged commit on the tree before it; return the tree after it."""
        records, hashes = self._staged_entries(where, commit)
        stored, computed = Growth(commit.start, edge), Growth(commit.start, edge)
        leaves = [leaf_hash(self._format.leaf(record)) for record in records]
        for growth, items in ((stored, hashes), (computed, leaves)):
            for item in items:
                growth.append(item)
        entries_right = computed.root() == commit.root
        if not entries_right and stored.root() != commit.root:
            what = "the entries of the staged commit do not lead to its root hash"
            self._findings.add(
                "staged_root_differs", where, what, expected=commit.root, found=computed.root()
            )
        self._blame(where, commit.start, hashes, leaves, entries_right=entries_right)
        own = zip(records, hashes, leaves, strict=True)
        self._take(commit.start, [record if entries_right or a == b else b"" for record, a, b in own])
        self._check_note(where, commit.checkpoint, commit.end, commit.root)
        self._check_time(commit.start, commit.time)
        return computed if entries_right else stored

    def _blame(
        self, where: str, start: int, hashes: list[bytes], leaves: list[bytes], *, entries_right: bool
    ) -> None:
        for index, (stored, computed) in enumerate(zip(hashes, leaves, strict=True), start):
            place = f"{where}, entry {index}"
            if stored == computed:
                continue
            if entries_right:
                what = "the hash that is stored beside the entry is not its own"
                self._findings.add("staged_hash_differs", place, what, expected=computed, found=stored)
            else:
                what = "this is not what the log was made of"
                self._findings.add("staged_entry_differs", place, what, expected=stored, found=computed)

    def _staged_entries(self, where: str, commit: StagedCommit) -> tuple[list[bytes], list[bytes]]:
        count = commit.end - commit.start
        try:
            hashes, records = split_hashes(commit.hashes), self._format.split(commit.records)
            for record in records:
                self._format.leaf(record)
        except MalformedInput as error:
            self._findings.add("staged_malformed", where, error.message)
            return [], []
        if (len(hashes), len(records)) != (count, count):
            what = "the staged commit does not hold what its indexes say"
            found = f"{len(hashes)} hashes, {len(records)} entries"
            self._findings.add("staged_malformed", where, what, expected=count, found=found)
            return [], []
        return records, hashes

    def _check_tree(self, head: LogHead, published: Checkpoint | None, progress: Progress) -> TreeCheck:
        """Check the published objects against the edge that the head has of them."""
        tree = TreeCheck(
            self._objects,
            self._format,
            size=head.applied,
            root=root_of_edge(head.applied_edge),
            findings=self._findings,
            on_records=self._take,
            probes=[published.size] if published else [],
        )
        tree.run(lambda done: progress(done, head.applied))
        if tree.edge is not None:
            what = "the right edge of the published tree is not that of its entries"
            self._findings.compare(
                "applied_edge_differs",
                "head",
                what,
                expected=b"".join(tree.edge),
                found=b"".join(head.applied_edge),
            )
        return tree

    def _take(self, start: int, records: Sequence[bytes]) -> None:
        """Check what the database and the rules of the log say of entries whose hashes are right."""
        for index, record in enumerate(records, start):
            if record:
                try:
                    self._rules.check(index, record)
                    self._check_time(index, self._rules.time(record))
                except HallmarkError as error:
                    self._findings.add("entry_invalid", f"entry {index}", error.message)
        self._ask(lambda: self._dedup.take(start, records))

    def _check_time(self, index: int, stated: int | None) -> None:
        self._ask(lambda: self._times.check(index, stated))

    def _check_published(self, head: LogHead, published: Checkpoint | None, roots: dict[int, bytes]) -> None:
        if published is None:
            return
        if published.size > head.size:
            what = "the published checkpoint is ahead of the head"
            self._findings.add("checkpoint_ahead", CHECKPOINT, what, expected=head.size, found=published.size)
            return
        root = roots.get(published.size)
        what = "the published checkpoint does not state the tree of its size"
        if root is not None:
            self._findings.compare(
                "checkpoint_differs", CHECKPOINT, what, expected=root, found=published.root
            )


class _Times:
    """Checks the times of commits: one row for each, later and later."""

    def __init__(self, store: LogAudit, findings: Findings) -> None:
        self._store = store
        self._findings = findings

    def check(self, index: int, stated: int | None) -> None:
        """Check the time that an entry or a staged commit states against the row of its commit."""
        if stated is None:
            return
        try:
            found: object = self._store.time_of(index)
        except NotFound:
            found = "no row"
        what = "the row does not have the time that the entry states"
        where = f"commit_time row of entry {index}"
        self._findings.compare("commit_time_differs", where, what, expected=stated, found=found)

    def finish(self, head: LogHead) -> None:
        """Check all rows below the head."""
        start, time, last = -1, -1, -1
        while page := self._store.commit_times(start, _PAGE):
            for row_start, row_time in page:
                if start == -1 and row_start != 0:
                    what = "the first commit does not begin with entry 0"
                    self._findings.add("commit_time_gap", f"commit_time row {row_start}", what)
                if row_time <= time:
                    what = "the commit is not later than the one before it"
                    self._findings.add(
                        "commit_time_order",
                        f"commit_time row {row_start}",
                        what,
                        expected=f"more than {time}",
                        found=row_time,
                    )
                start, time = row_start, row_time
                last = row_time if row_start < head.size else last
        if head.size:
            what = "the head's time is not that of the last commit"
            self._findings.compare("head_time_differs", "head", what, expected=last, found=head.time)


def _published(
    objects: ObjectStore, verify: VerifyCheckpoint, findings: Findings, *, required: bool
) -> Checkpoint | None:
    try:
        return verify(objects.get(CHECKPOINT))
    except NotFound:
        if required:
            findings.add("checkpoint_missing", CHECKPOINT, "the checkpoint is missing")
    except OSError as error:
        findings.add("checkpoint_unreadable", CHECKPOINT, f"the checkpoint cannot be read: {error.strerror}")
    except HallmarkError as error:
        findings.add("checkpoint_invalid", CHECKPOINT, error.message)
    return None


def _each(check: Callable[[int, bytes], None], findings: Findings) -> Callable[[int, Sequence[bytes]], None]:
    def take(start: int, records: Sequence[bytes]) -> None:
        for index, record in enumerate(records, start):
            if record:
                try:
                    check(index, record)
                except HallmarkError as error:
                    findings.add("entry_invalid", f"entry {index}", error.message)

    return take


def _report(origin: str, size: int, root: bytes, findings: Findings) -> Report:
    return Report(origin=origin, size=size, root=root, findings=tuple(findings.first), count=findings.count)
