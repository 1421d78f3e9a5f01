"""A batch, from its first row until its last event is settled."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import trio

from .._concurrency import Turn, Waker
from .counters import FAILED, PROCESSED, SPOOLED, SinkCounters

__all__ = ["MAX_EVENT_SINKS", "NO_SINKS", "SETTLING", "PendingBatch", "PendingBatches"]

MAX_EVENT_SINKS = 80
"""The limit keeps ``3 × sinks + 2`` within a batch's single byte per event."""


def _settling_table(outcome: int) -> bytes:
    """Return the translation table that settles an event's byte for one sink."""
    return bytes(3 * (value // 3 - 1) + max(value % 3, outcome) if value >= 3 else value for value in range(256))


SETTLING = tuple(_settling_table(outcome) for outcome in (PROCESSED, SPOOLED, FAILED))
"""For each outcome, the ``bytes.translate`` table that settles events in :attr:`PendingBatch.outcomes`."""

_NONE_REFUSED: dict[int, frozenset[SinkCounters]] = {}
"""Shared by all batches without a refused event. Never changed."""

_NO_GROUPS: dict[SinkCounters, Sequence[int]] = {}
"""Shared by all batches without groups. Never changed."""

NO_SINKS: frozenset[SinkCounters] = frozenset()


class PendingBatch:
    """A numbered batch: its rows, its due time, and the outcomes of its events.

    Its stages:

    * *open*: recorders append to ``rows``;
    * *sealed*: the batch accepts no more rows and waits for the flush task;
    * *taken*: the flush task checks the batch and merges it into the series sinks;
    * handed over: ``events`` are the valid events, and every event sink has them in its queue.

    Batches are taken and handed over in the order of their numbers, so "is this event in that snapshot" and "does that
    flush wait for this event" are comparisons of numbers (:mod:`.watermarks`).
    """

    __slots__ = (
        "_signal",
        "due",
        "events",
        "evicted",
        "groups",
        "number",
        "outcome_floor",
        "outcomes",
        "owing",
        "points",
        "ready",
        "refused",
        "rows",
        "sealed",
        "settled",
        "size",
        "taken",
    )

    def __init__(self, rows: list[Any], number: int, due: float = 0.0, *, points: bool = False) -> None:
        """Open a batch.

        Args:
            rows: the list that recorders append to; None replaces an evicted row.
            number: its place in the order of all batches, starting at 1.
            due: the latest time for the hand-over, by Trio's clock.
            points: whether it holds points of bound instruments, which take no room in the buffer.
        """
        self.rows: list[Any] = rows
        self.number: int = number
        self.due: float = due
        self.points: bool = points
        self.ready: bool = False
        """Whether to take the batch at once: it is full, or a flush or the end of the block waits for it."""
        self.sealed: bool = False
        self.size: int = 0
        """How many events were recorded in it; fixed by sealing."""
        self.taken: bool = False
        self.evicted: int = 0
        """Rows that were evicted while waiting."""
        self.settled: int = 0
        """Events that every event sink has settled, or that were dropped."""
        self.events: Any = None
        """The ``Batch`` of the valid events, from the hand-over on."""
        self.outcome_floor: int = PROCESSED
        """The best outcome that the batch's events can still get; any sink may report a worse one."""
        self.outcomes: bytearray | None = None
        """One byte per event handed over: ``3 × (event sinks that owe an outcome) + (the worst outcome so far)``. None
        if at most one event sink owes an outcome: a count is enough then."""
        self.owing: frozenset[SinkCounters] = NO_SINKS
        """The series sinks that owe an outcome for the events they have merged, until a push succeeds."""
        self.refused: dict[int, frozenset[SinkCounters]] = _NONE_REFUSED
        """The exceptions: by an event's position among those handed over, the series sinks that have refused it."""
        self.groups: dict[SinkCounters, Sequence[int]] = _NO_GROUPS
        """By series sink whose pushes may reject events: the group of each event handed over."""
        self._signal: trio.Event | None = None

    @property
    def waiting(self) -> int:
        """How many of its events are waiting for the flush task."""
        if self.taken:
            return 0
        return (self.size if self.sealed else len(self.rows)) - self.evicted

    def refuse(self, at: int, counters: SinkCounters) -> None:
        """Note that a series sink has refused the event at this position."""
        if not self.refused:
            self.refused = {}
        self.refused[at] = self.refused.get(at, NO_SINKS) | {counters}
        if self.outcomes is not None and (value := self.outcomes[at]) >= 3:
            self.outcomes[at] = value - value % 3 + FAILED

    def refuse_groups(self, counters: SinkCounters, groups: Collection[int]) -> None:
        """Note that a series sink's push has refused the events of some groups."""
        for at, group in enumerate(self.groups.get(counters, ())):
            if group in groups:
                self.refuse(at, counters)

    def set_groups(self, counters: SinkCounters, groups: Sequence[int]) -> None:
        """Note the groups to which a series sink's events belong."""
        if not self.groups:
            self.groups = {}
        self.groups[counters] = groups

    def mark_ready(self, waker: Waker, turn: Turn) -> None:
        """Mark the batch to be taken at once.

        Args:
            waker: wakes the flush task, if it waits for this batch.
            turn: the flush task's turn; notified that there is work for that task.
        """
        self.ready = True
        if self._signal is not None:
            turn.note_work()
            waker(self._signal.set)

    async def wait_ready(self) -> None:
        """Wait until the batch is ready or due."""
        if self.ready:
            return
        self._signal = trio.Event()
        with trio.move_on_at(self.due):
            if not self.ready:  # a signal handler may have filled the batch just before there was a signal to set
                await self._signal.wait()


class PendingBatches:
    """All pending batches, and the running sum that flushes compare with."""

    def __init__(self) -> None:
        """Create an empty collection; the first batch gets number 1."""
        self.pending: dict[int, PendingBatch] = {}
        """The pending batches, by number."""
        self.newest: int = 0
        """The number of the newest batch."""
        self.sealed_events: int = 0
        """The total number of events in all sealed batches so far, including settled events."""

    def open(self, rows: list[Any], due: float = 0.0, *, points: bool = False) -> PendingBatch:
        """Open the next batch, over a list of rows.

        Args:
            rows: the list.
            due: the latest time for the hand-over, by Trio's clock.
            points: whether it holds points of bound instruments.
        """
        self.newest += 1
        batch = self.pending[self.newest] = PendingBatch(rows, self.newest, due, points=points)
        return batch

    def seal(self, batch: PendingBatch) -> None:
        """Fix a batch's size. By now, recorders append to another watched list."""
        if not batch.sealed:
            size = batch.size = len(batch.rows)
            batch.sealed = True  # no call from here on, so the two counts change together
            self.sealed_events += size

    def forget_if_settled(self, batch: PendingBatch) -> None:
        """Forget a batch once every one of its events is settled."""
        if batch.settled == batch.size and batch.sealed:
            self.pending.pop(batch.number, None)

    def in_snapshot(self, sink: SinkCounters) -> list[PendingBatch]:
        """Return the batches in a series sink's last snapshot that event sinks have not settled yet."""
        covered = range(sink.pushed_through + 1, sink.snapshot_through + 1)
        return [batch for batch in self.pending.values() if batch.number in covered]

    def clear(self) -> None:
        """Seal all open batches and forget every batch. Called at the end."""
        for batch in self.pending.values():
            self.seal(batch)
        self.pending.clear()
