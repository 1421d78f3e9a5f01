"""Bound instruments: labels resolved once, values aggregated in place, from any thread.

How this works
==============

Each update has a fast path, for a valid, exact int or float while the block is open, and a slow path, which determines
what is wrong, if anything. ``_fast_max`` is the largest value that the fast path accepts; minus infinity disables it.

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

__all__ = ["FAST_INT", "MAX_FLOAT", "Bound", "BoundCounter", "BoundGauge", "BoundHistogram"]

MAX_FLOAT = sys.float_info.max
"""The largest sum: the largest finite float. Compared without a call."""

FAST_INT = 1 << 29
"""CPython stores ints up to here in one digit and compares them quickly; no number of them overflows a float."""

_FAST_FLOAT = 1e290
_LARGE_SUM = 1e307
"""Values up to the former, added to a sum up to the latter, cannot overflow it within a process's life."""

_NO_FAST_PATH = -math.inf


@tolerant_repr
class Bound:
    """The part that counters, gauges and histograms share."""

    __slots__ = ("_dirty", "_fast_max", "_fast_min", "_host", "_labels", "_measure", "_open", "_zero", "labels", "name")

    _fast_limit: float
    _class_name: str

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
        self._fast_min = -_FAST_FLOAT if measure.negative else 0.0
        self._fast_max = self._fast_limit if self._open else _NO_FAST_PATH
        self._dirty = False

    def __repr__(self) -> str:
        return f"<{self._class_name} {self.name!r} {self._labels!r}>"

    def close(self) -> None:
        """Refuse further updates: they count as closed."""
        self._open = False
        self._fast_max = _NO_FAST_PATH

    def _checked(self, value: object) -> Any:
        """Return the value if it is valid; else count it as refused, for the right reason, and return None."""
        if not self._open:
            if self._host.state != "disabled":
                self._host.refuse("closed")
            return None
        valid = number(value, self._measure)
        if valid is None:
            fault = fault_of(self._measure.kind.name.title(), "value", value, self._measure, self.name)
            self._host.refuse("invalid", fault)
        return valid

    def collect(self) -> Row | None:
        """Take the updates since the last collection, as one row; None if there were none. Runs in Trio's thread."""
        raise NotImplementedError

    def _refuse_update(self) -> None:
        """Count a refusal: the sum would overflow a float, or another thread has closed the collector."""
        self._host.refuse("invalid" if self._open else "closed")


class BoundCounter(Bound):
    """A counter for one label set."""

    __slots__ = ("_sum", "_whole")

    _fast_limit = FAST_INT
    _class_name = "BoundCounter"

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
        if type(value) is int and 0 <= value <= self._fast_max:
            self._whole += value
            self._dirty = True
            return
        valid = value if type(value) is float and 0.0 <= value <= MAX_FLOAT else self._checked(value)
        if valid is not None:
            total = self._sum + valid
            if self._open and total <= MAX_FLOAT:
                self._sum = total
                self._dirty = True
            else:
                self._refuse_update()

    def collect(self) -> Row | None:
        """Take the sum added since the last collection; None if there were no updates."""
        if not self._dirty:
            return None
        now = time.time_ns()
        whole = self._whole
        total = self._sum
        self._whole = 0
        self._sum = 0
        self._dirty = False
        return (Counter, now, self.name, self._labels, whole + total + self._zero)


