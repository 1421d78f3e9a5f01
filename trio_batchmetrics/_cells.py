"""One series: as it is added up (a cell), and as it stood at one moment (a point)."""

from __future__ import annotations

from collections.abc import Hashable, Mapping

import attrs

from ._reprs import tolerant_repr
from ._schema import Kind, Measure

__all__ = ["Cell", "Family", "Metric", "Point"]


@tolerant_repr
@attrs.frozen
class Point:
    """One series at one moment."""

    labels: Mapping[str, str]
    """Its labels as text, static ones included."""
    value: float
    """A counter's sum, a gauge's last value, the sum of a histogram's values; infinite where no float holds it."""
    counts: tuple[int, ...] = ()
    """Of a histogram: how many values in each bucket, not cumulative; one more than the metric's ``bounds``."""
    started: int = 0
    """Wall-clock nanoseconds since 1970 at which the series began, or began anew."""
    updated: int = 0
    """Wall-clock nanoseconds since 1970 at which the last event was merged."""

    @property
    def count(self) -> int:
        """How many values a histogram holds."""
        return sum(self.counts)


@tolerant_repr
@attrs.frozen
class Metric:
    """All series of one instrument at one moment."""

    name: str
    """The instrument's name, as declared."""
    kind: Kind
    """What it does with values."""
    unit: str
    """Its unit (UCUM); empty if none was declared."""
    description: str
    """One sentence for people; empty if none was declared."""
    bounds: tuple[float, ...]
    """Of a histogram: upper bounds of its buckets; a value equal to a bound belongs to that bound's bucket."""
    points: tuple[Point, ...]
    """Its series, in the order in which they began."""


class Cell:
    """One series, as it is added up; only in Trio's thread, read in any (:mod:`trio_batchmetrics._series`)."""

    __slots__ = ("counts", "labels", "set_at", "started", "updated", "value")

    def __init__(self, labels: Mapping[str, str], buckets: int, started: int) -> None:
        """Begin at 0.

        Args:
            labels: as text.
            buckets: how many buckets it counts; 0 for what is no histogram.
            started: wall-clock nanoseconds.
        """
        self.labels: Mapping[str, str] = labels
        self.counts: list[int] = [0] * buckets
        self.value: float = 0.0
        self.set_at: int = 0
        self.started: int = started
        self.updated: int = 0
        """When something was added last; 0: it has no value yet."""

    def point(self) -> Point:
        """Return the series as it stands. Safe in any thread."""
        # The counts first: to make room for them may run the garbage collector, and with it anything. Then no calls.
        counts, value, updated = self.counts[:], self.value, self.updated
        return Point(self.labels, value, tuple(counts), self.started, updated)


class Family:
    """An instrument's series."""

    __slots__ = ("bounds", "cells", "measure", "overflow", "updated", "warned")

    def __init__(self, measure: Measure, bounds: tuple[float, ...]) -> None:
        """Have none yet.

        Args:
            measure: the instrument.
            bounds: a histogram's bucket bounds, else none.
        """
        self.measure: Measure = measure
        self.bounds: tuple[float, ...] = bounds
        self.cells: dict[Hashable, Cell] = {}
        self.overflow: Cell | None = None
        self.updated: int = 0
        """When something was last to be added to its series: written before they are, for readers in other threads."""
        self.warned: bool = False

    @property
    def buckets(self) -> int:
        """How many buckets a cell has."""
        return len(self.bounds) + 1 if self.measure.kind is Kind.HISTOGRAM else 0

    def all_cells(self) -> list[Cell]:
        """Return its series, the one that the rest share last. Safe in any thread: the dictionary is copied at once."""
        overflow = self.overflow
        return [*self.cells.values(), *([overflow] if overflow is not None else [])]
