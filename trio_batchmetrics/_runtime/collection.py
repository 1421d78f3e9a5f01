"""Collects the bound instruments: their sums since the last collection become points in the buffer."""

from __future__ import annotations

import trio

from .._buffer import Buffer
from .._concurrency import Waker
from .._events import Row
from .._ledger import Ledger, warn
from .._recording import Instruments

__all__ = ["Collection"]


class Collection:
    """Collects one collector's bound instruments: every flush interval, at each flush, and at the end."""

    def __init__(self, instruments: Instruments, buffer: Buffer, ledger: Ledger, waker: Waker, interval: float) -> None:
        """Create the collection; :meth:`run` is its task.

        Args:
            instruments: the instruments.
            buffer: receives their points.
            ledger: accounts for the points that no flush task takes any more.
            waker: wakes the task.
            interval: the time between two collections, in seconds.
        """
        self._instruments = instruments
        self._buffer = buffer
        self._ledger = ledger
        self._waker = waker
        self._interval = interval

    @trio.lowlevel.enable_ki_protection
    async def run(self) -> None:
        """Collect at every interval from the creation of the first instrument on, until cancelled."""
        self._waker.woken.add(trio.lowlevel.current_task())
        await self._instruments.first_created.wait()
        due = trio.current_time()
        while True:
            due = max(due + self._interval, trio.current_time())
            await trio.sleep_until(due)
            if not self._buffer.points_waiting:
                self.collect()

    def collect(self) -> None:
        """Put the points since the last collection into the buffer."""
        if self._buffer.closed:
            return
        points: list[Row] = []
        try:
            self._collect_into(points)
        finally:
            if points:  # even after an error: these points have left the instruments
                self._buffer.put_points(points)

    def give_up(self) -> None:
        """Record the points that no collection has taken, after a crash or a failed last collection."""
        points: list[Row] = []
        self._collect_into(points)
        if points:
            self._ledger.open_points(points)

    def _collect_into(self, points: list[Row]) -> None:
        try:
            self._instruments.collect(points)
        except Exception as exc:  # noqa: BLE001 - only this collection fails: the rest stays in the instruments
            warn("metrics: a collection of the instruments failed; the next one takes the rest", error=exc)
