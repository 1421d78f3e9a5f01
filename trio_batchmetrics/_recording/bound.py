"""Bound instruments: labels resolved once, values aggregated in place, from any thread.

How this works
==============

Each update has a fast path, for a valid, exact int or float while the block is open, and a slow path, which determines
what is wrong, if anything. ``_most`` is the largest value that the fast path accepts; minus infinity disables it.

Neither path takes a lock or checks which thread it runs in. A signal handler or another thread may run in the middle of
an update and update the same instrument. CPython switches only after a call, at function entry and on a backward jump,
and no update makes a call between checking that the block is open, reading a sum and writing it. A collection exchanges
all values without a call and without creating a tuple, since creating one may run the garbage collector and therefore
any code. So updates are safe by construction where there is a global interpreter lock; where there is none, the classes
in :mod:`.bound_cells` replace these.

A collection makes its calls before it takes anything, or keeps the values that it took until its row is complete. If a
call raises (the stack may be too deep for it), nothing is lost.
"""

from __future__ import annotations

import math
import sys
import time
from bisect import bisect_left
from collections.abc import Mapping
from datetime import timedelta
from types import MappingProxyType
from typing import Any

import trio

from .._events import Counter, Gauge, HistogramPoint, Measure, Row, fault_of, number
from .._reprs import tolerant_repr
from .host import Host
from .spans import Timing, Tracking

__all__ = ["FAST_INT", "MOST", "Bound", "BoundCounter", "BoundGauge", "BoundHistogram"]

MOST = sys.float_info.max
"""The largest sum: the largest finite float. Compared without a call."""

FAST_INT = 1 << 29
"""CPython stores ints up to here in one digit and compares them quickly; no number of them overflows a float."""

_QUICK_FLOAT = 1e290
_LARGE_SUM = 1e307
"""Values up to the former, added to a sum up to the latter, cannot overflow it within a process's life."""

_CLOSED = -math.inf


@tolerant_repr
class Bound:
    """The part that counters, gauges and histograms share."""

    __slots__ = ("_host", "_labels", "_least", "_measure", "_most", "_open", "_touched", "_zero", "labels", "name")

    _quick: float
    _title: str

    def __init__(self, measure: Measure, labels: dict[str, Any], host: Host) -> None:
        """Created by the collector.

        Args:
            measure: what the instrument measures; a histogram's includes its bounds.
            labels: the labels, in a dictionary that belongs to the instrument.
            host: the interface to the collector.
        """
        self.name: str = measure.name
        self.labels: Mapping[str, Any] = MappingProxyType(labels)
        self._labels = labels
        self._measure = measure
        self._host = host
        self._open = host.state == "open"
        self._zero = 0.0 if measure.seconds else 0  # adding it makes seconds a float
        self._least = -_QUICK_FLOAT if measure.negative else 0.0
        self._most = self._quick if self._open else _CLOSED
        self._touched = False

    def __repr__(self) -> str:
        return f"<{self._title} {self.name!r} {self._labels!r}>"

    def close(self) -> None:
        """Refuse further updates: they count as closed."""
        self._open = False
        self._most = _CLOSED

    def _checked(self, value: object) -> Any:
        """Return the value if it is valid; else count it as refused, for the right reason, and return None."""
        if not self._open:
            if self._host.state != "disabled":
                self._host.refuse("closed")
            return None
        good = number(value, self._measure)
        if good is None:
            fault = fault_of(self._measure.kind.name.title(), "value", value, self._measure, self.name)
            self._host.refuse("invalid", fault)
        return good

    def collect(self) -> Row | None:
        """Take the updates since the last collection, as one row; None if there were none. Runs in Trio's thread."""
        raise NotImplementedError

    def _not_taken(self) -> None:
        """Count a refusal: the sum would overflow a float, or another thread has closed the collector."""
        self._host.refuse("invalid" if self._open else "closed")


class BoundCounter(Bound):
    """A counter for one label set."""

    __slots__ = ("_sum", "_whole")

    _quick = FAST_INT
    _title = "BoundCounter"

    def __init__(self, measure: Measure, labels: dict[str, Any], host: Host) -> None:
        """Created by ``collector.counter()``."""
        super().__init__(measure, labels, host)
        self._whole = 0
        self._sum: float = 0

    @trio.lowlevel.enable_ki_protection
    def add(self, value: float = 1) -> None:
        """Add a value, an int or float >= 0. Safe in any thread.

        A bad value counts as one ``invalid`` event and leaves the sum alone; after the block, as one ``closed`` event.
        """
        if type(value) is int and 0 <= value <= self._most:
            self._whole += value
            self._touched = True
            return
        good = value if type(value) is float and 0.0 <= value <= MOST else self._checked(value)
        if good is not None:
            total = self._sum + good
            if self._open and total <= MOST:
                self._sum = total
                self._touched = True
            else:
                self._not_taken()

    def collect(self) -> Row | None:
        """Take the sum added since the last collection; None if there were no updates."""
        if not self._touched:
            return None
        now = time.time_ns()
        whole = self._whole
        total = self._sum
        self._whole = 0
        self._sum = 0
        self._touched = False
        return (Counter, now, self.name, self._labels, whole + total + self._zero)


