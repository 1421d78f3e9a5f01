"""The flush task: checks each batch once it is ready or due, and hands it over to every sink."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import trio

from .._buffer import Buffer
from .._concurrency import Pace, Turn, Waker
from .._delivery import EventDelivery, RoomSignal, SeriesDelivery
from .._events import Batch, InvalidEvents, Origin, join, valid
from .._ledger import Ledger, PendingBatch

__all__ = ["FlushTask"]


class FlushTask:
    """Moves batches from the buffer to the sinks."""

    def __init__(
        self,
        buffer: Buffer,
        ledger: Ledger,
        event_sinks: Sequence[EventDelivery],
        series_sinks: Sequence[SeriesDelivery],
        *,
        waker: Waker,
        clock: trio.abc.Clock,
        turn: Turn,
        room: RoomSignal,
        invalid: InvalidEvents,
        origin: Origin,
    ) -> None:
        """Create the flush task of a buffer; :meth:`run` is the task.

        Args:
            buffer: the buffer.
            ledger: accounts for the events.
            event_sinks: queue the batches.
            series_sinks: merge the batches, and therefore always have room.
            waker: wakes the task.
            clock: the Trio run's clock.
            turn: limits how long the task works before it yields to others.
            room: signals that a sink's queue has become shorter.
            invalid: records why events are invalid.
            origin: the data that all batches share.
        """
        self._turn = turn
        self._buffer = buffer
        self._invalid = invalid
        self._origin = origin
        self._pace = Pace()
        self._ledger = ledger
        self._event_sinks = event_sinks
        self._series_sinks = series_sinks
        self._waker = waker
        self._clock = clock
        self._room = room
        self._serial = 0
        """The serial number of the next event to be handed over."""
        self._handed_over_through = 0
        """Watermark: the number of the last batch that was handed over."""
        self._progress = trio.lowlevel.ParkingLot()
        self._ended = False
        self.last_flush: float | None = None
        """When a batch was last handed over, by Trio's clock."""

    async def wait_handed_over(self, number: int) -> None:
        """Wait until all batches up to a number are handed over, or this task has ended. Always a checkpoint."""
        await trio.lowlevel.checkpoint()
        while self._handed_over_through < number and not self._ended:
            await self._progress.park()

    @trio.lowlevel.enable_ki_protection
    async def run(self) -> None:
        """Hand over batches until the buffer is closed and empty; then let the delivery tasks finish."""
        self._waker.woken.add(trio.lowlevel.current_task())
        try:
            self._turn.begin()
            await self._hand_over_all()  # batches from before this task began
            while await self._buffer.signal.wait():
                await self._hand_over_all()
            await self._hand_over_all()  # batches from after the signal was closed
            for sink in (*self._event_sinks, *self._series_sinks):
                sink.finish()
        finally:
            self._ended = True
            self._progress.unpark_all()

    async def _hand_over_all(self) -> None:
        """Hand over all waiting batches, in as few turns as time allows."""
        buffer = self._buffer
        while (batch := buffer.next_batch()) is not None:
            if not buffer.closed and not batch.ready:
                await batch.wait_ready()
                self._turn.begin()
            if not batch.sealed:
                buffer.seal(batch)
            for sink in self._event_sinks:
                if not sink.has_room_for(batch.size - batch.evicted):
                    await self._wait_for_room(batch)
                    break
            await self._hand_over(batch)
            self._handed_over_through = batch.number
            if self._progress:
                self._progress.unpark_all()
            if self._turn.over:
                await self._turn.yield_to_others()

    async def _wait_for_room(self, batch: PendingBatch) -> None:
        """Wait while every sink's queue is full. Meanwhile the batch waits in the buffer, where events may be evicted.

        With a series sink, which always has room, wait only for sinks that are about to take their events.
        """
        while any(sink.about_to_take and not sink.has_room_for(batch.waiting) for sink in self._event_sinks):
            # The sink hasn't had a chance to take its events, so don't give any up yet.
            await self._turn.yield_to_others()
        while self._event_sinks and not self._series_sinks and batch.waiting:
            if any(sink.has_room_for(batch.waiting) for sink in self._event_sinks):
                return
            await self._room.wait()

    async def _hand_over(self, batch: PendingBatch) -> None:
        chunks = await self._take(batch)
        if not chunks:
            return
        batch.events = chunks[0] if len(chunks) == 1 else join([(chunk, 0, len(chunk)) for chunk in chunks])
        count = len(batch.events)
        for series_sink in self._series_sinks:
            await series_sink.merge(batch, chunks, count, self._turn)
        self._ledger.hand_over(batch, count, datetime.now(UTC))
        self.last_flush = self._clock.current_time()
        for series_sink in self._series_sinks:
            series_sink.wake()
        for event_sink in self._event_sinks:
            event_sink.offer(batch)

    async def _take(self, batch: PendingBatch) -> list[Batch]:
        """Take a batch; return its valid events, with their serial numbers, in chunks."""
        rows, batch.rows = self._buffer.take(batch), []
        chunks: list[Batch] = []
        invalid_count = len(rows)
        start, pace = 0, self._pace
        while start < len(rows):
            if start and self._turn.over:
                await self._turn.yield_to_others()
            fits_in_one_step = start == 0 and len(rows) <= pace.size
            chunk_rows = rows if fits_in_one_step else rows[start : start + pace.size]
            start += len(chunk_rows)
            pace.begin()
            valid_rows, ids, columns, timestamps = valid(
                chunk_rows,
                self._invalid.note,
                classes=self._origin.classes,
                run_id=self._origin.run_id,
                first=self._serial,
            )
            pace.end(len(chunk_rows))
            if valid_rows:
                invalid_count -= len(valid_rows)
                self._serial += len(valid_rows)
                chunks.append(Batch(valid_rows, ids=ids, origin=self._origin, columns=columns, timestamps=timestamps))
            self._invalid.log()
        if invalid_count:
            self._ledger.invalid(batch, invalid_count)
            self._buffer.report_loss()
        return chunks
