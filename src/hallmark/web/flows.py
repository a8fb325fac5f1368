"""What waits, by flows: in order within a flow, and one of each flow in turn."""

from collections import OrderedDict, deque
from collections.abc import Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


class Flows(Generic[T]):
    """Items that wait; who pushes a thousand into one flow delays himself."""

    def __init__(self) -> None:
        self._flows: OrderedDict[str, deque[T]] = OrderedDict()

    def __bool__(self) -> bool:
        return bool(self._flows)

    def __iter__(self) -> Iterator[str]:
        """Name the flows in which something waits, the one whose turn it is first."""
        return iter(self._flows)

    def count(self, flow: str) -> int:
        """Count what waits in a flow."""
        return len(self._flows.get(flow, ()))

    def push(self, flow: str, item: T) -> None:
        """Add an item to the end of a flow."""
        self._flows.setdefault(flow, deque()).append(item)

    def pop(self, flow: str | None = None, *, newest: bool = False) -> T:
        """Take an item of a flow, which is then the last; of the first one where none is named."""
        flow = next(iter(self._flows)) if flow is None else flow
        waiting = self._flows.pop(flow)
        item = waiting.pop() if newest else waiting.popleft()
        if waiting:
            self._flows[flow] = waiting
        return item