class BoundGauge(Bound):
    """A gauge for one label set."""

    __slots__ = ("_value",)

    _fast_limit = _FAST_FLOAT
    _class_name = "BoundGauge"

    def __init__(self, measure: Measure, labels: dict[str, Any], host: Host) -> None:
        """Created by ``collector.gauge()``."""
        super().__init__(measure, labels, host)
        self._value: float = 0

    @trio.lowlevel.enable_ki_protection
    def set(self, value: float) -> None:
        """Set the value, an int or float. Safe in any thread.

        A bad value counts as one ``invalid`` event and changes nothing; after the block, as one ``closed`` event.
        """
        if type(value) is float and self._fast_min <= value <= self._fast_max:
            self._value = value
            self._dirty = True
            return
        valid = value if type(value) is int and 0 <= value <= FAST_INT else self._checked(value)
        if valid is not None:
            if self._open:
                self._value = valid
                self._dirty = True
            else:
                self._refuse_update()

    @trio.lowlevel.enable_ki_protection
    def inc(self, value: float = 1) -> None:
        """Add to the value, which starts at 0. Otherwise like :meth:`set`."""
        valid = value if type(value) is int and 0 <= value <= FAST_INT else self._checked(value)
        if valid is not None:
            self._change(valid)

    @trio.lowlevel.enable_ki_protection
    def dec(self, value: float = 1) -> None:
        """Subtract from the value, which starts at 0. Otherwise like :meth:`set`."""
        valid = value if type(value) is int and 0 <= value <= FAST_INT else self._checked(value)
        if valid is not None:
            self._change(-valid)

    def _change(self, by: float) -> None:
        """Add ``by`` to the value; no call comes between the read and the write."""
        total = self._value + by
        if self._open and -MAX_FLOAT <= total <= MAX_FLOAT:
            self._value = total
            self._dirty = True
        else:
            self._refuse_update()

    def track(self) -> Tracking:
        """Return a span that counts work in flight: ``with gauge.track():``, or a decorator (see :class:`Span`)."""
        return Tracking(self.inc, self.dec)

    def collect(self) -> Row | None:
        """Return the value; None if there were no updates since the last collection."""
        if not self._dirty:
            return None
        now = time.time_ns()
        self._dirty = False
        return (Gauge, now, self.name, self._labels, self._value + self._zero)


class BoundHistogram(Bound):
    """A histogram for one label set."""

    __slots__ = ("_counts", "_sum", "_uncollected", "_uncollected_sum", "bounds")

    _fast_limit = _FAST_FLOAT
    _class_name = "BoundHistogram"

    def __init__(self, measure: Measure, labels: dict[str, Any], host: Host) -> None:
        """Created by ``collector.histogram()``."""
        super().__init__(measure, labels, host)
        self.bounds: tuple[float, ...] = measure.default_bounds
        self._counts = [0] * (len(self.bounds) + 1)
        self._sum: float = 0
        self._uncollected: list[int] | None = None  # by a collection that hasn't returned its row yet
        self._uncollected_sum: float = 0

    @trio.lowlevel.enable_ki_protection
    def observe(self, value: float | timedelta) -> None:
        """Count a value, an int or float. If the unit is seconds, it may be a ``timedelta``, and must not be negative.

        A bad value counts as one ``invalid`` event and leaves the counts alone; after the block, as one ``closed``
        event. Safe in any thread.
        """
        if type(value) is float:
            bucket = bisect_left(self.bounds, value)
            if self._fast_min <= value <= self._fast_max:
                self._counts[bucket] += 1
                self._sum += value
                self._dirty = True
                return
        valid = value if type(value) is int and 0 <= value <= FAST_INT else self._checked(value)
        if valid is not None:
            bucket = bisect_left(self.bounds, valid)
            total = self._sum + valid
            if self._open and -MAX_FLOAT <= total <= MAX_FLOAT:
                self._counts[bucket] += 1
                self._sum = total
                self._dirty = True
                if not -_LARGE_SUM <= total <= _LARGE_SUM:
                    self._fast_max = _NO_FAST_PATH  # until the next collection, each update checks for overflow
            else:
                self._refuse_update()

    def time(self) -> Timing:
        """Return a span that observes how long work takes: ``with histogram.time():``, or a decorator.

        It measures by Trio's clock, however the work ends, in the histogram's unit if that is a unit of time, else in
        seconds. See :class:`Span`.
        """
        return Timing(self.observe, self._host, self._measure.unit)

    def collect(self) -> Row | None:
        """Take the values observed since the last collection; None if there were none."""
        if self._uncollected is None:
            if not self._dirty:
                return None
            new_counts = [0] * len(self._counts)
            self._uncollected = self._counts
            self._uncollected_sum = self._sum
            self._counts = new_counts
            self._sum = 0
            self._dirty = False
            if self._open:
                self._fast_max = self._fast_limit
        counts = self._uncollected
        row = (
            HistogramPoint,
            time.time_ns(),
            self.name,
            self._labels,
            sum(counts),
            self._uncollected_sum + self._zero,
            self.bounds,
            tuple(counts),
        )
        self._uncollected = None
        return row
