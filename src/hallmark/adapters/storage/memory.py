"""Storage in memory, for tests and throw-away instances of one process.

`MemoryObjectStore.lose_power` and `MemoryHeadStore.lose_power` forget whatever was not durable, which a
killed process on a real disk does not show, because the page cache survives it.
"""

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import msgspec

from hallmark.errors import Conflict, NotFound
from hallmark.ports import LogHead, Place, StagedCommit


class MemoryObjectStore:
    """Objects in a dictionary (`ports.ObjectStore`)."""

    def __init__(self) -> None:
        self._objects: dict[str, bytes] = {}
        self._durable: dict[str, bytes] = {}

    def get(self, path: str) -> bytes:
        """Read an object."""
        try:
            return self._objects[path]
        except KeyError:
            raise NotFound(f"there is no object {path}") from None

    def size(self, path: str) -> int:
        """Tell the size of an object."""
        return len(self.get(path))

    def read(self, path: str, start: int, count: int) -> bytes:
        """Read a piece of an object."""
        return self.get(path)[start : start + count]

    def put(self, path: str, data: bytes) -> None:
        """Write an object, which `lose_power` forgets until the next `sync`."""
        self._objects[path] = data

    def sync(self) -> None:
        """Make every object durable."""
        self._durable = dict(self._objects)

    def replace(self, path: str, data: bytes) -> None:
        """Replace one object durably; others stay as durable as they were."""
        self._objects[path] = self._durable[path] = data

    def discard_unfinished(self) -> None:
        """Do nothing: an object in memory is there or not."""

    def names(self, folder: str) -> tuple[str, ...]:
        """List the objects directly in a folder."""
        prefix = f"{folder}/"
        inside = (path.removeprefix(prefix) for path in self._objects if path.startswith(prefix))
        return tuple(sorted(name for name in inside if "/" not in name))

    def delete(self, path: str) -> None:
        """Delete an object."""
        self._objects.pop(path, None)

    def delete_folder(self, folder: str) -> None:
        """Delete the objects directly in a folder."""
        for name in self.names(folder):
            del self._objects[f"{folder}/{name}"]

    def lose_power(self) -> None:
        """Forget what was not synced: new objects are torn or gone, deleted ones are back."""
        torn = {path: data[: len(data) // 2] for path, data in self._objects.items()}
        self._objects = {**torn, **self._durable}


class MemoryHeadStore:
    """A log's database in memory (`ports.HeadStore`); every commit is durable when it returns."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._head: LogHead | None = None
        self._staged: tuple[StagedCommit, ...] = ()
        self._dedup: dict[bytes, Place] = {}
        self._times: dict[int, int] = {}

    def create(self, head: LogHead) -> None:
        """Store the first head."""
        if self._head is not None:
            raise Conflict("there is a log already")
        self._head = head

    @contextmanager
    def transaction(self) -> Iterator["MemoryHeadStore"]:
        """Hold the lock for one commit."""
        with self._lock:
            yield self

    def head(self) -> LogHead:
        """Read the committed head."""
        if self._head is None:
            raise NotFound("no log was created here", code="no_log")
        return self._head

    def snapshot(self, max_entries: int | None = None) -> tuple[LogHead, tuple[StagedCommit, ...]]:
        """Read head and staged commits."""
        head, staged = self.head(), self._staged
        if max_entries is None:
            return head, staged
        enough = next(
            (count for count, item in enumerate(staged, 1) if item.end - head.applied >= max_entries), None
        )
        return head, staged[:enough]

    def find(self, keys: Sequence[bytes]) -> Mapping[bytes, Place]:
        """Find which of these dedup keys the log has."""
        return {key: self._dedup[key] for key in keys if key in self._dedup}

    def time_of(self, index: int) -> int:
        """Tell the time of an entry's commit."""
        starts = [start for start in self._times if start <= index]
        if not starts or index >= self.head().size:
            raise NotFound(f"the log has no entry {index}")
        return self._times[max(starts)]

    def commit(
        self, old: LogHead, staged: StagedCommit, edge: tuple[bytes, ...], keys: Sequence[tuple[bytes, int]]
    ) -> None:
        """Store one commit."""
        head = self.head()
        if (head.size, head.root) != (old.size, old.root) or head.frozen:
            raise Conflict("the log's head has moved")
        self._dedup.update({key: Place(index, staged.time) for key, index in keys})
        self._times[staged.start] = staged.time
        self._staged += (staged,)
        self._head = msgspec.structs.replace(
            head, size=staged.end, root=staged.root, time=staged.time, edge=edge, checkpoint=staged.checkpoint
        )

    def set_applied(self, size: int, edge: tuple[bytes, ...]) -> None:
        """Note what is published and drop its staged commits."""
        with self._lock:
            if size > self.head().applied:
                self._head = msgspec.structs.replace(self.head(), applied=size, applied_edge=edge)
            self._staged = tuple(item for item in self._staged if item.end > size)

    def freeze(self, checkpoint: bytes) -> None:
        """Set the mark that every later commit looks at."""
        self._head = msgspec.structs.replace(self.head(), frozen=True, checkpoint=checkpoint)

    def compact(self) -> None:
        """Do nothing: memory needs no tidying."""