class BoundGauge(Bound):
    """A gauge for one label set."""

    __slots__ = ("_value",)

    _quick = _QUICK_FLOAT
    _title = "BoundGauge"

    def __init__(self, measure: Measure, labels: dict[str, Any], host: Host) -> None:
        """Created by ``collector.gauge()``."""
        super().__init__(measure, labels, host)
        self._value: float = 0

    @trio.lowlevel.enable_ki_protection
    def set(self, value: float) -> None:
        """Set the value, an int or float. Safe in any thread.

        A bad value counts as one ``invalid`` event and changes nothing; after the block, as one ``closed`` event.
        """
        if type(value) is float and self._least <= value <= self._most:
            self._value = value
            self._touched = True
            return
        good = value if type(value) is int and 0 <= value <= FAST_INT else self._checked(value)
        if good is not None:
            if self._open:
                self._value = good
                self._touched = True
            else:
                self._not_taken()

    @trio.lowlevel.enable_ki_protection
    def inc(self, value: float = 1) -> None:
        """Add to the value, which starts at 0. Otherwise like :meth:`set`."""
        good = value if type(value) is int and 0 <= value <= FAST_INT else self._checked(value)
        if good is not None:
            self._change(good)

    @trio.lowlevel.enable_ki_protection
    def dec(self, value: float = 1) -> None:
        """Subtract from the value, which starts at 0. Otherwise like :meth:`set`."""
        good = value if type(value) is int and 0 <= value <= FAST_INT else self._checked(value)
        if good is not None:
            self._change(-good)

    def _change(self, by: float) -> None:
        """Add ``by`` to the value; no call comes between the read and the write."""
        total = self._value + by
        if self._open and -MOST <= total <= MOST:
            self._value = total
            self._touched = True
        else:
            self._not_taken()

    def track(self) -> Tracking:
        """Return a span that counts work in flight: ``with gauge.track():``, or a decorator (see :class:`Span`)."""
        return Tracking(self.inc, self.dec)

    def collect(self) -> Row | None:
        """Return the value; None if there were no updates since the last collection."""
        if not self._touched:
            return None
        now = time.time_ns()
        self._touched = False
        return (Gauge, now, self.name, self._labels, self._value + self._zero)


class BoundHistogram(Bound):
    """A histogram for one label set."""

    __slots__ = ("_counts", "_sum", "_taken", "_taken_sum", "bounds")

    _quick = _QUICK_FLOAT
    _title = "BoundHistogram"

    def __init__(self, measure: Measure, labels: dict[str, Any], host: Host) -> None:
        """Created by ``collector.histogram()``."""
        super().__init__(measure, labels, host)
        self.bounds: tuple[float, ...] = measure.default_bounds
        self._counts = [0] * (len(self.bounds) + 1)
        self._sum: float = 0
        self._taken: list[int] | None = None  # by a collection that hasn't returned its row yet
        self._taken_sum: float = 0

    @trio.lowlevel.enable_ki_protection
    def observe(self, value: float | timedelta) -> None:
        """Count a value, an int or float. If the unit is seconds, it may be a ``timedelta``, and must not be negative.

        A bad value counts as one ``invalid`` event and leaves the counts alone; after the block, as one ``closed``
        event. Safe in any thread.
        """
        if type(value) is float:
            bucket = bisect_left(self.bounds, value)
            if self._least <= value <= self._most:
                self._counts[bucket] += 1
                self._sum += value
                self._touched = True
                return
        good = value if type(value) is int and 0 <= value <= FAST_INT else self._checked(value)
        if good is not None:
            bucket = bisect_left(self.bounds, good)
            total = self._sum + good
            if self._open and -MOST <= total <= MOST:
                self._counts[bucket] += 1
                self._sum = total
                self._touched = True
                if not -_LARGE_SUM <= total <= _LARGE_SUM:
                    self._most = _CLOSED  # until the next collection, each update checks for overflow
            else:
                self._not_taken()

    def time(self) -> Timing:
        """Return a span that observes how long work takes: ``with histogram.time():``, or a decorator.

        It measures by Trio's clock, however the work ends, in the histogram's unit if that is a unit of time, else in
        seconds. See :class:`Span`.
        """
        return Timing(self.observe, self._host, self._measure.unit)

    def collect(self) -> Row | None:
        """Take the values observed since the last collection; None if there were none."""
        if self._taken is None:
            if not self._touched:
                return None
            fresh = [0] * len(self._counts)
            self._taken = self._counts
            self._taken_sum = self._sum
            self._counts = fresh
            self._sum = 0
            self._touched = False
            if self._open:
                self._most = self._quick
        counts = self._taken
        row = (
            HistogramPoint,
            time.time_ns(),
            self.name,
            self._labels,
            sum(counts),
            self._taken_sum + self._zero,
            self.bounds,
            tuple(counts),
        )
        self._taken = None
        return row
