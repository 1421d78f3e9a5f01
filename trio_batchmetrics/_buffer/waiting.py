"""The batches that wait for the flush task, and which event goes when there are too many.

Only Trio's thread uses this, while it changes the buffer's structure: re-entering recorders stay out meanwhile. They do
read the oldest batch, which takes no call in between.
"""

from __future__ import annotations

from collections import deque
from operator import attrgetter

from .._events import Row
from .._ledger import Ledger
from .gathering import Gathering

__all__ = ["WaitingBatches"]

_number = attrgetter("number")


class WaitingBatches:
    """Batches in the order in which they were announced; those of points take no room, and are never evicted from."""

    def __init__(self, ledger: Ledger) -> None:
        """Start with none.

        Args:
            ledger: where every event is accounted.
        """
        self._ledger = ledger
        self._batches: deque[Gathering] = deque()
        self._points: deque[Gathering] = deque()
        self.announced: int = 0
        """The number of the newest batch."""

    def append(self, batch: Gathering) -> None:
        """Announce a batch. Where this was cut short before, it goes on from there."""
        batches = self._points if batch.cohort.points else self._batches
        if not batches or batches[-1] is not batch:
            batches.append(batch)
        self.announced += 1
        batch.number = self.announced

    @property
    def first(self) -> Gathering | None:
        """The oldest batch."""
        batch = self._batches[0] if self._batches else None  # with no call in between: nothing comes or goes meanwhile
        points = self._points[0] if self._points else None
        if batch is None or points is None:
            return batch or points
        return min(batch, points, key=_number)

    @property
    def has_points(self) -> bool:
        """Whether points wait."""
        return bool(self._points)

    def take(self, batch: Gathering, current: Gathering | None) -> None:
        """Forget a batch that the flush task takes: the oldest one, unless it was evicted whole.

        Args:
            batch: the batch.
            current: the one that is open.
        """
        self._ledger.take(batch.cohort)
        if batch.cohort.points:
            self._points.popleft()
        self._forget_empty(current)

    def evict_oldest(self, current: Gathering | None) -> Gathering | None:
        """Drop the oldest waiting event; return its batch, or None if no event waits.

        Args:
            current: the batch that is open.
        """
        self._forget_empty(current)
        batch = self._batches[0] if self._batches else None
        if batch is None or not batch.cohort.waiting:
            return None
        self._ledger.push_out(batch.cohort, batch.rows, batch.cohort.gone)  # what is gone is at the front
        return batch

    def evict_newest(self, current: Gathering | None, kept: Row | None) -> Gathering | None:
        """Drop the newest waiting event of a sealed batch; return that batch, or None if there is no such event.

        Args:
            current: the batch that is open.
            kept: an event that stays.
        """
        for batch in reversed(self._batches):  # the first or second, but for what was evicted just now
            if batch is not current and batch.cohort.waiting:
                for at in reversed(range(len(batch.rows))):
                    if batch.rows[at] is not None and batch.rows[at] is not kept:
                        self._ledger.push_out(batch.cohort, batch.rows, at)
                        return batch
        return None

    def _forget_empty(self, current: Gathering | None) -> None:
        """Forget batches at the front in which nothing waits; the flush task keeps the one that it has in hand."""
        while self._batches and not self._batches[0].cohort.waiting and self._batches[0] is not current:
            self._ledger.forget_if_done(self._batches.popleft().cohort)
