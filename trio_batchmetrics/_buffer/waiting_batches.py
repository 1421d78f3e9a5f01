"""The batches that wait for the flush task, and the choice of the event to evict when the buffer is full.

Only Trio's thread uses this module, and only during a structural change, which keeps re-entrant recorders out. They may
still read the oldest batch, because the read makes no call in between.
"""

from __future__ import annotations

from collections import deque

from .._events import Row
from .._ledger import Ledger, PendingBatch

__all__ = ["WaitingBatches"]


class WaitingBatches:
    """Waiting batches in the order of their numbers. Points take no room in the buffer, and are never evicted."""

    def __init__(self, ledger: Ledger) -> None:
        """Create an empty queue.

        Args:
            ledger: accounts for every event.
        """
        self._ledger = ledger
        self._batches: deque[PendingBatch] = deque()
        self._points: deque[PendingBatch] = deque()
        self.newest: int = 0
        """The number of the newest batch."""

    def append(self, batch: PendingBatch) -> None:
        """Add a batch. A call that was cut short may be repeated."""
        batches = self._points if batch.points else self._batches
        if not batches or batches[-1] is not batch:
            batches.append(batch)
        self.newest = batch.number

    @property
    def first(self) -> PendingBatch | None:
        """The oldest batch, or None."""
        batch = self._batches[0] if self._batches else None  # no call in between, so the queue can't change meanwhile
        points = self._points[0] if self._points else None
        if batch is None or points is None:
            return batch or points
        return batch if batch.number < points.number else points

    @property
    def has_points(self) -> bool:
        """Whether a batch of points is waiting."""
        return bool(self._points)

    def take(self, batch: PendingBatch) -> None:
        """Remove the oldest batch for the flush task. If all its events were evicted, it may be gone already."""
        self._ledger.take(batch)
        batches = self._points if batch.points else self._batches
        if batches and batches[0] is batch:
            batches.popleft()

    def evict_oldest(self, open_batch: PendingBatch | None) -> PendingBatch | None:
        """Evict the oldest waiting event; return its batch, or None if no event is waiting.

        Args:
            open_batch: the open batch.
        """
        self._drop_empty_batches(open_batch)
        batch = self._batches[0] if self._batches else None
        if batch is None or not batch.waiting:
            return None
        self._ledger.evict(batch, batch.evicted)  # the positions before this one are evicted already
        return batch

    def evict_newest(self, open_batch: PendingBatch | None, protected: Row | None) -> PendingBatch | None:
        """Evict the newest waiting event of a sealed batch; return that batch, or None if there is no such event.

        Args:
            open_batch: the open batch.
            protected: an event that must not be evicted.
        """
        for batch in reversed(self._batches):  # ends at the first or second batch, unless their events were evicted
            if batch is not open_batch and batch.waiting:
                for at in reversed(range(len(batch.rows))):
                    if batch.rows[at] is not None and batch.rows[at] is not protected:
                        self._ledger.evict(batch, at)
                        return batch
        return None

    def _drop_empty_batches(self, open_batch: PendingBatch | None) -> None:
        """Forget batches at the front that have no waiting events. The flush task keeps its own current batch."""
        while self._batches and self._batches[0] is not open_batch and not self._batches[0].waiting:
            self._ledger.batches.forget_if_settled(self._batches.popleft())
