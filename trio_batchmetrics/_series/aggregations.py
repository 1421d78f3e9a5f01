"""Adds values to series: as a sum, by keeping the last value, or by counting them in buckets.

An aggregation has no state except its settings; the state is in the series. It adds a whole column of values at once.
Readers in other threads rely on two properties (:mod:`.store`): the writes that belong together in one series have no
call and no backward jump in between, and ``updated`` is written last.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from itertools import repeat
from operator import add
from typing import Any

from .._events import COUNTER, HISTOGRAM, Measure
from .series import Series

__all__ = ["Aggregation", "Buckets", "LastValue", "Sum", "aggregation_of"]

_logger = logging.getLogger("trio_batchmetrics")


class Aggregation(ABC):
    """Creates the series of one instrument, and adds values to them."""

    buckets: int = 0
    """The number of buckets per series."""

    def series(self, labels: Mapping[str, str], now: int) -> Series:
        """Return a new series with the value 0."""
        return Series(labels, self.buckets, now)

    @abstractmethod
    def add(self, column: Sequence[Series], values: Sequence[float], timestamps: Sequence[int], now: int) -> None:
        """Add values.

        Args:
            column: the series that each value belongs to.
            values: the values.
            timestamps: the timestamps of their events.
            now: the time of the merge, by the store's clock.
        """

    def count(self, column: Sequence[Series], timestamps: Sequence[int], now: int) -> None:
        """Add 1 for each event; otherwise like :meth:`add`."""
        self.add(column, [1.0] * len(column), timestamps, now)

    def restart(self, series: Series, now: int) -> None:
        """Restart a series at 0."""
        series.started = now
        series.value = 0.0
        series.counts = [0] * self.buckets


class Sum(Aggregation):
    """Adds the values up."""

    def add(self, column: Sequence[Series], values: Sequence[float], timestamps: Sequence[int], now: int) -> None:
        """Add values."""
        for series, value in zip(column, values, strict=True):
            series.value += value
            series.updated = now


class LastValue(Aggregation):
    """Keeps the last value. If several classes set it in one batch, the latest timestamp wins."""

    def add(self, column: Sequence[Series], values: Sequence[float], timestamps: Sequence[int], now: int) -> None:
        """Set values."""
        latest = {series: at for at, series in enumerate(column)}
        for series, at in latest.items():
            if series.updated != now or series.set_at <= timestamps[at]:  # another class may have set it after this one
                series.value, series.set_at = values[at], timestamps[at]
            series.updated = now

    def restart(self, series: Series, now: int) -> None:
        """Restart a series; it keeps its value."""
        series.started = now


class Buckets(Aggregation):
    """Counts values by explicit buckets, and sums them."""

    def __init__(self, name: str, bounds: tuple[float, ...]) -> None:
        """Create the aggregation of a histogram.

        Args:
            name: the instrument's name, for the log.
            bounds: the upper bounds of the buckets.
        """
        self.bounds: tuple[float, ...] = bounds
        self.buckets = len(bounds) + 1
        self._name = name
        self._warned = False

    def add(self, column: Sequence[Series], values: Sequence[float], timestamps: Sequence[int], now: int) -> None:
        """Count values."""
        buckets = map(bisect_left, repeat(self.bounds), values)  # in C
        for series, bucket, value in zip(column, buckets, values, strict=True):
            series.counts[bucket] += 1  # no call from here on, for readers in other threads
            series.value += value
            series.updated = now

    def add_counted(self, column: Sequence[Series], points: Sequence[Sequence[Any]], now: int) -> None:
        """Add values that are already counted by bucket. Counts with other bounds are added as exactly as possible.

        Args:
            column: the series that each point belongs to.
            points: the columns of ``HistogramPoint``: the counts, the sums, the bounds, and the bucket counts.
            now: the time of the merge.
        """
        for series, total, bounds, counts in zip(column, *points[1:], strict=True):
            new_counts = (
                [*map(add, series.counts, counts)]
                if bounds == self.bounds
                else self._rebucketed(series, bounds, counts)
            )
            series.counts = new_counts  # no call from here on, for readers in other threads
            series.value += total
            series.updated = now

    def _rebucketed(self, series: Series, bounds: Sequence[float], counts: Iterable[int]) -> list[int]:
        if not self._warned:
            self._warned = True
            _logger.warning("metrics: %r comes with other bucket bounds; counted by the first", self._name)
        buckets = [*(bisect_left(self.bounds, bound) for bound in bounds), len(self.bounds)]
        new_counts = series.counts[:]
        for bucket, count in zip(buckets, counts, strict=True):
            new_counts[bucket] += count
        return new_counts


_SUM, _LAST_VALUE = Sum(), LastValue()


def aggregation_of(instrument: Measure) -> Aggregation:
    """Return the aggregation of an instrument.

    Args:
        instrument: the instrument; a histogram has its effective bounds.
    """
    if instrument.kind is HISTOGRAM:
        return Buckets(instrument.name, instrument.default_bounds)
    return _SUM if instrument.kind is COUNTER else _LAST_VALUE
