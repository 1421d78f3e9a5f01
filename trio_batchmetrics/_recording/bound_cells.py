"""Bound instruments with one cell per thread: safe without a global interpreter lock.

How this works
==============

Each thread adds to its own cell, which no other thread writes (:mod:`trio_batchmetrics._concurrency`). Cells are
cumulative and never reset: a collection, in Trio's thread, reads them all and hands over the difference from the
previous one. A gauge's value is the last one set, plus the changes since. Setting it stores the value together with the
totals of the changes at that moment, in one reference, which the last thread to set the gauge writes.

Within its thread, an update is safe for the reasons given in :mod:`.bound`. A reader sees from ``writing`` that an
update is under way, and from ``updates`` that one has been completed in the meantime. It then reads again, a bounded
number of times, and never waits. Updates that it misses come with the next collection.

The overflow series uses these classes even with a global interpreter lock: only it has to count its updates.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeVar

import trio

from .._concurrency import Cells
from .._events import Counter, Gauge, HistogramPoint, Measure, Row
from .bound import FAST_INT, MAX_FLOAT, BoundCounter, BoundGauge, BoundHistogram
from .host import Host

__all__ = ["CellCounter", "CellGauge", "CellHistogram"]

_MAX_READS = 100
"""How often a collection reads a cell at most while its thread keeps updating it; then the last reading counts."""


class _Cell:
    """The state of one cell, which one thread at a time writes."""

    __slots__ = ("updates", "writing")

    def __init__(self) -> None:
        self.updates = 0
        self.writing = 0


class _Sums(_Cell):
    """A cell of a counter or gauge: whole numbers, which stay exact, and all other values."""

    __slots__ = ("rest", "whole")

    def __init__(self) -> None:
        super().__init__()
        self.whole = 0
        self.rest: float = 0

    def read(self) -> tuple[int, float]:
        """Return the sum of the whole numbers, and the sum of the rest."""
        return self.whole, self.rest


class _Buckets(_Cell):
    """A cell of a histogram."""

    __slots__ = ("counts", "sum")

    def __init__(self, buckets: int) -> None:
        super().__init__()
        self.counts = [0] * buckets
        self.sum: float = 0

    def read(self) -> tuple[list[int], float]:
        """Return the count of each bucket, and the sum."""
        return self.counts.copy(), self.sum


_CellT = TypeVar("_CellT", bound=_Cell)
_T = TypeVar("_T")


def _updates(cells: Cells[_CellT]) -> int:
    """Return the number of updates in all cells."""
    return sum([cell.updates for cell in cells.all()])


def _consistent_reading(cell: _CellT, read: Callable[[_CellT], _T]) -> _T:
    """Read a cell between two updates, or as close to that as a bounded number of readings allows."""
    reading = read(cell)
    for _ in range(_MAX_READS):
        updates = cell.updates
        if not cell.writing:
            reading = read(cell)
            if cell.updates == updates and not cell.writing:
                break
    return reading


class _CellAdder:
    """The part that counters and gauges share: adding to the calling thread's cell."""

    __slots__ = ()

    _cells: Cells[_Sums]
    _open: bool

    @property
    def updates(self) -> int:
        """The number of updates so far."""
        return _updates(self._cells)

    def _try_add(self, valid: float) -> bool:
        """Add, if the instrument is open and the sum fits a float; return whether that was the case."""
        cell = self._cells.local_cell()
        cell.writing += 1  # no calls from here on
        accepted = False
        if type(valid) is int and -FAST_INT <= valid <= FAST_INT:
            if self._open:
                cell.whole += valid
                accepted = True
        else:
            total = cell.rest + valid
            if self._open and -MAX_FLOAT <= total <= MAX_FLOAT:
                cell.rest = total
                accepted = True
        cell.updates += accepted
        cell.writing -= 1
        return accepted


class CellCounter(_CellAdder, BoundCounter):
    """A counter for one label set, with one cell per thread."""

    __slots__ = ("_cells", "_collected_rest", "_collected_updates", "_collected_whole")

    def __init__(self, measure: Measure, labels: dict[str, Any], host: Host) -> None:
        """Created by ``collector.counter()``."""
        super().__init__(measure, labels, host)
        self._cells = Cells(_Sums)
        self._collected_updates = 0
        self._collected_whole = 0
        self._collected_rest: float = 0

    @trio.lowlevel.enable_ki_protection
    def add(self, value: float = 1) -> None:
        """Add a value. Like :meth:`BoundCounter.add`."""
        valid = value if type(value) is int and 0 <= value <= FAST_INT else self._checked(value)
        if valid is not None and not self._try_add(valid):
            self._refuse_update()

    def collect(self) -> Row | None:
        """Take the sum added since the last collection; None if there were no updates."""
        cells = self._cells.all()
        updates = sum([cell.updates for cell in cells])  # before the sums: the next collection sees later updates
        if updates == self._collected_updates:
            return None
        readings = [_consistent_reading(cell, _Sums.read) for cell in cells]
        whole = sum([reading[0] for reading in readings])
        rest = sum([reading[1] for reading in readings])
        row = (
            Counter,
            time.time_ns(),
            self.name,
            self._labels,
            whole - self._collected_whole + (rest - self._collected_rest) + self._zero,
        )
        self._collected_updates = updates
        self._collected_whole = whole
        self._collected_rest = rest
        return row


