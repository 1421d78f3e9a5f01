"""Bound instruments: labels resolved once, values aggregated in place, from any thread.

How this works
==============

Each update has a quick way, for an exact int or float that is valid, while the block is open; and a slow one, which
finds out what is wrong, if anything is. ``_most`` is the largest value that the quick way takes; minus infinity: none.

Neither locks, nor asks which thread it is in. In the middle of an update a signal handler may run, or another thread,
that updates the same instrument. CPython lets them after a call, at function entry and when it jumps back; and no
update makes a call between looking whether the block is open, reading a sum and writing it. A collection exchanges all
of it without a call, and without making a tuple: to make one may run the garbage collector, and with it anything.
So updates are safe by construction, where there is a global interpreter lock; where there is none,
:mod:`.bound_cells` takes the place of these classes.

A collection makes its calls before it takes anything, or keeps what it took until its row is complete: should a call
raise (the stack may be too deep for it), nothing is lost.
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

__all__ = ["MOST", "QUICK_INT", "Bound", "BoundCounter", "BoundGauge", "BoundHistogram"]

MOST = sys.float_info.max
"""What a sum may come to: what a float holds. Compared without a call."""

QUICK_INT = 1 << 29
"""Ints up to here are one digit to CPython, and quickly compared; no number of them overflows a float."""

_QUICK_FLOAT = 1e290
_LARGE_SUM = 1e307
"""Values up to the former may be added to a sum up to the latter for longer than a process lives."""

_CLOSED = -math.inf


@tolerant_repr
class Bound:
    """What the three kinds share."""

    __slots__ = ("_host", "_labels", "_least", "_measure", "_most", "_open", "_touched", "_zero", "labels", "name")

    _quick: float
    _title: str

    def __init__(self, measure: Measure, labels: dict[str, Any], host: Host) -> None:
        """Made by the collector.

        Args:
            measure: what it measures; a histogram's with its bounds.
            labels: the instrument's own dictionary of them.
            host: the collector.
        """
        self.name: str = measure.name
        self.labels: Mapping[str, Any] = MappingProxyType(labels)
        self._labels = labels
        self._measure = measure
        self._host = host
        self._open = host.state == "open"
        self._zero = 0.0 if measure.seconds else 0  # seconds are handed on as a float
        self._least = -_QUICK_FLOAT if measure.negative else 0.0
        self._most = self._quick if self._open else _CLOSED
        self._touched = False

    def __repr__(self) -> str:
        return f"<{self._title} {self.name!r} {self._labels!r}>"

    def close(self) -> None:
        """Take no more updates: they count as closed."""
        self._open = False
        self._most = _CLOSED

    def _checked(self, value: object) -> Any:
        """Return a valid value, or None for one that is not to be taken (and is counted as it should be)."""
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
        """Take what came since the last collection; None if nothing did. In Trio's thread."""
        raise NotImplementedError

    def _not_taken(self) -> None:
        """Leave the sum alone: no float could hold it with this value, or another thread has closed the collector."""
        self._host.refuse("invalid" if self._open else "closed")


