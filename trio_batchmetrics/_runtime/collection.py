"""Collecting the bound instruments: their sums since the last collection become points in the buffer."""

from __future__ import annotations

import trio

from .._buffer import Buffer
from .._concurrency import Waker
from .._events import Row
from .._ledger import Ledger, warn
from .._recording import Instruments

__all__ = ["Collection"]


class Collection:
    """Collects the bound instruments of one collector: every flush interval, for a flush, and at the end."""

    def __init__(self, instruments: Instruments, buffer: Buffer, ledger: Ledger, waker: Waker, interval: float) -> None:
        """Collect instruments.

        Args:
            instruments: the instruments.
            buffer: where their points go.
            ledger: where points are accounted that no flush task takes any more.
            waker: wakes its task.
            interval: seconds between two collections.
        """
        self._instruments = instruments
        self._buffer = buffer
        self._ledger = ledger
        self._waker = waker
        self._interval = interval

    @trio.lowlevel.enable_ki_protection
    async def run(self) -> None:
        """Collect every interval from the first instrument on, until cancelled."""
        self._waker.woken.add(trio.lowlevel.current_task())
        await self._instruments.first.wait()
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
            self._take(points)
        finally:
            if points:  # whatever ended it, these are taken
                self._buffer.put_points(points)

    def give_up(self) -> None:
        """Record the points that no collection has taken: after a crash, or where the last one failed."""
        points: list[Row] = []
        self._take(points)
        if points:
            self._ledger.open_points(points)

    def _take(self, points: list[Row]) -> None:
        try:
            self._instruments.collect(points)
        except Exception as exc:  # noqa: BLE001 - it costs this collection: the rest stays in the instruments
            warn("metrics: a collection of the instruments failed; the next one takes the rest", error=exc)
