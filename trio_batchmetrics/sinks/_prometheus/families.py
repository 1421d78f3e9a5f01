"""The families of a Prometheus page: their names, and the series on the page.

Trio's thread adds and removes series; pages are written in any thread (:mod:`trio_batchmetrics._series`).
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
        """Create the page's entry for a cell.

        Args:
            cell: the cell in which the series is aggregated.
            before: the text before the number in its lines.
            labels: its labels as text.
            bounds: a histogram's bucket bounds as text.
        """
        self.cell: Cell = cell
        self.before: str = before
        self.labels: str = labels
        self.bounds: tuple[str, ...] = bounds
        self.written: tuple[int, bytes, bytes] = (0, b"", b"")
        """A histogram's lines, in text and in OpenMetrics, for this ``updated`` of its cell; 0: they are not cached."""


class ExposedFamily(ABC):
    """One family of a page."""

    def __init__(self, family: Family) -> None:
        """Create a family that shows no series yet.

        Args:
            family: the store's family; its series are added one by one.
        """
        measure = family.measure
        self.family: Family = family
        self.name: str = metric_name(measure.name, measure.unit, measure.kind)
        """The name of its samples."""
        self.kind: Kind = measure.kind
        self.base: str = base_of(self.name, self.kind)
        """The family's name in OpenMetrics."""
        self.type: str = type_of(self.name, self.kind)
        """The family's type in OpenMetrics."""
        self.names: tuple[str, ...] = names_of(measure)
        """All names that it occupies in either format."""
        self.unit: str = unit_name(measure.unit)
        self.bounds: tuple[str, ...] = bounds_text(family)
        """A histogram's bucket bounds as text."""
        self.series: dict[Cell, Series] = {}
        """In the order in which they began."""
        self._changes = 0

    @property
    def help(self) -> str:
        """The instrument's description; without one, its original name."""
        measure = self.family.measure
        return text(measure.description) or measure.name

    @property
    def shown_unit(self) -> str:
        """The unit, if the name ends with it, as OpenMetrics requires; else empty."""
        return self.unit if self.unit and self.base.endswith(f"_{self.unit}") else ""

    def add(self, cell: Cell) -> None:
        """Show a series from now on."""
        labels = labels_text(cell.labels)
        self.series[cell] = Series(cell, self._before(labels), labels, self.bounds)
        self._changes += 1

    def remove(self, cell: Cell) -> None:
        """Stop showing a series."""
        del self.series[cell]
        self._changes += 1

    def head(self, *, openmetrics: bool) -> bytes:
        """Return the family's metadata lines, which come before its samples."""
        written = help_text(self.help, openmetrics=openmetrics)
        if not openmetrics:
            return f"# HELP {self.name} {written}\n# TYPE {self.name} {self.kind.value}\n".encode()
        unit = f"# UNIT {self.base} {self.shown_unit}\n" if self.shown_unit else ""
        return f"# HELP {self.base} {written}\n# TYPE {self.base} {self.type}\n{unit}".encode()

    @abstractmethod
    def lines(self, *, openmetrics: bool, settled: int, since: int) -> list[bytes]:
        """Return the lines, in pieces; none if there is no series to show.

        Args:
            openmetrics: the format.
            settled: values updated up to this time will not change without a later update.
            since: series that were last updated before this time are left out.
        """

    @abstractmethod
    def _before(self, labels: str) -> str:
        """Return the text before the number in a series' lines."""
