"""Slices of pending batches on their way to one sink."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import NamedTuple

from .._events import Batch, join
from .._ledger import Ledger, PendingBatch, SinkCounters, Verdict

__all__ = ["Slice", "SliceQueue"]


class Slice(NamedTuple):
    """The events ``start:stop`` of a batch that was handed over."""

    batch: PendingBatch
    start: int
    stop: int

    @property
    def serials(self) -> range:
        """The serial numbers of its events."""
        serials: range = self.batch.events.ids.serials[self.start : self.stop]
        return serials


class SliceQueue:
    """A FIFO of slices: the queue of a sink, or the events of a payload."""

    __slots__ = ("_slices", "count")

    def __init__(self, slices: Iterable[Slice] = ()) -> None:
        """Create a queue of these slices, none of which may be empty."""
        self._slices: deque[Slice] = deque(slices)
        self.count: int = sum([one.stop - one.start for one in self._slices]) if self._slices else 0
        """How many events the queue contains."""

    @property
    def first_size(self) -> int:
        """How many events the first slice has."""
        first = self._slices[0]
        return first.stop - first.start

    @property
    def oldest_serial(self) -> int:
        """The serial number of the first event."""
        return self._slices[0].serials.start

    def append(self, batch: PendingBatch) -> None:
        """Append all events of a batch."""
        size = len(batch.events)
        self._slices.append(Slice(batch, 0, size))
        self.count += size

    def extend(self, other: SliceQueue) -> None:
        """Append another queue's events."""
        self._slices.extend(other._slices)
        self.count += other.count

    def push_front(self, other: SliceQueue) -> None:
        """Put events back at the front."""
        self._slices.extendleft(reversed(other._slices))
        self.count += other.count

    def pop(self, limit: float) -> SliceQueue:
        """Remove and return up to ``limit`` of the first events."""
        popped = SliceQueue()
        if limit >= self.count:
            popped._slices, self._slices = self._slices, popped._slices
            popped.count, self.count = self.count, 0
            return popped
        while popped.count < limit:
            first, left = self._slices.popleft(), int(limit) - popped.count
            if first.stop - first.start > left:
                cut = first.start + left
                self._slices.appendleft(Slice(first.batch, cut, first.stop))
                first = Slice(first.batch, first.start, cut)
            popped._slices.append(first)
            popped.count += first.stop - first.start
        self.count -= popped.count
        return popped

    def partition(self, labels: Sequence[int], labels_count: int) -> list[SliceQueue]:
        """Divide the events by label.

        Args:
            labels: one label per event; labels are numbers from 0 on.
            labels_count: the number of distinct labels.
        """
        parts: list[list[Slice]] = [[] for _ in range(labels_count)]
        offset = 0
        for one in self._slices:
            start = one.start
            for label, run in groupby(labels[offset : offset + one.stop - one.start]):
                stop = start + sum(1 for _ in run)
                parts[label].append(Slice(one.batch, start, stop))
                start = stop
            offset += one.stop - one.start
        return [SliceQueue(slices) for slices in parts]

    def events(self) -> Batch:
        """Return the events as the batch that sinks receive."""
        if not self._slices:
            return Batch([])
        return join([(one.batch.events, one.start, one.stop) for one in self._slices])

    def settle(self, ledger: Ledger, counters: SinkCounters, verdict: Verdict, reason: str = "") -> None:
        """Settle all events with the same verdict."""
        for one in self._slices:
            ledger.settle(counters, one.batch, one.start, one.stop, verdict, reason)
