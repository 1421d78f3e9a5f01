"""A batch, from its first row until its last event is settled."""

from __future__ import annotations

from typing import Any

import trio

from .._concurrency import Turn, Waker
from .counters import FAILED, PROCESSED, SPOOLED, SinkCounters

__all__ = ["MAX_EVENT_SINKS", "SETTLING", "PendingBatch", "PendingBatches"]

MAX_EVENT_SINKS = 80
"""A batch's byte per event holds 3 × sinks + 2."""


def _settling(outcome: int) -> bytes:
    """Return the table that settles an event's byte for one sink."""
    return bytes(3 * (value // 3 - 1) + max(value % 3, outcome) if value >= 3 else value for value in range(256))


SETTLING = tuple(_settling(outcome) for outcome in (PROCESSED, SPOOLED, FAILED))
"""By outcome: the table for ``bytes.translate`` that settles the events of :attr:`PendingBatch.outcomes`."""

_NONE_REFUSED: dict[int, frozenset[SinkCounters]] = {}
"""Shared by all batches of which no event was refused. Never changed."""

_NOBODY: frozenset[SinkCounters] = frozenset()


class PendingBatch:
    """A numbered batch: its rows, when it is due, and what has become of its events.

    How far it has come:

    * *open*: recorders append to ``rows``;
    * *sealed*: no more rows, the batch waits for the flush task;
    * *taken*: the flush task checks it and merges it into the series sinks;
    * handed over: ``rows`` are the valid events, and every event sink has them in its queue.

    Batches are taken and handed over in the order of their numbers, so "is this event in that snapshot" and "does that
    flush wait for this event" are comparisons of numbers (:mod:`.watermarks`).
    """

    __slots__ = (
        "_signal",
        "at_least",
        "due",
        "evicted",
        "first_serial",
        "number",
        "outcomes",
        "owing",
        "plain",
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
            rows: the list that recorders append to; None takes the place of an evicted row.
            number: its place in the order of all batches, from 1 on.
            due: when the batch must be handed over at the latest, by Trio's clock.
            points: whether it holds points of bound instruments, which take no room in the buffer.
        """
        self.rows: list[Any] = rows
        self.number: int = number
        self.due: float = due
        self.points: bool = points
        self.ready: bool = False
        """Whether the batch is to be taken at once: it is full, or a flush or the end of the block waits for it."""
        self.sealed: bool = False
        self.size: int = 0
        """How many events were recorded in it; fixed when it is sealed."""
        self.taken: bool = False
        self.evicted: int = 0
        """Rows that were evicted while they waited."""
        self.settled: int = 0
        """Events that every event sink has settled, or that were dropped."""
        self.first_serial: int = 0
        """The serial number of the first event that was handed over."""
        self.plain: bool = True
        """Whether those of the handed over rows that are tuples are plain (see ``_events.validation``)."""
        self.at_least: int = PROCESSED
        """An outcome that every event of the batch has at least."""
        self.outcomes: bytearray | None = None
        """A byte per event handed over: ``3 × (event sinks that owe an outcome) + (the worst outcome so far)``. None
        where one event sink, or none, owes it: then a count is enough."""
        self.owing: frozenset[SinkCounters] = _NOBODY
        """The series sinks that owe an outcome for the events they have merged, until a push succeeds."""
        self.refused: dict[int, frozenset[SinkCounters]] = _NONE_REFUSED
        """The exceptions: for an event's position among those handed over, the series sinks that have refused it."""
        self._signal: trio.Event | None = None

    @property
    def waiting(self) -> int:
        """How many of its events wait for the flush task."""
        if self.taken:
            return 0
        return (self.size if self.sealed else len(self.rows)) - self.evicted

    def refuse(self, at: int, counters: SinkCounters) -> None:
        """Note that a series sink has refused the event at a position."""
        if not self.refused:
            self.refused = {}
        self.refused[at] = self.refused.get(at, _NOBODY) | {counters}

    def mark_ready(self, waker: Waker, turn: Turn) -> None:
        """Have the batch taken at once.

        Args:
            waker: wakes the flush task, if it waits for this batch.
            turn: the flush task's; told that there is work for it.
        """
        self.ready = True
        if self._signal is not None:
            turn.wanted()
            waker(self._signal.set)

    async def wait_ready(self) -> None:
        """Wait until the batch is ready or due."""
        if self.ready:
            return
        self._signal = trio.Event()
        with trio.move_on_at(self.due):
            if not self.ready:  # a signal handler may have filled it by now, and found no signal to set
                await self._signal.wait()


class PendingBatches:
    """All batches that are pending, and the running sum that flushes compare with."""

    def __init__(self) -> None:
        """Start without batches."""
        self.pending: dict[int, PendingBatch] = {}
        """By number."""
        self.newest: int = 0
        """The number of the newest batch."""
        self.sealed_events: int = 0
        """How many events all sealed batches hold, those included that are settled."""

    def open(self, rows: list[Any], due: float = 0.0, *, points: bool = False) -> PendingBatch:
        """Open the next batch, which has the rows of a list.

        Args:
            rows: the list.
            due: when the batch must be handed over at the latest, by Trio's clock.
            points: whether it holds points of bound instruments.
        """
        self.newest += 1
        batch = self.pending[self.newest] = PendingBatch(rows, self.newest, due, points=points)
        return batch

    def seal(self, batch: PendingBatch) -> None:
        """Fix a batch's size: recorders use another list that is watched."""
        if not batch.sealed:
            size = batch.size = len(batch.rows)
            batch.sealed = True  # with no call from here on
            self.sealed_events += size

    def forget_if_settled(self, batch: PendingBatch) -> None:
        """Keep a batch no longer, once each of its events is settled."""
        if batch.settled == batch.size and batch.sealed:
            self.pending.pop(batch.number, None)

    def clear(self) -> None:
        """Keep no batch, at the end; those that are open are sealed."""
        for batch in self.pending.values():
            self.seal(batch)
        self.pending.clear()
