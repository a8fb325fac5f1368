"""What waits, by flows: in order within a flow, and one of each flow in turn."""

from collections import OrderedDict, deque
from collections.abc import Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


class Flows(Generic[T]):
    """Items that wait; a thousand in one flow delay each other and no other flow."""

    def __init__(self) -> None:
        self._flows: OrderedDict[str, deque[T]] = OrderedDict()
        self._newest_next: set[str] = set()
        self._size = 0

    def __bool__(self) -> bool:
        return bool(self._flows)

    def __iter__(self) -> Iterator[str]:
        """Name the flows in which something waits, the one whose turn it is first."""
        return iter(self._flows)

    def __len__(self) -> int:
        """Count what waits in all."""
        return self._size

    def count(self, flow: str) -> int:
        """Count what waits in a flow."""
        return len(self._flows.get(flow, ()))

    def push(self, flow: str, item: T) -> None:
        """Add an item to the end of a flow."""
        self._flows.setdefault(flow, deque()).append(item)
        self._size += 1

    def pop(self) -> T:
        """Take the oldest item of the first flow, which is then the last."""
        flow, waiting = self._flows.popitem(last=False)
        return self._took(flow, waiting, waiting.popleft())

    def pop_from_either_end(self, flow: str) -> T:
        """Take the oldest item of a flow or the newest, in turn; the flow is then the last."""
        waiting = self._flows.pop(flow)
        newest = flow in self._newest_next
        (self._newest_next.discard if newest else self._newest_next.add)(flow)
        return self._took(flow, waiting, waiting.pop() if newest else waiting.popleft())

    def remove(self, flow: str, item: T) -> None:
        """Take an item out that waits no more, if it is still there."""
        waiting = self._flows.get(flow)
        if waiting is None or item not in waiting:
            return
        waiting.remove(item)
        self._size -= 1
        if not waiting:
            del self._flows[flow]
            self._newest_next.discard(flow)

    def _took(self, flow: str, waiting: deque[T], item: T) -> T:
        self._size -= 1
        if waiting:
            self._flows[flow] = waiting
        else:
            self._newest_next.discard(flow)
        return item
