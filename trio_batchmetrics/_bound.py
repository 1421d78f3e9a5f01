"""Bound instruments: labels resolved once, values aggregated in place, from any thread.

How this works
==============

Each update has a quick way, for an exact int or float that is valid, while the block is open; and a slow one, which
finds out what is wrong, if anything is. ``_most`` is the largest value that the quick way takes; minus infinity: none.

Neither locks, nor asks which thread it is in. In the middle of an update a signal handler may run, or another thread,
that updates the same instrument. CPython lets them after a call, at function entry and when it jumps back; and no
update makes a call between looking whether the block is open, reading a sum and writing it. A collection exchanges all
of it in one step. So updates are safe by construction, where there is a global interpreter lock.
"""

from __future__ import annotations

import math
import sys
import time
from bisect import bisect_left
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, Protocol

import trio

from ._batch import Row
from ._events import Counter, Gauge, HistogramPoint
from ._reprs import tolerant_repr
from ._schema import Measure
from ._validation import number

__all__ = ["BoundCounter", "BoundGauge", "BoundHistogram", "Host"]

_MOST = sys.float_info.max
"""What a sum may come to: what a float holds. Compared without a call."""

_QUICK_INT = 1 << 29
"""Ints up to here are one digit to CPython, and quickly compared; no number of them overflows a float."""

_QUICK_FLOAT = 1e290
_LARGE_SUM = 1e307
"""Values up to the former may be added to a sum up to the latter for longer than a process lives."""

_CLOSED = -math.inf


class Host(Protocol):
    """What instruments need of their collector."""

    @property
    def state(self) -> str:
        """``open``, ``closed`` (updates count as closed) or ``disabled`` (they do nothing)."""
        ...

    def refuse_from_thread(self, reason: str) -> None:
        """Count an event that is not taken, in any thread."""
        ...

    def wake(self, call: Any) -> None:
        """Make a call that touches Trio, as soon as that is safe."""
        ...

    def now(self) -> float:
        """Return the time by the clock of the collector's Trio run, also after it."""
        ...


@tolerant_repr
class _Bound:
    """What the three kinds share."""

    __slots__ = ("_host", "_least", "_measure", "_most", "_open", "_touched", "labels", "name")

    _quick: float

    def __init__(self, name: str, labels: Mapping[str, Any], measure: Measure, host: Host) -> None:
        self.name: str = name
        self.labels: Mapping[str, Any] = labels
        self._measure = measure
        self._host = host
        self._open = host.state == "open"
        self._least = -_QUICK_FLOAT if measure.negative else 0.0
        self._most = self._quick if self._open else _CLOSED
        self._touched = False

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r} {dict(self.labels)!r}>"

    def close(self) -> None:
        """Take no more updates: they count as closed."""
        self._open = False
        self._most = _CLOSED

    def _checked(self, value: object) -> Any:
        """Return a valid value, or None for one that is not to be taken (and is counted as it should be)."""
        if not self._open:
            if self._host.state != "disabled":
                self._host.refuse_from_thread("closed")
            return None
        good = number(value, self._measure)
        if good is None:
            self._host.refuse_from_thread("invalid")
        return good

    def _number(self, value: float) -> float:
        """Return a collected value as it is handed on: seconds as a float."""
        return float(value) if self._measure.seconds else value

    def _not_taken(self) -> None:
        """Leave the sum alone: no float could hold it with this value, or another thread has closed the collector."""
        self._host.refuse_from_thread("invalid" if self._open else "closed")


class BoundCounter(_Bound):
    """A counter with its labels."""

    __slots__ = ("_sum", "_whole")

    _quick = _QUICK_INT

    def __init__(self, name: str, labels: Mapping[str, Any], measure: Measure, host: Host) -> None:
        """Made by ``collector.counter()``."""
        super().__init__(name, labels, measure, host)
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
        good = value if type(value) is float and 0.0 <= value <= _MOST else self._checked(value)
        if good is not None:
            total = self._sum + good
            if self._open and total <= _MOST:
                self._sum = total
                self._touched = True
            else:
                self._not_taken()

    def collect(self) -> Row | None:
        """Take what was added since the last collection; None if nothing was."""
        if not self._touched:
            return None
        whole, total, self._whole, self._sum, self._touched = self._whole, self._sum, 0, 0, False
        return (Counter, time.time_ns(), self.name, self.labels, self._number(whole + total))


