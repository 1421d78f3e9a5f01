"""The batches that wait for the flush task, and which event is evicted where there are too many.

Only Trio's thread uses this, while it changes the buffer's structure, which keeps recorders that re-enter out. They do
read the oldest batch, which takes no call in between.
"""

from __future__ import annotations

from collections import deque

from .._events import Row
from .._ledger import Ledger, PendingBatch

__all__ = ["WaitingBatches"]


class WaitingBatches:
    """Batches in the order of their numbers. Those of points take no room, and no event of theirs is evicted."""

    def __init__(self, ledger: Ledger) -> None:
        """Start without batches.

        Args:
            ledger: where every event is accounted.
        """
        self._ledger = ledger
        self._batches: deque[PendingBatch] = deque()
        self._points: deque[PendingBatch] = deque()
        self.newest: int = 0
        """The number of the newest batch."""

    def append(self, batch: PendingBatch) -> None:
        """Let a batch wait. A call that was cut short may be repeated."""
        batches = self._points if batch.points else self._batches
        if not batches or batches[-1] is not batch:
            batches.append(batch)
        self.newest = batch.number

    @property
    def first(self) -> PendingBatch | None:
        """The oldest batch."""
        batch = self._batches[0] if self._batches else None  # with no call in between: nothing comes or goes meanwhile
        points = self._points[0] if self._points else None
        if batch is None or points is None:
            return batch or points
        return batch if batch.number < points.number else points

    @property
    def has_points(self) -> bool:
        """Whether points wait."""
        return bool(self._points)

    def take(self, batch: PendingBatch) -> None:
        """Remove the oldest batch, for the flush task; it may have been removed already, evicted as a whole."""
        self._ledger.take(batch)
        batches = self._points if batch.points else self._batches
        if batches and batches[0] is batch:
            batches.popleft()

    def evict_oldest(self, current: PendingBatch | None) -> PendingBatch | None:
        """Evict the oldest waiting event; return its batch, or None if no event waits.

        Args:
            current: the open batch.
        """
        self._forget_empty(current)
        batch = self._batches[0] if self._batches else None
        if batch is None or not batch.waiting:
            return None
        self._ledger.evict(batch, batch.evicted)  # earlier evictions took the front
        return batch

    def evict_newest(self, current: PendingBatch | None, kept: Row | None) -> PendingBatch | None:
        """Evict the newest waiting event of a sealed batch; return that batch, or None if there is no such event.

        Args:
            current: the open batch.
            kept: an event that stays.
        """
        for batch in reversed(self._batches):  # the first or second, unless it was evicted just now
            if batch is not current and batch.waiting:
                for at in reversed(range(len(batch.rows))):
                    if batch.rows[at] is not None and batch.rows[at] is not kept:
                        self._ledger.evict(batch, at)
                        return batch
        return None

    def _forget_empty(self, current: PendingBatch | None) -> None:
        """Forget batches at the front in which no event waits. The flush task keeps the one that it looks at."""
        while self._batches and self._batches[0] is not current and not self._batches[0].waiting:
            self._ledger.batches.forget_if_settled(self._batches.popleft())
