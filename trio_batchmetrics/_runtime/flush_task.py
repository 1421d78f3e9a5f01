"""The flush task: the next batch, when it is full or due, checked and handed to every sink."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import trio

from .._buffer import Gathering, Intake
from .._concurrency import Turn
from .._delivery import CHUNK, EventDelivery, SeriesDelivery, Span
from .._events import Batch, InvalidEvents, is_plain, rows_and_groups, valid
from .._ledger import Ledger

__all__ = ["FlushTask"]


class FlushTask:
    """Moves batches from the buffer to the sinks."""

    def __init__(
        self,
        intake: Intake,
        ledger: Ledger,
        event_sinks: Sequence[EventDelivery],
        series_sinks: Sequence[SeriesDelivery],
        clock: trio.abc.Clock,
        turn: Turn,
        buffer_size: int,
        invalid: InvalidEvents,
    ) -> None:
        """Hand on what comes from ``intake``.

        Args:
            intake: the buffer.
            ledger: where events are accounted.
            event_sinks: they queue.
            series_sinks: they merge, and so always have room.
            clock: the Trio run's.
            turn: how long the task works before it lets others run.
            buffer_size: most events that wait in ``intake``.
            invalid: told why events are invalid.
        """
        self._buffer_size = buffer_size
        self._turn = turn
        self._intake = intake
        self._invalid = invalid
        self._ledger = ledger
        self._event_sinks = event_sinks
        self._series_sinks = series_sinks
        self._clock = clock
        self._freed = trio.Event()
        self._handed_over = 0
        self._handed_over_through = 0
        self._progress = trio.lowlevel.ParkingLot()
        self._ended = False
        intake.hand_shrunk = self.room_freed
        self.last_flush: float | None = None
        """When a batch was last handed over, by Trio's clock."""

    def room_freed(self) -> None:
        """A sink's queue has become shorter."""
        self._turn.wanted()
        self._freed.set()

    async def wait_handed_over(self, number: int) -> None:
        """Wait until a batch and all before it are handed over, or nothing more will be. Always a checkpoint.

        Args:
            number: the batch's; 0 for none.
        """
        await trio.lowlevel.checkpoint()
        while self._handed_over_through < number and not self._ended:
            await self._progress.park()

    @trio.lowlevel.enable_ki_protection
    async def run(self) -> None:
        """Hand on until the buffer is closed and empty."""
        try:
            await self._hand_on_all()
        finally:
            self._ended = True
            self._progress.unpark_all()

    async def _hand_on_all(self) -> None:
        self._turn.begin()
        await self._hand_on()  # what was recorded before this task began
        while await self._intake.wait():
            await self._hand_on()
        await self._hand_on()  # what came when the channel was closed already

    async def _hand_on(self) -> None:
        """Hand on everything that waits, in as few turns as time allows."""
        while (batch := self._intake.next_batch()) is not None:
            if not self._intake.closed and not batch.full:
                await batch.gathered()
                self._turn.begin()
            self._intake.seal(batch)
            if not self._sinks_have_room(batch):
                await self._wait_for_room(batch)
            await self._hand_over(batch)
            self._handed_over_through = batch.number
            if self._progress:
                self._progress.unpark_all()
            if self._turn.over:
                await self._turn.give_way()

    def _sinks_have_room(self, batch: Gathering) -> bool:
        count = batch.cohort.waiting
        for sink in self._event_sinks:  # noqa: SIM110 - done for each batch, and three times as quick as all()
            if not sink.has_room(count):
                return False
        return True

    async def _wait_for_room(self, batch: Gathering) -> None:
        """Wait while every sink's queue is full. The batch still waits in the buffer, and may be evicted from it."""
        count = batch.cohort.waiting
        while any(sink.about_to_take and not sink.has_room(count) for sink in self._event_sinks):
            await self._turn.give_way()  # it has had no turn to take what it has: no reason for it to give that up
        while self._event_sinks and not self._series_sinks and batch.cohort.waiting:
            if any(sink.has_room(batch.cohort.waiting) for sink in self._event_sinks):
                return
            self._freed = trio.Event()
            await self._freed.wait()
            self._turn.begin()

    async def _hand_over(self, batch: Gathering) -> None:
        cohort = batch.cohort
        chunks = await self._check(batch)
        parts = [rows_and_groups(chunk)[0] for chunk in chunks]
        rows = parts[0] if len(parts) == 1 else [row for part in parts for row in part]
        if not rows:
            return
        for series_sink in self._series_sinks:
            await series_sink.merge(cohort, chunks, len(rows), self._turn)
        self._ledger.hand_over(cohort, len(rows), datetime.now(UTC))
        self.last_flush = self._clock.current_time()
        for series_sink in self._series_sinks:
            series_sink.wake()
        plain = all(map(is_plain, chunks))
        for event_sink in self._event_sinks:
            event_sink.offer(Span(cohort, rows, 0, len(rows), self._handed_over, plain))
        self._handed_over += len(rows)

    async def _check(self, batch: Gathering) -> list[Batch]:
        """Take a batch and return its valid events."""
        rows = self._intake.take(batch)
        chunks: list[Batch] = []
        for start in range(0, len(rows), CHUNK):
            if start and self._turn.over:
                await self._turn.give_way()
            if chunk := valid(rows[start : start + CHUNK] if len(rows) > CHUNK else rows, self._invalid.note):
                chunks.append(chunk)
            self._invalid.log()
        bad = len(rows) - sum(map(len, chunks))
        if bad:
            self._ledger.invalid(batch.cohort, bad)
            self._intake.lost()
        return chunks