class BoundGauge(_Bound):
    """A gauge with its labels."""

    __slots__ = ("_value",)

    _quick = _QUICK_FLOAT

    def __init__(self, name: str, labels: Mapping[str, Any], measure: Measure, host: Host) -> None:
        """Made by ``collector.gauge()``."""
        super().__init__(name, labels, measure, host)
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
        good = value if type(value) is int and 0 <= value <= _QUICK_INT else self._checked(value)
        if good is not None:
            if self._open:
                self._value = good
                self._touched = True
            else:
                self._not_taken()

    @trio.lowlevel.enable_ki_protection
    def inc(self, value: float = 1) -> None:
        """Add to the value, which starts at 0. As :meth:`set` otherwise."""
        good = value if type(value) is int and 0 <= value <= _QUICK_INT else self._checked(value)
        if good is not None:
            self._change(good)

    @trio.lowlevel.enable_ki_protection
    def dec(self, value: float = 1) -> None:
        """Subtract from the value, which starts at 0. As :meth:`set` otherwise."""
        good = value if type(value) is int and 0 <= value <= _QUICK_INT else self._checked(value)
        if good is not None:
            self._change(-good)

    def _change(self, by: float) -> None:
        """Change the value by so much; it is read and written here, without a call in between."""
        total = self._value + by
        if self._open and -_MOST <= total <= _MOST:
            self._value = total
            self._touched = True
        else:
            self._not_taken()

    @contextmanager
    def track(self) -> Generator[None, None, None]:
        """Count what is in flight: one more inside the ``with`` block, one less after it, however it ends."""
        self.inc()
        try:
            yield
        finally:
            self.dec()

    def collect(self) -> Row | None:
        """Return the value; None if it was not touched since the last collection."""
        if not self._touched:
            return None
        self._touched = False
        return (Gauge, time.time_ns(), self.name, self.labels, self._number(self._value))


class BoundHistogram(_Bound):
    """A histogram with its labels."""

    __slots__ = ("_counts", "_sum", "bounds")

    _quick = _QUICK_FLOAT

    def __init__(
        self, name: str, labels: Mapping[str, Any], measure: Measure, host: Host, bounds: tuple[float, ...]
    ) -> None:
        """Made by ``collector.histogram()``."""
        super().__init__(name, labels, measure, host)
        self.bounds: tuple[float, ...] = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum: float = 0

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
        good = value if type(value) is int and 0 <= value <= _QUICK_INT else self._checked(value)
        if good is not None:
            bucket = bisect_left(self.bounds, good)
            total = self._sum + good
            if self._open and -_MOST <= total <= _MOST:
                self._counts[bucket] += 1
                self._sum = total
                self._touched = True
                if not -_LARGE_SUM <= total <= _LARGE_SUM:
                    self._most = _CLOSED  # until the next collection each update looks whether the sum overflows
            else:
                self._not_taken()

    @contextmanager
    def time(self) -> Generator[None, None, None]:
        """Observe how many seconds the ``with`` block takes, by Trio's clock, however it ends."""
        start = self._host.now()
        try:
            yield
        finally:
            self.observe(self._host.now() - start)

    def collect(self) -> Row | None:
        """Take what was observed since the last collection; None if nothing was."""
        if not self._touched:
            return None
        fresh = [0] * len(self._counts)
        counts, total, self._counts, self._sum, self._touched = self._counts, self._sum, fresh, 0, False
        if self._open:
            self._most = self._quick
        return (
            HistogramPoint,
            time.time_ns(),
            self.name,
            self.labels,
            sum(counts),
            total,
            self.bounds,
            tuple(counts),
        )
