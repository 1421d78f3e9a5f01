"""One series: the cell in which it is aggregated, and the point that shows it at one moment."""

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
    """A counter's sum, a gauge's last value, the sum of a histogram's values; infinite if it overflows a float."""
    counts: tuple[int, ...] = ()
    """For a histogram: the number of values in each bucket, not cumulative; one more than the metric's ``bounds``."""
    started: int = 0
    """Wall-clock nanoseconds since 1970 at which the series began, or began again."""
    updated: int = 0
    """Wall-clock nanoseconds since 1970 at which the last event was merged."""

    @property
    def count(self) -> int:
        """The number of values in a histogram."""
        return sum(self.counts)


@tolerant_repr
@attrs.frozen
class Metric:
    """All series of one instrument at one moment."""

    name: str
    """The instrument's name, as declared."""
    kind: Kind
    """The kind of instrument."""
    unit: str
    """Its unit (UCUM); empty if none was declared."""
    description: str
    """One sentence for people; empty if none was declared."""
    bounds: tuple[float, ...]
    """For a histogram: upper bounds of its buckets; a value equal to a bound belongs to that bound's bucket."""
    points: tuple[Point, ...]
    """Its series, in the order in which they began."""


class Cell:
    """One series while it is aggregated; changed only in Trio's thread, read in any (:mod:`.store`)."""

    __slots__ = ("counts", "labels", "pinned", "refusal", "set_at", "started", "updated", "value")

    def __init__(self, labels: Mapping[str, str], buckets: int, started: int) -> None:
        """Create a cell with the value 0.

        Args:
            labels: the labels as text.
            buckets: the number of buckets; 0 if it isn't a histogram.
            started: wall-clock nanoseconds.
        """
        self.labels: Mapping[str, str] = labels
        self.counts: list[int] = [0] * buckets
        self.value: float = 0.0
        self.set_at: int = 0
        self.started: int = started
        self.updated: int = 0
        """When a value was last added; 0: the cell has no value yet."""
        self.pinned: bool = False
        """Whether it belongs to a bound instrument: then it does not expire."""
        self.refusal: str | None = None
        """Why events added to it are rejected; such a cell isn't a series, and is never shown."""

    def shown(self, since: int) -> bool:
        """Return whether it has a value that was updated at or after ``since``, or that does not expire."""
        return self.updated >= since or (self.pinned and self.updated > 0)

    def point(self) -> Point:
        """Return a snapshot of the series. Safe in any thread."""
        # The counts first: allocating the copy may run the garbage collector, and so any code. After that, no calls.
        counts, value, updated = self.counts[:], self.value, self.updated
        return Point(self.labels, value, tuple(counts), self.started, updated)


class Family:
    """The series of an instrument, or of several instruments that are one to the back-end."""

    __slots__ = ("bounds", "cells", "measure", "overflow", "pinned", "refusal", "shared", "terms", "updated", "warned")

    def __init__(self, measure: Measure, bounds: tuple[float, ...], terms: Hashable = None) -> None:
        """Create a family without series.

        Args:
            measure: the instrument; the first one, if several are one to the back-end.
            bounds: a histogram's bucket bounds; empty for other kinds.
            terms: what other instruments of the same name must agree on to belong to it.
        """
        self.measure: Measure = measure
        self.terms: Hashable = terms
        self.bounds: tuple[float, ...] = bounds
        self.cells: dict[Hashable, Cell] = {}
        self.pinned: set[Hashable] = set()
        """The keys of bound instruments' series, including those that have no room yet."""
        self.overflow: Cell | None = None
        self.shared: tuple[Mapping[str, str], Hashable] | None = None
        """The labels and the key of the series that all label sets beyond the cap share."""
        self.refusal: str | None = None
        """Why the back-end refuses the instrument: all its events are rejected."""
        self.updated: int = 0
        """When a value was last added to any of its series; written before they are, for readers in other threads."""
        self.warned: bool = False

    @property
    def buckets(self) -> int:
        """The number of buckets per cell."""
        return len(self.bounds) + 1 if self.measure.kind is HISTOGRAM else 0

    def all_cells(self) -> list[Cell]:
        """Return its series, the overflow series last. Safe in any thread: the dictionary is copied in one step."""
        overflow = self.overflow
        return [*self.cells.values(), *([overflow] if overflow is not None else [])]

    def metric(self, cells: Iterable[Cell]) -> Metric:
        """Return a snapshot of some of its series. Safe in any thread."""
        measure, points = self.measure, tuple(cell.point() for cell in cells)
        return Metric(measure.name, measure.kind, measure.unit, measure.description, self.bounds, points)


def refusing(family: Family, reason: str) -> Cell:
    """Return a cell that rejects all events with its labels.

    Args:
        family: the instrument.
        reason: why they are rejected.
    """
    cell = Cell({}, family.buckets, 0)
    cell.refusal = reason
    return cell