class BoundCounter(Bound):
    """A counter with its labels."""

    __slots__ = ("_sum", "_whole")

    _quick = QUICK_INT
    _title = "BoundCounter"

    def __init__(self, measure: Measure, labels: dict[str, Any], host: Host) -> None:
        """Made by ``collector.counter()``."""
        super().__init__(measure, labels, host)
        self._whole = 0
        self._sum: float = 0

    @trio.lowlevel.enable_ki_protection
    def add(self, value: float = 1) -> None:
        """Add a value, an int or float >= 0. Safe in any thread.

        A bad one counts as one ``invalid`` event and leaves the sum alone; after the block, as one ``closed`` event.
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
        """Take what was added since the last collection; None if nothing was."""
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
    """A gauge with its labels."""

    __slots__ = ("_value",)

    _quick = _QUICK_FLOAT
    _title = "BoundGauge"

    def __init__(self, measure: Measure, labels: dict[str, Any], host: Host) -> None:
        """Made by ``collector.gauge()``."""
        super().__init__(measure, labels, host)
        self._value: float = 0

    @trio.lowlevel.enable_ki_protection
    def set(self, value: float) -> None:
        """Set the value, an int or float. Safe in any thread.

        A bad one counts as one ``invalid`` event and leaves the value alone; after the block, as one ``closed`` event.
        """
        if type(value) is float and self._least <= value <= self._most:
            self._value = value
            self._touched = True
            return
        good = value if type(value) is int and 0 <= value <= QUICK_INT else self._checked(value)
        if good is not None:
            if self._open:
                self._value = good
                self._touched = True
            else:
                self._not_taken()

    @trio.lowlevel.enable_ki_protection
    def inc(self, value: float = 1) -> None:
        """Add to the value, which starts at 0. As :meth:`set` otherwise."""
        good = value if type(value) is int and 0 <= value <= QUICK_INT else self._checked(value)
        if good is not None:
            self._change(good)

    @trio.lowlevel.enable_ki_protection
    def dec(self, value: float = 1) -> None:
        """Subtract from the value, which starts at 0. As :meth:`set` otherwise."""
        good = value if type(value) is int and 0 <= value <= QUICK_INT else self._checked(value)
        if good is not None:
            self._change(-good)

    def _change(self, by: float) -> None:
        """Change the value by so much; it is read and written here, without a call in between."""
        total = self._value + by
        if self._open and -MOST <= total <= MOST:
            self._value = total
            self._touched = True
        else:
            self._not_taken()

    def track(self) -> Tracking:
        """Return what counts as in flight: ``with gauge.track():``, or as a decorator (see :class:`Span`)."""
        return Tracking(self.inc, self.dec)

    def collect(self) -> Row | None:
        """Return the value; None if it was not touched since the last collection."""
        if not self._touched:
            return None
        now = time.time_ns()
        self._touched = False
        return (Gauge, now, self.name, self._labels, self._value + self._zero)


class BoundHistogram(Bound):
    """A histogram with its labels."""

    __slots__ = ("_counts", "_sum", "_taken", "_taken_sum", "bounds")

    _quick = _QUICK_FLOAT
    _title = "BoundHistogram"

    def __init__(self, measure: Measure, labels: dict[str, Any], host: Host) -> None:
        """Made by ``collector.histogram()``."""
        super().__init__(measure, labels, host)
        self.bounds: tuple[float, ...] = measure.default_bounds
        self._counts = [0] * (len(self.bounds) + 1)
        self._sum: float = 0
        self._taken: list[int] | None = None  # by a collection that has yet to hand it on
        self._taken_sum: float = 0

    @trio.lowlevel.enable_ki_protection
    def observe(self, value: float | timedelta) -> None:
        """Count a value, an int or float; in seconds, where that is the unit, also a ``timedelta``, and never negative.

        A bad one counts as one ``invalid`` event and leaves the counts alone; after the block, as one ``closed`` event.
        Safe in any thread.
        """
        if type(value) is float:
            bucket = bisect_left(self.bounds, value)
            if self._least <= value <= self._most:
                self._counts[bucket] += 1
                self._sum += value
                self._touched = True
                return
        good = value if type(value) is int and 0 <= value <= QUICK_INT else self._checked(value)
        if good is not None:
            bucket = bisect_left(self.bounds, good)
            total = self._sum + good
            if self._open and -MOST <= total <= MOST:
                self._counts[bucket] += 1
                self._sum = total
                self._touched = True
                if not -_LARGE_SUM <= total <= _LARGE_SUM:
                    self._most = _CLOSED  # until the next collection each update looks whether the sum overflows
            else:
                self._not_taken()

    def time(self) -> Timing:
        """Return what observes how long something takes: ``with histogram.time():``, or as a decorator.

        By Trio's clock, however it ends; in the histogram's unit, if that is one of time, else in seconds. See
        :class:`Span`.
        """
        return Timing(self.observe, self._host, self._measure.unit)

    def collect(self) -> Row | None:
        """Take what was observed since the last collection; None if nothing was."""
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
