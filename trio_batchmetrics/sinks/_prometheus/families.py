"""The families of a page of Prometheus': what they are called, and which series stand there.

Trio's thread gives series their places; pages are written in any (:mod:`trio_batchmetrics._series`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from ..._events import Kind, text
from ..._series import Cell, Family
from .identity import base_of, names_of, type_of
from .names import metric_name, unit_name
from .text import bounds_text, help_text, labels_text

__all__ = ["ExposedFamily", "Series"]


class Series:
    """One series of a page."""

    __slots__ = ("before", "bounds", "cell", "labels", "written")

    def __init__(self, cell: Cell, before: str, labels: str, bounds: tuple[str, ...]) -> None:
        """Expose a series.

        Args:
            cell: where it is added up.
            before: what its lines begin with.
            labels: as they are written.
            bounds: of a histogram's buckets, as they are written.
        """
        self.cell: Cell = cell
        self.before: str = before
        self.labels: str = labels
        self.bounds: tuple[str, ...] = bounds
        self.written: tuple[int, bytes, bytes] = (0, b"", b"")
        """A histogram's lines, in text and in OpenMetrics, when its cell's ``updated`` was this; 0: not to be kept."""


class ExposedFamily(ABC):
    """One family of a page."""

    def __init__(self, family: Family) -> None:
        """Have no series yet.

        Args:
            family: its series, which come one by one.
        """
        measure = family.measure
        self.family: Family = family
        self.name: str = metric_name(measure.name, measure.unit, measure.kind)
        """What its samples are called."""
        self.kind: Kind = measure.kind
        self.base: str = base_of(self.name, self.kind)
        """What the family is called in OpenMetrics."""
        self.type: str = type_of(self.name, self.kind)
        """Its type in OpenMetrics."""
        self.names: tuple[str, ...] = names_of(measure)
        """All names that it takes in either format."""
        self.unit: str = unit_name(measure.unit)
        self.bounds: tuple[str, ...] = bounds_text(family)
        """Of a histogram's buckets, as they are written."""
        self.series: dict[Cell, Series] = {}
        """In the order in which they began."""
        self._changes = 0

    @property
    def help(self) -> str:
        """Its description; without one, what the application calls it."""
        measure = self.family.measure
        return text(measure.description) or measure.name

    @property
    def shown_unit(self) -> str:
        """Its unit, if the name ends with it, as OpenMetrics wants it."""
        return self.unit if self.unit and self.base.endswith(f"_{self.unit}") else ""

    def add(self, cell: Cell) -> None:
        """Show a series from now on."""
        labels = labels_text(cell.labels)
        self.series[cell] = Series(cell, self._before(labels), labels, self.bounds)
        self._changes += 1

    def remove(self, cell: Cell) -> None:
        """Show a series no more."""
        del self.series[cell]
        self._changes += 1

    def head(self, *, openmetrics: bool) -> bytes:
        """Return what stands before its lines."""
        written = help_text(self.help, openmetrics=openmetrics)
        if not openmetrics:
            return f"# HELP {self.name} {written}\n# TYPE {self.name} {self.kind.value}\n".encode()
        unit = f"# UNIT {self.base} {self.shown_unit}\n" if self.shown_unit else ""
        return f"# HELP {self.base} {written}\n# TYPE {self.base} {self.type}\n{unit}".encode()

    @abstractmethod
    def lines(self, *, openmetrics: bool, settled: int, since: int) -> list[bytes]:
        """Return its lines, in pieces; none if there is no series to show.

        Args:
            openmetrics: the format.
            settled: what was updated until then will not change again without a later update.
            since: series that were not updated since are left out.
        """

    @abstractmethod
    def _before(self, labels: str) -> str:
        """Return what the lines of a series begin with."""