class CellGauge(_CellAdder, BoundGauge):
    """A gauge for one label set, with one cell per thread."""

    __slots__ = ("_cells", "_collected_updates", "_last_set", "_sets")

    def __init__(self, measure: Measure, labels: dict[str, Any], host: Host) -> None:
        """Created by ``collector.gauge()``."""
        super().__init__(measure, labels, host)
        self._cells = Cells(_Sums)
        self._collected_updates = 0
        self._last_set: tuple[float, int, float] = (0, 0, 0)  # the value, and the totals of the changes by then

    @trio.lowlevel.enable_ki_protection
    def set(self, value: float) -> None:
        """Set the value; of several concurrent calls, the last wins. Like :meth:`BoundGauge.set`."""
        valid = value if type(value) is int and 0 <= value <= FAST_INT else self._checked(value)
        if valid is None:
            return
        cell, changes = self._cells.local_cell(), self._changes()
        if self._open:
            self._last_set = (valid, *changes)
            cell.updates += 1
        else:
            self._refuse_update()

    def _change(self, by: float) -> None:
        if not self._try_add(by):
            self._refuse_update()

    def _changes(self) -> tuple[int, float]:
        cells = self._cells.all()
        return sum([cell.whole for cell in cells]), sum([cell.rest for cell in cells])

    def collect(self) -> Row | None:
        """Return the value; None if there were no updates since the last collection."""
        updates = _updates(self._cells)
        if updates == self._collected_updates:
            return None
        value, whole_then, rest_then = self._last_set
        whole, rest = self._changes()
        value = value + (whole - whole_then)
        if rest != rest_then:
            value = value + (rest - rest_then)
        row = (Gauge, time.time_ns(), self.name, self._labels, value + self._zero)
        self._collected_updates = updates
        return row


class CellHistogram(BoundHistogram):
    """A histogram for one label set, with one cell per thread."""

    __slots__ = ("_cells", "_last_collected")

    def __init__(self, measure: Measure, labels: dict[str, Any], host: Host) -> None:
        """Created by ``collector.histogram()``."""
        super().__init__(measure, labels, host)
        buckets = len(self.bounds) + 1
        self._cells = Cells(lambda: _Buckets(buckets))
        self._last_collected: tuple[list[int], float] = ([0] * buckets, 0)

    @property
    def updates(self) -> int:
        """The number of updates so far."""
        return _updates(self._cells)

    @trio.lowlevel.enable_ki_protection
    def observe(self, value: float | timedelta) -> None:
        """Count a value. Like :meth:`BoundHistogram.observe`."""
        valid = value if type(value) is int and 0 <= value <= FAST_INT else self._checked(value)
        if valid is None:
            return
        bucket = bisect_left(self.bounds, valid)
        cell = self._cells.local_cell()
        cell.writing += 1  # no calls from here on
        total = cell.sum + valid
        accepted = False
        if self._open and -MAX_FLOAT <= total <= MAX_FLOAT:
            accepted = True
            cell.counts[bucket] += 1
            cell.sum = total
            cell.updates += 1
        cell.writing -= 1
        if not accepted:
            self._refuse_update()

    def collect(self) -> Row | None:
        """Take the values observed since the last collection; None if there were none."""
        readings = [_consistent_reading(cell, _Buckets.read) for cell in self._cells.all()]
        counts, total = [*map(sum, zip(*[reading[0] for reading in readings], strict=True))], 0.0
        if not counts or counts == self._last_collected[0]:
            return None
        total = sum([reading[1] for reading in readings])
        new_counts = [now - before for now, before in zip(counts, self._last_collected[0], strict=True)]
        row = (
            HistogramPoint,
            time.time_ns(),
            self.name,
            self._labels,
            sum(new_counts),
            total - self._last_collected[1] + self._zero,
            self.bounds,
            tuple(new_counts),
        )
        self._last_collected = (counts, total)
        return row
