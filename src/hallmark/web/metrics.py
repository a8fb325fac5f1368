"""Metrics of an instance: numbers in memory that its processes share, printed for Prometheus.

Every worker has a slot of its own in one block of memory, made by the parent, and adds to plain numbers
there; whichever worker is asked sums the slots. A worker that takes the place of a dead one goes on in its
slot, so counters never fall. Rules that keep this without a lock: a slot belongs to one process, and a number
to one thread of it.
"""

import mmap
import os
import tempfile
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final, Literal

import msgspec

SLOT_BYTES: Final = 64 * 1024
CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_NUMBER_BYTES: Final = 8

Labels = tuple[str, ...]


class Family(msgspec.Struct, frozen=True, kw_only=True):
    """One metric: every combination of label values that there will ever be is known beforehand.

    `buckets` are the upper bounds of a histogram, without infinity.
    """

    name: str
    documentation: str
    kind: Literal["counter", "gauge", "histogram"] = "counter"
    labels: tuple[str, ...] = ()
    values: tuple[Labels, ...] = ((),)
    buckets: tuple[float, ...] = ()

    @property
    def width(self) -> int:
        """How many numbers one combination of labels takes: buckets, infinity and sum of a histogram."""
        return len(self.buckets) + 2 if self.kind == "histogram" else 1


class Sample(msgspec.Struct, frozen=True):
    """A number that is read when it is asked for."""

    name: str
    documentation: str
    labels: Mapping[str, str]
    value: float
    kind: Literal["counter", "gauge"] = "gauge"


class Number:
    """A counter or gauge of one process."""

    __slots__ = ("_at", "_cells")

    def __init__(self, cells: "memoryview[float]", at: int) -> None:
        self._cells = cells
        self._at = at

    def add(self, amount: float = 1.0) -> None:
        """Count."""
        self._cells[self._at] += amount

    def set(self, value: float) -> None:
        """Set a gauge."""
        self._cells[self._at] = value


class Histogram:
    """A histogram of one process."""

    __slots__ = ("_at", "_buckets", "_cells", "_sum")

    def __init__(self, cells: "memoryview[float]", at: int, buckets: Sequence[float]) -> None:
        self._cells = cells
        self._at = at
        self._buckets = buckets
        self._sum = at + len(buckets) + 1

    def observe(self, value: float) -> None:
        """Count one value."""
        self._cells[self._at + bisect_left(self._buckets, value)] += 1.0
        self._cells[self._sum] += value


def shared_memory(slots: int) -> int:
    """Make the memory of `slots` processes; returns its file descriptor. Never on a disk, which may fill."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("hallmark-metrics")
    else:
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    os.ftruncate(descriptor, slots * SLOT_BYTES)
    return descriptor


class Meter:
    """The numbers of one process, and a view of everybody's.

    Without `memory` (a descriptor of `shared_memory`) the process counts for itself. Raises `ValueError` for
    families that do not fit in a slot.
    """

    def __init__(self, families: Sequence[Family], *, memory: int | None = None, slot: int = 0) -> None:
        size = os.fstat(memory).st_size if memory is not None else SLOT_BYTES
        self._all = memoryview(mmap.mmap(-1 if memory is None else memory, size)).cast("d")
        per_slot = SLOT_BYTES // _NUMBER_BYTES
        self._slots = [self._all[start : start + per_slot] for start in range(0, len(self._all), per_slot)]
        self._mine = self._slots[slot]
        self._families = families
        self._places: dict[tuple[str, Labels], tuple[Family, int]] = {}
        self._lay_out()

    def _lay_out(self) -> None:
        at = 0
        for family in self._families:
            for labels in family.values:
                self._places[family.name, labels] = (family, at)
                if family.kind == "gauge":
                    self._mine[at] = 0.0  # what a dead process left is true no more
                at += family.width
        if at * _NUMBER_BYTES > SLOT_BYTES:
            raise ValueError(f"the metrics need {at} numbers, more than a slot of {SLOT_BYTES} bytes has")

    def number(self, name: str, *labels: str) -> Number:
        """Find a counter or gauge of this process."""
        return Number(self._mine, self._places[name, labels][1])

    def histogram(self, name: str, *labels: str) -> Histogram:
        """Find a histogram of this process."""
        family, at = self._places[name, labels]
        return Histogram(self._mine, at, family.buckets)

    def to_text(self, samples: Iterable[Sample] = ()) -> bytes:
        """Print everything, summed over all processes, in the text format of Prometheus (0.0.4).

        Combinations of labels that nothing was counted for are left out.
        """
        return "".join((*self._print(), *_print_samples(samples))).encode()

    def _print(self) -> Iterator[str]:
        for family in self._families:
            yield _heading(family.name, family.documentation, family.kind)
            for labels in family.values:
                yield from self._print_one(family, labels)

    def _print_one(self, family: Family, labels: Labels) -> Iterator[str]:
        at = self._places[family.name, labels][1]
        numbers = [sum(slot[at + offset] for slot in self._slots) for offset in range(family.width)]
        named = dict(zip(family.labels, labels, strict=True))
        if family.labels and family.kind != "gauge" and not any(numbers):
            return
        if family.kind != "histogram":
            yield _line(family.name, named, numbers[0])
            return
        total = 0.0
        for bound, count in zip((*map(repr, family.buckets), "+Inf"), numbers, strict=False):
            total += count
            yield _line(f"{family.name}_bucket", {**named, "le": bound}, total)
        yield _line(f"{family.name}_sum", named, numbers[-1])
        yield _line(f"{family.name}_count", named, total)


ReadSamples = Callable[[], Iterable[Sample]]


def _print_samples(samples: Iterable[Sample]) -> Iterator[str]:
    heading = ""
    for sample in samples:
        if sample.name != heading:
            heading = sample.name
            yield _heading(sample.name, sample.documentation, sample.kind)
        yield _line(sample.name, sample.labels, sample.value)


def _heading(name: str, documentation: str, kind: str) -> str:
    return f"# HELP {name} {documentation}\n# TYPE {name} {kind}\n"


def _line(name: str, labels: Mapping[str, str], value: float) -> str:
    printed = ",".join(f'{key}="{_escape(text)}"' for key, text in labels.items())
    return f"{name}{{{printed}}} {value!r}\n" if printed else f"{name} {value!r}\n"


def _escape(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
