"""One series: as it is added up (a cell), and as it stood at one moment (a point)."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping

import attrs

from .._events import HISTOGRAM, Kind, Measure
from .._reprs import tolerant_repr

__all__ = ["Cell", "Family", "Metric", "Point", "refusing"]


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
    """One series, as it is added up; only in Trio's thread, read in any (:mod:`.store`)."""

    __slots__ = ("counts", "labels", "pinned", "refusal", "set_at", "started", "updated", "value")

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
        self.pinned: bool = False
        """Whether it belongs to a bound instrument: it does not expire."""
        self.refusal: str | None = None
        """Why the events that are added to it are rejected; such a cell isn't a series, and shown nowhere."""

    def shown(self, since: int) -> bool:
        """Tell whether it has a value, and one that was updated since, unless it does not expire."""
        return self.updated >= since or (self.pinned and self.updated > 0)

    def point(self) -> Point:
        """Return the series as it stands. Safe in any thread."""
        # The counts first: to make room for them may run the garbage collector, and with it anything. Then no calls.
        counts, value, updated = self.counts[:], self.value, self.updated
        return Point(self.labels, value, tuple(counts), self.started, updated)


class Family:
    """The series of an instrument, or of several that are one to the back-end."""

    __slots__ = ("bounds", "cells", "measure", "overflow", "pinned", "refusal", "shared", "terms", "updated", "warned")

    def __init__(self, measure: Measure, bounds: tuple[float, ...], terms: Hashable = None) -> None:
        """Have none yet.

        Args:
            measure: the instrument; the first, where several are one to the back-end.
            bounds: a histogram's bucket bounds, else none.
            terms: what others of its name must agree on to be part of it.
        """
        self.measure: Measure = measure
        self.terms: Hashable = terms
        self.bounds: tuple[float, ...] = bounds
        self.cells: dict[Hashable, Cell] = {}
        self.pinned: set[Hashable] = set()
        """Which series are bound instruments', though they may have no room yet."""
        self.overflow: Cell | None = None
        self.shared: tuple[Mapping[str, str], Hashable] | None = None
        """The labels of the series that label sets beyond the cap share, and what tells it from others."""
        self.refusal: str | None = None
        """Why it is refused: all its events are rejected."""
        self.updated: int = 0
        """When something was last to be added to its series: written before they are, for readers in other threads."""
        self.warned: bool = False

    @property
    def buckets(self) -> int:
        """How many buckets a cell has."""
        return len(self.bounds) + 1 if self.measure.kind is HISTOGRAM else 0

    def all_cells(self) -> list[Cell]:
        """Return its series, the one that the rest share last. Safe in any thread: the dictionary is copied at once."""
        overflow = self.overflow
        return [*self.cells.values(), *([overflow] if overflow is not None else [])]

    def metric(self, cells: Iterable[Cell]) -> Metric:
        """Return some of its series as they stand. Safe in any thread."""
        measure, points = self.measure, tuple(cell.point() for cell in cells)
        return Metric(measure.name, measure.kind, measure.unit, measure.description, self.bounds, points)


def refusing(family: Family, reason: str) -> Cell:
    """Return what stands for labels whose events are rejected.

    Args:
        family: the instrument.
        reason: why.
    """
    cell = Cell({}, family.buckets, 0)
    cell.refusal = reason
    return cell
