"""One series while it is aggregated. Only Trio's thread changes it; any thread may read it (:mod:`.store`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .points import Point

__all__ = ["Series", "refusing"]


class Series:
    """One series of a :class:`~trio_batchmetrics.abc.SeriesStore`, live. Read it in any thread; don't change it.

    To read attributes that belong together, make no call in between and read ``updated`` last, or use :meth:`point`.
    """

    __slots__ = (
        "counts",
        "expires",
        "forgotten",
        "labels",
        "left_out_at",
        "refusal",
        "set_at",
        "slot",
        "started",
        "updated",
        "value",
    )

    def __init__(self, labels: Mapping[str, str], buckets: int, started: int) -> None:
        """Create a series with the value 0.

        Args:
            labels: its labels, as in :attr:`Point.labels <trio_batchmetrics.abc.Point.labels>`.
            buckets: the number of buckets; 0 if it isn't a histogram.
            started: wall-clock nanoseconds.
        """
        self.labels: Mapping[str, str] = labels
        """Its labels."""
        self.counts: list[int] = [0] * buckets
        """For a histogram: the number of values in each bucket."""
        self.value: float = 0.0
        """The sum, or a gauge's last value."""
        self.set_at: int = 0
        """The timestamp of the event that a gauge's value is from."""
        self.started: int = started
        """When it started."""
        self.updated: int = 0
        """When a value was last added, by the store's clock; 0: it has no value yet, and isn't shown."""
        self.slot: Any = None
        """The object that the store's observer keeps next to the series."""
        self.expires: bool = True
        """Whether it is forgotten if nothing is added to it. False for a bound instrument's series."""
        self.forgotten: bool = False
        """Whether the store has forgotten it."""
        self.left_out_at: int = -1
        """Its :attr:`updated` in the snapshot in which the back-end refused it. It is left out until it changes."""
        self.refusal: str | None = None
        """Why events added to it are rejected. Such an object isn't a series, and is never shown."""

    def shown(self, since: int) -> bool:
        """Return whether it has a value, and was updated at or after ``since`` or doesn't expire."""
        return self.updated >= since or (not self.expires and self.updated > 0)

    def point(self) -> Point:
        """Return a snapshot of the series. Safe in any thread."""
        # The counts come first: allocating the copy may run the garbage collector, and so any code. Then, no calls.
        counts, value, updated = self.counts[:], self.value, self.updated
        return Point(self.labels, value, tuple(counts), self.started, updated)


def refusing(reason: str, buckets: int) -> Series:
    """Return an object that rejects all events with its labels.

    Args:
        reason: why they are rejected.
        buckets: the number of buckets of its instrument's series.
    """
    series = Series({}, buckets, 0)
    series.refusal = reason
    return series
