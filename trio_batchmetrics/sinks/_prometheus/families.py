"""The families of a page of Prometheus': what they are called, and which series stand there.

Trio's thread gives series their places; pages are written in any (:mod:`trio_batchmetrics._series`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from ..._cells import Cell, Family
from ..._schema import Kind
from ..._text import text
from .names import label_set, unit_name
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
    """One family of a page: an instrument, or several that are the same to Prometheus."""

    def __init__(self, name: str, first: Family, reserved: frozenset[str]) -> None:
        """Have no series yet.

        Args:
            name: what its samples are called.
            first: the instrument that it is made for.
            reserved: names that no label may have.
        """
        self.name: str = name
        self.kind: Kind = first.measure.kind
        self.base: str = name.removesuffix("_total") if self.kind is Kind.COUNTER else name
        """What the family is called in OpenMetrics: a counter without ``_total``."""
        self.type: str = "unknown" if self.kind is Kind.COUNTER and self.base == name else self.kind.value
        """Its type in OpenMetrics, where a counter is called something with ``_total``, never just ``total``."""
        self.unit: str = unit_name(first.measure.unit)
        self.series: dict[str, Series] = {}
        """By labels; in the order in which they began."""
        self.members: dict[Family, tuple[str, ...]] = {}
        """The instruments, and the bounds of their buckets as they are written."""
        self.join(first)
        self._first = first
        self._reserved = reserved
        self._changes = 0

    @property
    def names(self) -> list[str]:
        """All names that it takes in either format, so that no other family may have them."""
        suffixes = {"counter": ("", "_total", "_created"), "histogram": ("", "_bucket", "_sum", "_count", "_created")}
        return [self.base + suffix for suffix in suffixes.get(self.type, ("",))]

    @property
    def help(self) -> str:
        """Its description; without one, what the application calls it."""
        measure = self._first.measure
        return text(measure.description) or measure.name

    @property
    def shown_unit(self) -> str:
        """Its unit, if the name ends with it, as OpenMetrics wants it."""
        return self.unit if self.unit and self.base.endswith(f"_{self.unit}") else ""

    def labels(self, cell: Cell) -> dict[str, str]:
        """Return a series' labels as they are exposed, sorted by name."""
        return label_set(cell.labels, self._reserved)

    def key(self, cell: Cell) -> str:
        """Return what tells a series from others: to Prometheus, an empty label is as good as none."""
        return labels_text({name: value for name, value in self.labels(cell).items() if value})

    def join(self, family: Family) -> None:
        """Let an instrument be part of this."""
        self.members[family] = bounds_text(family)

    def add(self, family: Family, cell: Cell) -> bool:
        """Give a series of a member its place; False: another has it."""
        key = self.key(cell)
        if key in self.series:
            return False
        labels = labels_text(self.labels(cell))
        self.series[key] = Series(cell, self._before(labels), labels, self.members[family])
        self._changes += 1
        return True

    def remove(self, cell: Cell) -> None:
        """Free the place of a series, if it has one."""
        key = self.key(cell)
        if self.series[key].cell is cell:
            del self.series[key]
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
